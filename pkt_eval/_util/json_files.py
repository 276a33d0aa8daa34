"""JSON from files that anybody may have written."""

import json
from pathlib import Path

from pkt_eval._util.files import check_regular
from pkt_eval.errors import DataError


def read_json(path: Path, most: int = 2**26) -> object:
    """What a JSON file says.

    Args:
        path: The file.
        most: Bytes beyond which it is not read.

    Raises:
        DataError: It is too large, too deep, not UTF-8 or no JSON, or cannot be read; names it.
    """
    try:
        check_regular(path)
        if (size := path.stat().st_size) > most:
            raise DataError(f"{path} has {size:,} bytes: more than {most:,} are not read")
        return json.loads(path.read_text("utf-8"))
    except RecursionError:
        raise DataError(f"{path} is nested too deep to be read") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: {error}") from None
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is no JSON: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None

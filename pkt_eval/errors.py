"""Every error that pkt_eval raises on purpose.

One root, ``PKTError``; each child also inherits the builtin that a caller would expect, so that
``except ValueError`` keeps working. A message says what is wrong, where (names, shapes, paths) and what to do.
"""

import sys
from pathlib import Path
from typing import Any


class PKTError(Exception):
    """Root of the errors raised by pkt_eval."""


class ConfigError(PKTError, ValueError):
    """An option is unknown, malformed or does not fit the others."""


class IncompatiblePairError(PKTError, ValueError):
    """Teacher and student cannot be paired for a transfer."""


class DataError(PKTError, ValueError):
    """Benchmark rows or chat records are malformed."""


class MissingDataError(PKTError, FileNotFoundError):
    """A benchmark, split or model folder is not there."""


class StoreError(PKTError, OSError):
    """A stored student is truncated, altered or cannot be written."""


class PrerequisiteError(PKTError, RuntimeError):
    """Something that must be installed or switched on is missing."""


def end_lm_eval_in_one_line() -> None:
    """In the ``lm_eval`` command, show an error of ours as one line and end with code 2, as ``pkt-eval`` does.

    Other errors keep their traceback, and so does everything where lm-eval is used as a library.
    """
    before = sys.excepthook
    if getattr(before, "_pkt_eval", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if not isinstance(error, PKTError) or not _is_lm_eval():
            return before(kind, error, trace)
        print(f"lm_eval: {error}", file=sys.stderr)
        raise SystemExit(2)

    hook._pkt_eval = True
    sys.excepthook = hook


def _is_lm_eval() -> bool:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = spec.name if spec else Path(sys.argv[0]).name
    return name.partition(".")[0] in ("lm_eval", "lm-eval")

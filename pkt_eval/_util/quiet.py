"""Where a table is the output, the libraries' bars and messages are not."""

import logging
from typing import Any


def quiet(level: int = logging.WARNING) -> None:
    """Show no bars, and messages of at least a level."""
    from functools import wraps

    from tqdm.std import tqdm

    plain = tqdm.__init__

    @wraps(plain)
    def hidden(*args: Any, **how: Any) -> None:
        plain(*args, **{**how, "disable": True})  # even where a caller asks for it to be shown

    tqdm.__init__ = hidden
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()
    for name in ("lm_eval", "pkt_eval"):
        logging.getLogger(name).setLevel(level)

"""Where a table is the output, the libraries' bars and messages are not."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet(level: int = logging.WARNING) -> Iterator[None]:
    """Show no bars, and messages of at least a level, while the body runs; what was shown before is shown after it."""
    from functools import wraps

    from tqdm.std import tqdm
    from transformers.utils import logging as transformers_logging

    plain = tqdm.__init__

    @wraps(plain)
    def hidden(*args: Any, **how: Any) -> None:
        plain(*args, **{**how, "disable": True})  # even where a caller asks for it to be shown

    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    loggers = {name: logging.getLogger(name) for name in ("lm_eval", "pkt_eval")}
    levels = {name: logger.level for name, logger in loggers.items()}
    tqdm.__init__ = hidden  # type: ignore[method-assign]  # there is no switch for all bars
    try:
        transformers_logging.disable_progress_bar()
        transformers_logging.set_verbosity_error()
        for logger in loggers.values():
            logger.setLevel(level)
        yield
    finally:
        tqdm.__init__ = plain  # type: ignore[method-assign]  # as above
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
        for name, logger in loggers.items():
            logger.setLevel(levels[name])

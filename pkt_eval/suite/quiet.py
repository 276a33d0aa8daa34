"""Where a table is the output, the libraries' bars and messages are not."""

import logging


def quiet(level: int = logging.WARNING) -> None:
    """Show no bars, and messages of at least a level."""
    from functools import partialmethod

    from tqdm.std import tqdm

    tqdm.__init__ = partialmethod(tqdm.__init__, disable=True)
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()
    for name in ("lm_eval", "pkt_eval"):
        logging.getLogger(name).setLevel(level)

"""How an error of ours ends the ``lm_eval`` command; the door (``pkt_eval.plugin``) puts it there."""

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from pkt_eval._util import boundary
from pkt_eval._util.secrets import hide_secrets
from pkt_eval.errors import ConfigError, PKTError

_Hook: TypeAlias = Callable[[type[BaseException], BaseException, TracebackType | None], object]


class OneLine:
    """An excepthook that ends an error of ours as ``pkt-eval`` does: see ``pkt_eval._util.boundary``.

    An interrupt, and a consent that lm-eval lacks, do so while a model of ours is evaluated. Other errors keep their
    traceback, in which a secret is ``***``, and so does everything where lm-eval is used as a library.

    Args:
        before: The hook that was there.
    """

    def __init__(self, before: _Hook) -> None:
        self.before = before

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if _is_lm_eval() and isinstance(error, PKTError):
            raise SystemExit(boundary.end("lm_eval", error))
        if _is_lm_eval() and _ours() and "confirm_run_unsafe_code=True" in str(error) and not boundary.debugging():
            said = "code of the model is run, which needs your consent: --confirm_run_unsafe_code (`pkt-eval doctor`"
            raise SystemExit(boundary.end("lm_eval", ConfigError(f"{said} says in which jail)")))
        if _is_lm_eval() and isinstance(error, KeyboardInterrupt) and _ours() and not boundary.debugging():
            raise SystemExit(boundary.interrupted("lm_eval", _GO_ON))
        said = "".join(traceback.format_exception(kind, error, trace)) if _is_lm_eval() else ""
        if (shown := hide_secrets(said)) != said:
            print(shown, file=sys.stderr, end="")
        else:
            self.before(kind, error, trace)


def end_lm_eval_in_one_line() -> None:
    """Have an error of ours end the ``lm_eval`` command in one line; once is enough, twice does no harm."""
    if not isinstance(sys.excepthook, OneLine):
        sys.excepthook = OneLine(sys.excepthook)


_GO_ON = "the same command goes on with a transfer where it was, and with answers where --use_cache keeps them"


def _ours() -> bool:
    return "pkt_eval.model_wrappers.student" in sys.modules


def _is_lm_eval() -> bool:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = spec.name if spec else Path(sys.argv[0]).name
    return name.partition(".")[0] in ("lm_eval", "lm-eval")

"""How an error of ours ends the ``lm_eval`` command."""

import sys
from pathlib import Path
from typing import Any

from pkt_eval.errors import PKTError


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

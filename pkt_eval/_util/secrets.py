"""What opens somebody's account, by its name or its look: it is written nowhere, and decides no answer."""

import re

_NAME = re.compile(r"(^|_)(token|api_?key|secret|password|credentials?|auth)$", re.IGNORECASE)
_WORD = re.compile(r"(^|_)(bos|eos|pad|unk|sep|cls|mask|start|end)_token$")  # of a tokenizer
_LOOK = re.compile(r"(hf_|sk-|gh[opsu]_)[\w-]{16,}$")


def is_secret(name: str, value: object) -> bool:
    """Whether an argument is a token, or looks like one.

    Args:
        name: E.g. ``token``, ``OPENAI_API_KEY``.
        value: E.g. ``hf_…``, whatever it is called.
    """
    named = _NAME.search(name) and not _WORD.search(name)
    return bool(named) or (isinstance(value, str) and bool(_LOOK.match(value)))

"""What opens somebody's account, by its name or its look: it is written nowhere, and decides no answer."""

import re

_NAME = re.compile(r"(^|_)(token|api_?key|secret|password|credentials?|auth)$", re.IGNORECASE)
_WORD = re.compile(r"(^|_)(bos|eos|pad|unk|sep|cls|mask|start|end)_token$")  # of a tokenizer
# Also inside a header, a URL or an argument of an argument.
_LOOK = re.compile(r"(?<![A-Za-z0-9])(hf_[A-Za-z0-9]{16,}|(sk-|gh[opsu]_)[\w-]{16,})|://[^/\s:@]+:[^/\s@]+@")


def is_secret(name: str, value: object) -> bool:
    """Whether an argument is a token, or looks like one.

    Args:
        name: E.g. ``token``, ``OPENAI_API_KEY``.
        value: E.g. ``hf_…``, whatever it is called and whatever it is part of; or a URL with a password.
    """
    named = _NAME.search(name) and not _WORD.search(name)
    return bool(named) or bool(_LOOK.search(str(value)))

"""What opens somebody's account, by its name or its look: it is written nowhere, and decides no answer."""

import re
from collections.abc import Mapping

_NAME = re.compile(r"(^|_)(token|api_?key|secret|password|credentials?|auth)$", re.IGNORECASE)
_WORD = re.compile(r"(^|_)(bos|eos|pad|unk|sep|cls|mask|start|end)_token$")  # of a tokenizer
# Also inside a header, a URL or an argument of an argument.
_LOOK = re.compile(r"(?<![A-Za-z0-9])(hf_[A-Za-z0-9]{16,}|(sk-|gh[opsu]_)[\w-]{16,})|://[^/\s:@]+:[^/\s@]+@")
# name=value, 'name': 'value' or "name": "value", of a text; a value without marks ends where the next argument begins.
_SAID = re.compile(r"""(['"]?)\b([\w-]+)\1(\s*[=:]\s*)('[^']*'|"[^"]*"|[^\s,'"(){}\[\]]+)""")
_HIDDEN = "***"


def is_secret(name: str, value: object) -> bool:
    """Whether an argument is a token, or looks like one.

    Args:
        name: E.g. ``token``, ``OPENAI_API_KEY``.
        value: E.g. ``hf_…``, whatever it is called and whatever it is part of; or a URL with a password.
    """
    named = _NAME.search(name) and not _WORD.search(name)
    return bool(named) or bool(_LOOK.search(str(value)))


def without_secrets(arguments: object) -> object:
    """Arguments, as ``a=1,b=2`` or as a mapping, less those that are secret; what is neither, as it is."""
    if isinstance(arguments, str):
        return ",".join(pair for pair in arguments.split(",") if not is_secret(*pair.partition("=")[::2]))
    if isinstance(arguments, Mapping):
        return {name: value for name, value in arguments.items() if not is_secret(str(name), value)}
    return arguments


def hide_secrets(text: str) -> str:
    """A text for a console or a log, in which a secret is ``***``.

    >>> hide_secrets("hf ({'pretrained': 'm', 'token': 'abc'}), token=abc,eos_token=x")
    "hf ({'pretrained': 'm', 'token': ***}), token=***,eos_token=x"
    """

    def hidden(match: re.Match[str]) -> str:
        mark, name, equals, _ = match.groups()
        secret = is_secret(name, "")
        return f"{mark}{name}{mark}{equals}{_HIDDEN}" if secret else match[0]

    return _LOOK.sub(_HIDDEN, _SAID.sub(hidden, text))

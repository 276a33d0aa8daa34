"""What opens somebody's account, by its name or its look: it is written nowhere, and decides no answer."""

import hashlib
import re
from collections.abc import Mapping

# Of a name in snake_case; see ``_snake``.
_NAME = re.compile(
    r"(^|_)(token|(api|access|private|secret)_?key|secret|password|passwd|pwd|passphrase|credentials?|auth(orization)?)$"
)
_WORD = re.compile(r"(^|_)(bos|eos|pad|unk|sep|cls|mask|start|end)_token$")  # of a tokenizer
# Also inside a header, a URL or an argument of an argument. What is shorter may be the name of somebody's folder.
_LOOK = re.compile(
    r"(?<![A-Za-z0-9])(hf_[A-Za-z0-9]{30,}|(sk-|gh[opsu]_|github_pat_|glpat-)[\w-]{16,}|AKIA[A-Z0-9]{16})|"
    r"://[^/\s:@]+:[^/\s@]+@|(?<=\bBearer )[^\s'\"]{8,}"
)
# name=value, 'name': 'value' or "name": "value", of a text; a value without marks ends where the next argument begins.
_SAID = re.compile(r"""(['"]?)\b([\w-]+)\1(\s*[=:]\s*)('[^']*'|"[^"]*"|[^\s,'"(){}\[\]]+)""")
_HIDDEN = "***"


def is_secret(name: str, value: object) -> bool:
    """Whether an argument is a token, or looks like one.

    Args:
        name: E.g. ``token``, ``OPENAI_API_KEY``, ``x-api-key``.
        value: E.g. ``hf_…``, whatever it is called and whatever it is part of; or a URL with a password; or a mapping
            with a secret in it.
    """
    if isinstance(value, Mapping) and any(is_secret(str(key), inner) for key, inner in value.items()):
        return True
    return is_secret_name(name) or bool(_LOOK.search(str(value)))


def is_secret_name(name: str) -> bool:
    """Whether what is called so is a token, whatever it looks like: it decides no answer."""
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])|[-\s]", "_", name.strip()).lower()
    return bool(_NAME.search(snake)) and not _WORD.search(snake)


def without_secrets(arguments: object) -> object:
    """Arguments, as ``a=1,b=2`` or as a mapping, less those that are secret by name; what is neither, as it is.

    A value that looks like a secret may be the name of a folder, and that another model: of it stays a digest.
    """
    if isinstance(arguments, str):
        pairs = [pair.partition("=") for pair in arguments.split(",")]
        return ",".join(f"{k}{equals}{_marked(v)}" for k, equals, v in pairs if not is_secret_name(k))
    if isinstance(arguments, Mapping):
        return {name: _marked(value) for name, value in arguments.items() if not is_secret_name(str(name))}
    return arguments


def _marked(value: object) -> object:
    """A value whose secrets are ``***``, with the first digits of a token's sha256."""
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, list | tuple):
        return [_marked(part) for part in value]
    return _LOOK.sub(_mark, _SAID.sub(_said_hidden, value)) if isinstance(value, str) else value


def _mark(match: re.Match[str]) -> str:
    # A password is short, so that its digest could be guessed from.
    return _HIDDEN if match[0].startswith("://") else _HIDDEN + hashlib.sha256(match[0].encode()).hexdigest()[:8]


def hide_secrets(text: str) -> str:
    """A text for a console or a log, in which a secret is ``***``.

    >>> hide_secrets("hf ({'pretrained': 'm', 'token': 'abc'}), token=abc,eos_token=x")
    "hf ({'pretrained': 'm', 'token': ***}), token=***,eos_token=x"
    """

    return _LOOK.sub(_HIDDEN, _SAID.sub(_said_hidden, text))


def _said_hidden(match: re.Match[str]) -> str:
    mark, name, equals, _ = match.groups()
    return f"{mark}{name}{mark}{equals}{_HIDDEN}" if is_secret_name(name) else match[0]

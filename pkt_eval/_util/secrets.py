"""What opens somebody's account, by its name or its look: it is written nowhere, and decides no answer.

One rule for all that we write: ``without_secrets`` for arguments that become part of a record, ``hide_secrets`` for a
text that a console, a log, a page or a record shows.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from typing import Any

# Words of a name in snake_case, see ``_snake``: one of these wherever it stands, "HF_TOKEN_READ", "read_token_2".
_WORDS = frozenset(
    "token apitoken authtoken accesstoken secret password passwd passphrase pwd credential credentials auth "
    "authorization bearer apikey accesskey secretkey privatekey cookie signature".split()
)
# No token where it is of a tokenizer, of a model or of a budget: "pad_token_id", "max_token_length".
_NO_SECRET = frozenset(
    "bos eos pad unk sep cls mask start end begin stop think special prefix suffix added add id ids index type max min "
    "position num count limit length budget size per level loss next new last first split image video audio boi eoi "
    "class mixing routing merge merging drop dropout pooling idx prob logprob weight embedding embeddings".split()
)
# "key" and "sig" are in many names; these are of an account, and so is a name in capitals, as of the environment.
_KEY = re.compile(
    r"(^|_)(api|access|private|secret|auth|service|account|subscription|license|encryption|signing|ssh|master|admin|user|"
    r"openai|anthropic|claude|hf|hugging_?face|hub|github|gitlab|aws|azure|google|gcp|gemini|cohere|mistral|groq|together|"
    r"replicate|wandb|deep_?seek|openrouter|nvidia|ngc|fireworks|perplexity|xai|watsonx|ibm|textsynth)_(\w+_)?key(_|$)|^sig$"
)
_ENVIRONMENT = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*_KEY(_[A-Z0-9]+)*$")
# Also inside a header, a URL or an argument of an argument. What is shorter may be the name of somebody's folder.
_LOOK = re.compile(
    r"(?<![A-Za-z0-9])(hf_[A-Za-z0-9]{30,}|(sk-|gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|nvapi-|gsk_|r8_|pypi-)[\w-]{16,}|"
    r"A[KS]IA[A-Z0-9]{16}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,})|"
    # Whoever is named before a host, with a password or as a token.
    r"://[^/\s@'\"]+@|(?<=\bBearer )[^\s'\"]{8,}|(?<=\bBasic )[A-Za-z0-9+/=]{8,}"
)
# Before a value in a text: name=value, 'name': 'value', "name": "value" or --name value.
_SAID = re.compile(
    r"""(?P<mark>['"]?)(?<![\w.])(?P<name>\w[\w.-]{0,80})(?P=mark)\s{0,8}[=:]\s{0,8}(?!//)|"""
    r"(?<![\w-])--(?P<option>[\w-]{1,80}) {1,8}(?!-)"
)
# One without marks ends where the next argument begins.
_VALUE = re.compile(r"""'[^']*'|"[^"]*"|(?:(?:Bearer|Basic|Token) )?[^\s,'"(){}\[\]&]+""")
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
    words = _snake(name).split("_")
    # "token2", "token_2"
    found = {word.rstrip("0123456789") for word in words} & _WORDS
    if found == {"token"} and _NO_SECRET.intersection(words):
        found.clear()
    return bool(found or _KEY.search("_".join(words)) or _ENVIRONMENT.match(name.strip()))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[-\s.]", "_", name.strip()).lower()


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
    return _LOOK.sub(_mark, _unsaid(value)) if isinstance(value, str) else value


def _mark(match: re.Match[str]) -> str:
    # A password is short, so that its digest could be guessed from.
    return _HIDDEN if match[0].startswith("://") else _HIDDEN + hashlib.sha256(match[0].encode()).hexdigest()[:8]


def hide_secrets(text: str) -> str:
    """A text for a console or a log, in which a secret is ``***``.

    >>> hide_secrets("hf ({'pretrained': 'm', 'token': 'abc'}), token=abc,eos_token=x")
    "hf ({'pretrained': 'm', 'token': ***}), token=***,eos_token=x"
    """

    return _LOOK.sub(_HIDDEN, _unsaid(text))


def log_no_secret() -> None:
    """Have what we, lm-eval and what either loads models with log shown with ``***``; twice does no harm."""
    plain = logging.getLogRecordFactory()
    if getattr(plain, "_pkt_eval", False):
        return

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = plain(*args, **kwargs)
        if record.name.partition(".")[0] in _LOGGERS:
            record.msg, record.args = hide_secrets(record.getMessage()), None
        return record

    vars(make)["_pkt_eval"] = True
    logging.setLogRecordFactory(make)


_LOGGERS = ("pkt_eval", "lm_eval", "transformers", "huggingface_hub", "datasets", "peft")


def _unsaid(text: str) -> str:
    """The text without the values of names that are secret; a value may be a name in turn, "OSError: TOKEN=…"."""
    parts, done, start = [], 0, 0
    while (match := _SAID.search(text, start)) is not None:
        start = match.end()
        if is_secret_name(match["name"] or match["option"]) and (value := _VALUE.match(text, start)):
            parts += [text[done:start], _HIDDEN]
            start = done = value.end()
    return "".join([*parts, text[done:]])

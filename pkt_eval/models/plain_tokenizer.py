"""What a tokenizer says of its ends, read from its files where these leave nothing to transformers, which takes seconds
to import: a plan asks for no more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pkt_eval._util.json_files import read_json

_PLAIN = "PreTrainedTokenizerFast"
"""The one class that adds nothing of its own."""
_SAYS_NOTHING = frozenset(
    "backend clean_up_tokenization_spaces eos_token model_max_length pad_token padding_side tokenizer_class "
    "truncation_side unk_token".split()
)
"""What may stand in a configuration beside it: nothing that puts a token before a text."""


@dataclass(frozen=True)
class PlainTokenizer:
    """What ``ChatFormat.template`` asks of a tokenizer for the papers' format.

    Attributes:
        eos_token_id: Of the token that ends an answer.
        bos_token_id: There is none.
    """

    eos_token_id: int
    bos_token_id: None = None


def plain_tokenizer(files: Mapping[str, Path]) -> PlainTokenizer | None:
    """A model's tokenizer, if it is a plain one without a token that begins a text; else None.

    Args:
        files: Of the model, by name.
    """
    if not {"tokenizer.json", "tokenizer_config.json"} <= files.keys() or "special_tokens_map.json" in files:
        return None
    said, content = (read_json(files[name]) for name in ("tokenizer_config.json", "tokenizer.json"))
    if not (isinstance(said, dict) and isinstance(content, dict)) or said.get("tokenizer_class") != _PLAIN:
        return None
    if not said.keys() <= _SAYS_NOTHING:
        return None
    added = content.get("added_tokens")
    for token in added if isinstance(added, list) else ():
        if (
            isinstance(token, dict)
            and token.get("content") == said.get("eos_token")
            and isinstance(token.get("id"), int)
        ):
            return PlainTokenizer(token["id"])
    return None

"""What binds a task's samples to its results: a digest of what was asked, answered and scored, line by line.

It stands in a results JSON, and is made of what a line of lm-eval's samples JSONL says, however that is written.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

SAMPLE_DIGESTS = "pkt_samples"
"""Key of a results JSON: task → sha256; in a kept one, name of a samples file → sha256 of the file."""
_ASKED = ("doc_id", "filter", "doc_hash", "prompt_hash", "target_hash")
_ANSWERED = ("resps", "filtered_resps")


class SampleDigest:
    """A digest to which the samples of a task are added in the order of their file.

    Args:
        plain: What makes a number that is no JSON one; where samples are read from JSON there is none.
    """

    def __init__(self, plain: Callable[[Any], Any] | None = None) -> None:
        self._plain = plain
        self._sha256 = hashlib.sha256()

    def add(self, sample: Mapping[str, Any]) -> None:
        """Add a sample: as lm-eval has it before it is written, or as a line says it."""
        said = {name: sample.get(name) for name in _ASKED}
        said |= {name: _texts(sample.get(name)) for name in _ANSWERED}
        said["scores"] = {name: sample.get(name) for name in sample.get("metrics") or ()}
        line = json.dumps(said, sort_keys=True, separators=(",", ":"), default=self._plain)
        self._sha256.update(line.encode() + b"\n")

    def hexdigest(self) -> str:
        """Of all that were added."""
        return self._sha256.hexdigest()


def _texts(value: object) -> object:
    """As lm-eval writes an answer: every part of nested lists is text."""
    return [_texts(part) for part in value] if isinstance(value, list | tuple) else str(value)

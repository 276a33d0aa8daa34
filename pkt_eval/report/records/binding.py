"""Whether samples are those that a results JSON was made of: names of files say so, and names can be exchanged."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from pkt_eval._util.sample_digests import SAMPLE_DIGESTS, SampleDigest
from pkt_eval.errors import DataError
from pkt_eval.report.records.samples import SampleLine


class Binding:
    """What a results JSON says of a task's samples, held against the lines of their file.

    lm-eval says which documents, prompts and targets they are of (``task_hashes``), as far as samples were logged;
    results that were written where this package is installed, also what was answered and scored.

    Args:
        content: The results JSON.
        task: Whose samples they are.
    """

    def __init__(self, content: Mapping[str, object], task: str) -> None:
        self._asked, self._answered = (_of(content, key, task) for key in ("task_hashes", SAMPLE_DIGESTS))
        self._hashes, self._lines = hashlib.sha256(), SampleDigest()

    def see(self, sample: SampleLine) -> None:
        """Take a line into account; all have to be seen, in their order."""
        if self._asked:
            self._hashes.update(f"{sample['doc_hash']}{sample['prompt_hash']}{sample['target_hash']}".encode())
        if self._answered:
            self._lines.add(cast(Mapping[str, object], sample))

    def check(self, results: Path, samples: Path) -> None:
        """Check once all lines were seen.

        Raises:
            DataError: They are of another run, or were changed; names both files.
        """
        if self._asked and self._hashes.hexdigest() != self._asked:
            raise _not_of(samples, results, "its documents, prompts or targets are others")
        if self._answered and self._lines.hexdigest() != self._answered:
            raise _not_of(samples, results, "its answers or their scores are others")


def check_kept(content: Mapping[str, object], results: Path, samples: Path) -> None:
    """Check the samples beside kept results, of which the results JSON has the digest of the file.

    Raises:
        DataError: They are of another run, or were changed; names both files.
    """
    digest = _of(content, SAMPLE_DIGESTS, samples.name)
    if digest and hashlib.sha256(samples.read_bytes()).hexdigest() != digest:
        raise _not_of(samples, results, "its content is another")


def _of(content: Mapping[str, object], key: str, name: str) -> str | None:
    """Of a table in a results JSON; None where there is no table, or nothing in it of that name."""
    table = content.get(key)
    value = table.get(name) if isinstance(table, Mapping) else None
    return value if isinstance(value, str) else None


def _not_of(samples: Path, results: Path, why: str) -> DataError:
    return DataError(
        f"{samples} is not of {results.name}: {why} than that says. It is of another run, or one of the two was "
        "changed: restore it, or run that evaluation again."
    )

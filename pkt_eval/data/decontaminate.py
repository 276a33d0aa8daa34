"""What training records and test questions have in common, by word n-grams.

A test item counts as shared when any n-gram of its question (without the wording that all questions have) occurs within
one turn of a record; ``contamination`` says what an n-gram is. On the published HumanEval records this finds 8-grams of
24 of the 164 test prompts, and 13-grams of none.

It reports and removes nothing: what to do about a number is the user's decision; ``decontaminate=true`` is one. Who
makes that decision without a word is told once what it leaves in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pkt_eval._util import sources
from pkt_eval._util.progress import Progress
from pkt_eval._util.remembered import remembered_text
from pkt_eval.data.benchmarks import benchmark, names
from pkt_eval.data.contamination import NGram, distinctive, held_out, ngrams, record_ngrams
from pkt_eval.data.sources import load_rows
from pkt_eval.data.splits import SPLIT_NAMES, Splits
from pkt_eval.errors import MissingDataError

DEFAULT_N = (8, 13)


@dataclass(frozen=True)
class TextOverlap:
    """How many test items of one benchmark share an n-gram with one split.

    Attributes:
        split: name of the split, or ``all`` for the four together.
        benchmark: whose test set.
        n: words of an n-gram.
        shared: test items with at least one shared n-gram.
        total: test items.
        example: the first shared n-gram, or an empty text.
    """

    split: str
    benchmark: str
    n: int
    shared: int
    total: int
    example: str


def overlap_report(
    splits: Splits,
    benchmarks: Sequence[str] | None = None,
    *,
    ns: Sequence[int] = DEFAULT_N,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> list[TextOverlap]:
    """Every split, and the four together, against every test set, for every n; linear in the total number of
    words.

    Args:
        splits: what will be trained on.
        benchmarks: whose test sets; default: those of the splits' own family. By
            default a test set that cannot be found is left out, unless none can.
        ns: lengths of n-grams, in words.
        data_dir: as for ``pkt_eval.data.sources.load_rows``.
        progress: shows bars; default: none.

    Raises:
        MissingDataError: a test set that was asked for by name is not there, or none is.
    """
    progress = progress or Progress(enabled=False)
    tests = _test_texts(splits, benchmarks, data_dir)
    report = []
    for n in ns:
        split_grams: dict[str, set[NGram]] = {split: record_ngrams(splits[split], n) for split in SPLIT_NAMES}
        split_grams["all"] = set().union(*split_grams.values())
        bar = progress.bar(tests.items(), f"{splits.benchmark}: {n}-grams of test sets", total=len(tests))
        test_grams = {name: distinctive([ngrams(text, n) for text in texts]) for name, texts in bar}
        for split, grams in split_grams.items():
            for name, items in test_grams.items():
                shared = [common for item in items if (common := item & grams)]
                example = " ".join(min(shared[0])) if shared else ""
                report.append(TextOverlap(split, name, n, len(shared), len(items), example))
    return report


def contaminated(splits: Splits, *, data_dir: str | Path | None = None) -> int:
    """How many records of the splits ``decontaminate=true`` would leave out.

    Remembered in the store, since a large test set takes seconds to read.

    Args:
        splits: What will be learnt from.
        data_dir: As for ``pkt_eval.data.sources.load_rows``.

    Returns:
        A number of records; 0 where the test set is not there to compare with.
    """
    row = benchmark(splits.benchmark)
    try:
        tests = tuple(row.compared(test) for test in load_rows(row.name, "test", data_dir=data_dir))
    except MissingDataError:
        return 0
    decided_by = {"splits": splits.digest, "tests": tests, "code": sources.digest(("data/contamination.py",))}

    def count() -> str:
        known = held_out(tests)
        return str(sum(known.has(record) for name in splits.names for record in splits[name]))

    return int(remembered_text("contaminated", decided_by, count))


def contamination_warning(splits: Splits, *, data_dir: str | Path | None = None) -> str:
    """What ``decontaminate=false`` leaves in, in a sentence, and what to do; "" where it leaves nothing in.

    Of the embedded family nothing is said: its rows are made anew for each split, of one small grammar, which repeats
    itself in half of them.

    Args:
        splits: As for ``contaminated``.
        data_dir: As there.
    """
    embedded = benchmark(splits.benchmark).family == "nano"
    if embedded or not (count := contaminated(splits, data_dir=data_dir)):
        return ""
    every = sum(splits.sizes.values())
    return (
        f"{splits.benchmark}: {count} of the {every:,} records that are learnt from share 13 words in a row or a whole "
        f"question with the test set. decontaminate=true leaves them out; `pkt-eval data check {splits.benchmark}` "
        "shows what is shared"
    )


def _test_texts(splits: Splits, benchmarks: Sequence[str] | None, data_dir: str | Path | None) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    missing: MissingDataError | None = None
    for name in benchmarks or names(benchmark(splits.benchmark).family):
        try:
            rows = load_rows(name, "test", data_dir=data_dir)
        except MissingDataError as error:
            if benchmarks:
                raise
            missing = error
            continue
        texts[name] = [benchmark(name).test_text(row) for row in rows]
    if missing and not texts:
        raise missing
    return texts

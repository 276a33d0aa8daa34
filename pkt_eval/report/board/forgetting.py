"""What a student has lost besides: on text that no transfer is about, and on benchmarks that it was not taught."""

from collections.abc import Sequence
from statistics import fmean

from pkt_eval.report.board.sections import SectionEntry, is_own
from pkt_eval.report.records import Record


def forgotten(records: Sequence[Record], base: Sequence[Record]) -> float | None:
    """Rise of the cross-entropy over the unadapted base's, a mean over seeds.

    Args:
        records: Of a student, one a seed.
        base: Of vanilla on the same benchmark.

    Returns:
        Nats a token; None unless all were measured on one text, in one dtype.
    """
    if not base or len({record.dtype for record in [*records, *base]}) > 1:
        return None
    texts = {tuple(record.generic) for record in [*records, *base]}
    if len(texts) > 1 or not (digest := next(iter(texts))):
        return None
    ours, theirs = (fmean(record.generic[digest[0]] for record in side) for side in (records, base))
    return ours - theirs


def tell_untaught(entry: SectionEntry) -> None:
    """Give the cell of the benchmark that a row was transferred for its mean difference to vanilla on the others."""
    cells = entry.row.cells
    own = [name for name, records in entry.records.items() if all(map(is_own, records))]
    others = [cell.vanilla.value for name, cell in cells.items() if name not in own and cell.vanilla]
    if len(own) == 1 and others:
        cells[own[0]].untaught = fmean(others)

"""The records of a comparison: lm-eval's results and samples, read, matched and kept."""

from pkt_eval.report.records.keeping import ITEMS, keep
from pkt_eval.report.records.match import Aligned, NotComparableError, conditions, not_comparable, side_by_side
from pkt_eval.report.records.primary_metric import primary_metric
from pkt_eval.report.records.reading import read
from pkt_eval.report.records.record import Record, join
from pkt_eval.report.records.samples import Item
from pkt_eval.report.records.students import Budget, Model, ScoredStudent

__all__ = [
    "ITEMS",
    "Aligned",
    "Budget",
    "Item",
    "Model",
    "NotComparableError",
    "Record",
    "ScoredStudent",
    "conditions",
    "join",
    "keep",
    "not_comparable",
    "primary_metric",
    "read",
    "side_by_side",
]

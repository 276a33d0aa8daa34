"""The statistics of a leaderboard, as small pure functions over arrays of item scores.

A score lies in [0, 1]: 1 or 0 for one graded answer, a fraction for the mean of several. Items are matched before they
come here: the i-th entries of two arrays belong to the same document. Which function answers which question:

- How good is a student? ``wilson_interval``, ``wilson_interval_of_scores``; over seeds ``aggregate_seeds``.
- How far are two students apart? ``paired_bootstrap``, or ``paired_score_interval`` where hardly an answer differs;
  over seeds ``seed_difference``.
- Is that more than chance? ``paired_test`` (exact McNemar where every item is right or wrong), then
  ``benjamini_hochberg`` or ``benjamini_yekutieli`` over the table (``Correction``). An interval that leaves out zero is
  no substitute for the p-value: with three discordant items, all one way, the bootstrap leaves out zero and the exact
  test says p = 0.25.
- Could it have been seen? ``minimum_detectable_difference``, ``mcnemar_power``; over seeds and at the level that a
  table asks ``detectable_difference``.
- How much of the teacher's lead arrived? ``gap_recovered``.
- Is a candidate good enough? ``non_inferiority``, over seeds ``non_inferiority_of_seeds``; ``non_inferiority_power``,
  ``holm``.
"""

from pkt_eval.code.passk import pass_at_k
from pkt_eval.report.stats.crossed import Crossed
from pkt_eval.report.stats.detectable import detectable_difference, detectable_in
from pkt_eval.report.stats.estimate import Estimate
from pkt_eval.report.stats.gap import gap_recovered
from pkt_eval.report.stats.inferiority import NonInferiority, non_inferiority, non_inferiority_power
from pkt_eval.report.stats.inferiority_of_seeds import non_inferiority_of_seeds
from pkt_eval.report.stats.multiplicity import Correction, benjamini_hochberg, benjamini_yekutieli, holm
from pkt_eval.report.stats.paired import mcnemar_exact, paired_bootstrap, paired_test
from pkt_eval.report.stats.power import (
    mcnemar_power,
    minimum_detectable_difference,
    minimum_detectable_difference_unpaired,
)
from pkt_eval.report.stats.score import paired_score_interval
from pkt_eval.report.stats.seeds import SeedDifference, SeedMean, aggregate_seeds, crossed_difference, seed_difference
from pkt_eval.report.stats.wilson import wilson_interval, wilson_interval_of_scores

__all__ = [
    "Correction",
    "Crossed",
    "Estimate",
    "NonInferiority",
    "SeedDifference",
    "SeedMean",
    "aggregate_seeds",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "crossed_difference",
    "detectable_difference",
    "detectable_in",
    "gap_recovered",
    "holm",
    "mcnemar_exact",
    "mcnemar_power",
    "minimum_detectable_difference",
    "minimum_detectable_difference_unpaired",
    "non_inferiority",
    "non_inferiority_of_seeds",
    "non_inferiority_power",
    "paired_bootstrap",
    "paired_score_interval",
    "paired_test",
    "pass_at_k",
    "seed_difference",
    "wilson_interval",
    "wilson_interval_of_scores",
]

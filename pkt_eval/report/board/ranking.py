"""One number for a row: its mean score, and its mean rank among the rows that can be ranked."""

from statistics import fmean

from scipy.stats import rankdata

from pkt_eval.report.board.model import Group

DIGITS = 9
"""Scores that are the same to so many are equal: a mean of three seeds is a third only nearly."""


def give_ranks(group: Group) -> None:
    """Give the rows of a pair their mean score and mean rank.

    Both are over the pair's benchmarks, each counting the same, and only for rows that were scored on every one: a mean
    over easier ones would be higher. Rows of equal scores share the mean of their ranks. With one benchmark there is
    nothing to take a mean of.
    """
    rows = [row for row in group.rows if len(row.cells) == len(group.benchmarks)]
    if len(group.benchmarks) < 2 or not rows:
        return
    ranks = [rankdata([-round(row.cells[name].score, DIGITS) for row in rows]) for name in group.benchmarks]
    for row, of_row in zip(rows, zip(*ranks, strict=True), strict=True):
        row.mean_score = fmean(cell.score for cell in row.cells.values())
        row.mean_rank = fmean(map(float, of_row))

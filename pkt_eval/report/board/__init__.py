"""The leaderboard: what is compared with what, as plain data."""

from pkt_eval.report.board.assemble import leaderboard
from pkt_eval.report.board.column import Column, Measure, Shown, Table
from pkt_eval.report.board.model import BoardCell, Difference, Group, Leaderboard, Source, StudentRow
from pkt_eval.report.board.won_and_lost import Flips, flips

__all__ = [
    "BoardCell",
    "Column",
    "Difference",
    "Flips",
    "Group",
    "Leaderboard",
    "Measure",
    "Shown",
    "Source",
    "StudentRow",
    "Table",
    "flips",
    "leaderboard",
]

"""The leaderboard: what is compared with what, as plain data."""

from pkt_eval.report.board.answers import AnsweredSeed, Sheet, sheets
from pkt_eval.report.board.assemble import leaderboard
from pkt_eval.report.board.column import Column, Measure, Shown, Table
from pkt_eval.report.board.model import BoardCell, Difference, Group, Leaderboard, Source, StudentRow

__all__ = [
    "AnsweredSeed",
    "BoardCell",
    "Column",
    "Difference",
    "Group",
    "Leaderboard",
    "Measure",
    "Sheet",
    "Shown",
    "Source",
    "StudentRow",
    "Table",
    "leaderboard",
    "sheets",
]

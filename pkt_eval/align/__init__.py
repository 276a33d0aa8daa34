"""Align: teacher vectors become changes of the student, by a hypernetwork that learns on the student's own loss."""

from pkt_eval.align.inject import injected, located_edits
from pkt_eval.align.loop import AlignmentExamples, AlignmentOptions, Checkpoint, DivergedError, align, one_cycle
from pkt_eval.models.edits import LocatedEdit

__all__ = [
    "AlignmentExamples",
    "AlignmentOptions",
    "Checkpoint",
    "DivergedError",
    "LocatedEdit",
    "align",
    "injected",
    "located_edits",
    "one_cycle",
]

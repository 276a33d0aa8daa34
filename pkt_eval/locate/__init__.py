"""Locate: where in the teacher the knowledge for a task sits."""

from pkt_eval.locate.sensitivity import parameter_sensitivity, select_layers

__all__ = ["parameter_sensitivity", "select_layers"]

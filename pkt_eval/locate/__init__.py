"""Locate: where in a model the knowledge for a task sits."""

from pkt_eval.locate.attribution import NeuronScores, neuron_attribution
from pkt_eval.locate.layers import map_layers
from pkt_eval.locate.sensitivity import parameter_sensitivity, select_layers

__all__ = ["NeuronScores", "map_layers", "neuron_attribution", "parameter_sensitivity", "select_layers"]

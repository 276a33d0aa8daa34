"""The methods, one file each, and all that a method needs: ``from pkt_eval.methods import TransferMethod, register``.

``base`` is the whole contract; ``testing`` checks a method, and is imported by name.
"""

from pkt_eval._util.options import MethodConfig, plus_separated
from pkt_eval._util.progress import Progress
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.locate.layers import map_layers
from pkt_eval.methods.base import Method, TransferMethod, get_method, methods, register
from pkt_eval.models import blocks
from pkt_eval.models.activations import Tap, activations
from pkt_eval.models.edits import Edit, LocatedEdit, LowRankEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.student import Student

__all__ = [
    "Edit",
    "LocatedEdit",
    "LowRankEdit",
    "Method",
    "MethodConfig",
    "ModelPair",
    "Progress",
    "Student",
    "Tap",
    "TransferData",
    "TransferMethod",
    "activations",
    "blocks",
    "get_method",
    "map_layers",
    "methods",
    "plus_separated",
    "register",
]

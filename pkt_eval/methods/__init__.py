"""The methods, one file each; ``base`` is the whole contract."""

from pkt_eval.data.transfer_data import TransferData
from pkt_eval.methods.base import Method, TransferMethod, get_method, methods, register

__all__ = ["Method", "TransferData", "TransferMethod", "get_method", "methods", "register"]

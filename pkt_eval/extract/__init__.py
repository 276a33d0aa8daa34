"""Extract: what is taken out of the teacher once it is located."""

from pkt_eval.extract.densest import densest_block
from pkt_eval.extract.svd import truncated_svd

__all__ = ["densest_block", "truncated_svd"]

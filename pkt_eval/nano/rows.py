"""The type of a row, here and in ``pkt_eval.data``."""

from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
"""A row of a benchmark: column → value, in the columns of the hub's dataset."""

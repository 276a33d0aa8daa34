"""Every error that pkt_eval raises on purpose.

One root, ``PKTError``; each child also inherits the builtin that a caller would expect, so that
``except ValueError`` keeps working. A message says what is wrong, where (names, shapes, paths) and what to do.
"""


class PKTError(Exception):
    """Root of the errors raised by pkt_eval."""


class ConfigError(PKTError, ValueError):
    """An option is unknown, malformed or does not fit the others."""


class IncompatiblePairError(PKTError, ValueError):
    """Teacher and student cannot be paired for a transfer."""


class DataError(PKTError, ValueError):
    """Benchmark rows or chat records are malformed."""


class MissingDataError(PKTError, FileNotFoundError):
    """A benchmark, split or model folder is not there."""


class StoreError(PKTError, OSError):
    """A stored student is truncated, altered or cannot be written."""


class PrerequisiteError(PKTError, RuntimeError):
    """Something that must be installed or switched on is missing."""

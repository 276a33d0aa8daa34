"""Everything between a benchmark's rows and a training batch.

``sources`` finds the rows, ``records`` words them as chat records, ``splits`` divides them into extract,
align, train and validation, ``chat`` turns a record into token ids with a loss mask, and ``decontaminate``
compares splits with test sets.
"""

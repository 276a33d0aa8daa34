"""Diagnose: why a transfer fails. Similarity of representations and of weights, and their figures.

It runs after a transfer and decides nothing of one.
"""

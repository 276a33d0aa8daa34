"""PKT-Eval: the benchmark harness for parametric knowledge transfer, a plug-in for lm-evaluation-harness.

Importing this package costs nothing: every room is a submodule that is imported when it is used.
"""

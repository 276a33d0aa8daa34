"""PKT-Eval: the benchmark harness for parametric knowledge transfer, a plug-in for lm-evaluation-harness.

Importing this package costs nothing: every room is a submodule that is imported when it is used.

The package is imported before pytest is, by ``pkt_eval.pth``, and has a plug-in of it: without the word
PYTEST_DONT_REWRITE here, every run would warn that it is too late to rewrite our assertions, of which there are none.
"""

"""Our lm-eval model classes; installed as ``pkt_eval.model_wrappers`` and resolved by lm-eval from a string."""

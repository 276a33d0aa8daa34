"""Our lm-eval tasks; installed as ``pkt_eval.tasks``, whose folder ``pkt_eval.plugin`` gives to lm-eval."""

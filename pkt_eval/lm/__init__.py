"""Everything that touches lm-eval: tasks, task functions, its excepthook."""

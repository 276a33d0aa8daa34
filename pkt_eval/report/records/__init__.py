"""The records of a comparison: lm-eval's results and samples, read, matched and kept."""

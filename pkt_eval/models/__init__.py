"""Models: where they come from, the names of their blocks, what can be done to a weight, and the student."""

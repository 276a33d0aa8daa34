"""Fine-tuning: the loss, the options and the one training loop."""

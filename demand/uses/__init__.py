"""What predictions are for: arithmetic on what a model expects."""

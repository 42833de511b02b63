"""Floor 2: Megatron-core models, checkpoints and prediction. No Ray, so that a model runs on a bare machine."""

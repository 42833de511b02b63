"""Floor 3: Ray Data feeds, Ray Train fine-tunes, models are evaluated and applied to whole datasets."""

"""Floor 4: sweeps over settings with Ray Tune."""

"""Floor 1, the domain: events, catalogue, prompts, metrics, baselines. No torch, no Ray."""

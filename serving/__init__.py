"""Floor 4: one HTTP ingress and autoscaled model replicas on Ray Serve."""

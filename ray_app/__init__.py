"""Floor 5: the command line, settings, and the wiring of the parts."""

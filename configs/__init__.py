"""Presets: settings by name, as YAML."""

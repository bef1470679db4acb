"""Presets: YAML in, strict configs out. No Keras here."""

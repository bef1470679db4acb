"""Presets: YAML files, their schemas and validated configs."""

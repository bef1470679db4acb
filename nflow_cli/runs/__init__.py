"""The run directory: files, locks, checkpoints and weights."""

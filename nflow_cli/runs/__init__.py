"""Run directory: files, locks, checkpoints and weights."""

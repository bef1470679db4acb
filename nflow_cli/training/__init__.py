"""Training: the compiled loop, its batches, its observers, checkpoints and restarts."""

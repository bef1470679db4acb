"""Training: the compiled loop, its batches, its callbacks, checkpoints and restarts."""

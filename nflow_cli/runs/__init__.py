"""The run directory: files, locks, checkpoints, and the model file, which alone needs Keras."""

"""TensorFlow's start, its compiled programs, and the garbage collector."""

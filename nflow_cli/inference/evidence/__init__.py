"""log Z from draws of a posterior, by the learned harmonic mean: ``nflow evidence``."""

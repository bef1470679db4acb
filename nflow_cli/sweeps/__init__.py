"""Grids of runs: planned, trained by worker processes, compared."""

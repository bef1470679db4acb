"""Scores of fits: likelihood, importance sampling, calibration, checks of flows."""

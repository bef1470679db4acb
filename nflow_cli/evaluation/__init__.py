"""Scores of fits: likelihood, importance sampling, calibration."""

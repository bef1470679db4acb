"""Scores of a density of table rows beyond its likelihood, and of draws."""

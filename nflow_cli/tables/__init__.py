"""Fits of a density to a table, by ``nflow fit``."""

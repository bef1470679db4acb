"""Fits of a density of cells to whole tables, by ``nflow fit``."""

"""Densities of the cells of a table, in turn, each given those before it."""

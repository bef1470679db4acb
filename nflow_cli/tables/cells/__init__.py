"""Autoregressive density of all columns of a table, cell by cell."""

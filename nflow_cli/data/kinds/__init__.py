"""Columns of a table to fit: what is asked of each, its kind, faults, the split of rows."""

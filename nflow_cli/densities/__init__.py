"""Densities that can be sampled and computed exactly."""

"""Densities that can be sampled and evaluated exactly."""

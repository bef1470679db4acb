"""Fits of flows to named 2-D densities by reverse KL, by ``nflow fit-2d``."""

"""Fits of flows to a density by reverse KL, by ``nflow fit-2d`` and ``nflow infer``."""

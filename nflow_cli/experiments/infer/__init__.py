"""Fits of flows to a log-density by reverse KL, in D dimensions, by ``nflow infer``."""

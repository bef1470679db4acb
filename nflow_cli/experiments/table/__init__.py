"""Fits of flow stacks to tables of plain numbers, by ``nflow fit --flow``."""

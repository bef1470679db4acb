"""Objectives, and the VAE with its networks."""

"""VAEs with a flow posterior, trained on images, by ``nflow train-vae``."""

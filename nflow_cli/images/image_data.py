"""Images of a VAE."""

from nflow_cli.experiments.recorded_data import found_again
from nflow_cli.experiments.run import Run
from nflow_cli.images.images import Images, load_images
from nflow_cli.images.vae_config import VAEConfig


def load(config: VAEConfig) -> Images:
    """Images of a config."""
    return load_images(config.subject, fallback=config.data.fallback)


def reopen(run: Run) -> Images:
    """Images of a run, unchanged."""
    return found_again(run, read)


def read(name: str) -> Images:
    """Images by which a VAE is scored."""
    return load_images(name, fallback=False)


def settled_config(config: VAEConfig, data: Images) -> VAEConfig:
    """Config as it is."""
    return config

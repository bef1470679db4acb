"""Images of a VAE."""

from typing import Any

from nflow_cli.config.vae import VAEConfig
from nflow_cli.data.images import Images, load_images
from nflow_cli.errors import ConfigError
from nflow_cli.experiments.recorded_data import found_again
from nflow_cli.experiments.run import Run


def load(config: VAEConfig) -> Images:
    """Images of a config."""
    return load_images(config.subject, fallback=config.data.fallback)


def again(run: Run) -> Images:
    """Images of a run, unchanged."""
    return found_again(run, read)


def read(name: str) -> Any:
    """Images by which a VAE is scored."""
    return load_images(name, fallback=False)


def settled(config: VAEConfig, data: Images) -> VAEConfig:
    """Config as it is."""
    return config


def expect_fits(config: VAEConfig, data: Images) -> None:
    """Refuse a batch or a validation split larger than the training set."""
    stopping, size = config.train.early_stopping, config.train.batch_size
    held_out = stopping.images if stopping else 0
    if size > data.n_train - held_out:
        raise ConfigError(
            "train.batch_size: expected at most the "
            f"{max(data.n_train - held_out, 0):,} training images"
            f"{' left by the validation split' if held_out else ''}. Received: {size}"
        )

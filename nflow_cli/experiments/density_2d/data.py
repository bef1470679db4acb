"""No data: the config of a fit to a named density holds its target."""

from typing import Any

from nflow_cli.config.fit_2d_schema import Fit2DConfig
from nflow_cli.data.point_files import read_points
from nflow_cli.experiments.run import Run


def load(config: Fit2DConfig) -> None:
    """``None``."""


def again(run: Run) -> None:
    """``None``."""


def read(name: str) -> Any:
    """Points by which a fit is scored."""
    return read_points(name)


def settled(config: Fit2DConfig, data: None) -> Fit2DConfig:
    """Config as it is."""
    return config


def expect_fits(config: Fit2DConfig, data: None) -> None:
    """Accept all."""

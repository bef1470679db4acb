"""Log-density that a run is fitted to: a named one, or a user's function.

A user's file is executed only when named on the command line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nflow_cli.data.units import units_of
from nflow_cli.errors import ConfigError
from nflow_cli.experiments.run import Run
from nflow_cli.inference.fit_2d_config import Fit2DConfig, Fit2DTrain
from nflow_cli.inference.infer_config import IN_PYTHON, InferConfig, InferTrain

Config = Fit2DConfig | InferConfig
DensityTrain = Fit2DTrain | InferTrain


@dataclass(frozen=True)
class Subject:
    """Log-density to fit, in the coordinates of the flows.

    ``recorded`` is its entry of ``run.json``, if any; ``notes`` are one line each.
    """

    make: Callable[[], Any]
    recorded: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def target(self) -> Any:
        """:class:`~nflow_cli.densities.target.Target`, made when asked for: it needs Keras."""
        return self.make()

    def record(self) -> Mapping[str, Any] | None:
        """Entry of ``run.json``."""
        return self.recorded


def starts_of(config: Config) -> np.ndarray | None:
    """Points ``(n, D)`` of ``--start``, in the coordinates of the flows; ``None`` without any."""
    if config.train.starts is None:
        return None
    units = units_of(config.columns, config.bounds)
    return units.inside(np.array(config.train.starts))


def built_in(config: Config) -> Subject:
    """Named density of a config."""
    return Subject(config.new_target, config.recorded_density)


def load(config: Any) -> Subject:
    """Named density; a user's function is never executed from a config."""
    if config.is_built_in:
        return built_in(config)
    raise ConfigError(
        f"density: a function {_where(config)}, never executed from a preset; name it: "
        f"nflow infer FILE.py:{config.density.name}"
    )


def reopen(run: Run) -> Subject:
    """Named density of a run; a user's function is never executed from a config."""
    config = run.config
    if config.is_built_in:
        return built_in(config)
    name = config.density.name
    raise ConfigError(
        f"{run.path}: fitted to {name} {_where(config)}, never executed from a run directory; "
        f"name it: --density FILE.py:{name}"
    )


def _where(config: Any) -> str:
    path = config.density.path
    return "of Python" if path == IN_PYTHON else f"of {path}"


def read(name: str) -> np.ndarray:
    """Points of the plane by which a fit is scored."""
    from nflow_cli.data.files.columns import read_points  # and pyarrow

    return read_points(name)


def settled_config(config: Config, data: Subject) -> Config:
    """Config as it is."""
    return config

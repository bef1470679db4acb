"""Points of ``--start``, at which the search for modes starts too."""

import numpy as np

from nflow_cli.config.infer_schema import InferConfig
from nflow_cli.densities.log_density import units_of


def starts_of(config: InferConfig) -> np.ndarray | None:
    """Points ``(n, D)`` in the coordinates of the flows; ``None`` without any."""
    if config.train.starts is None:
        return None
    units = units_of(config.density.columns, config.density.bounds)
    return units.inside(np.array(config.train.starts))

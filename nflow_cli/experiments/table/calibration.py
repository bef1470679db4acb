"""What the pictures of a calibration, and of conditions, are drawn from."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nflow_cli.config.roles import Roles
from nflow_cli.evaluation.calibration import CURVE, Bin
from nflow_cli.experiments.picture_data import Count, Error, Lenient, Text
from nflow_cli.runs.array_shapes import Shapes
from nflow_cli.runs.directory import EVALUATION


class Calibration(Lenient):
    """Whether the spread that a density claims is right."""

    distance: Error
    band: Error
    worst_column: Text | None
    pit_distance: Error
    pit_band: Error
    n: Count
    n_effective: Error


def shapes_of(roles: Roles) -> Shapes:
    """Return the arrays: b bins, q conditions and s draws at each."""
    curves: Shapes = {"coverage": (len(CURVE),), "pit": (len(CURVE), roles.dim)}
    bins: Shapes = {"coverage_bins": ("b", len(Bin._fields))}
    if not roles.given:
        return {**curves, **bins}
    width = len(roles.columns)
    conditions: Shapes = {"condition_rows": ("u", width), "condition_draws": ("u", "v", roles.dim)}
    return {**curves, **bins, **conditions}


def damage(arrays: Mapping[str, Any], roles: Roles) -> str:
    """Return why bins or conditions are not of these columns, or ""."""
    bins = arrays["coverage_bins"]
    given = roles.places(roles.given)
    if not (np.isfinite(bins).all() and np.isin(bins[:, 0], given).all()):
        return f"{EVALUATION}: damaged: coverage_bins: expected finite numbers of given columns"
    cells = [(bins[bins[:, 0] == place, 1], place) for place in given]
    if len(conditions := arrays.get("condition_rows", ())):
        cells += [(conditions[:, place], place) for place in given]
    for values, place in cells:
        levels = roles.given_categories.get(roles.columns[place])
        if levels and not np.isin(values, np.arange(-1, len(levels))).all():
            return f"{EVALUATION}: damaged: expected levels of {roles.columns[place]!r}"
    return ""

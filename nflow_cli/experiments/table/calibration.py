"""What the pictures of a calibration, and of conditions, are drawn from."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nflow_cli.config.roles import Roles
from nflow_cli.evaluation.calibration import BINNED, CURVE, Bin
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
    """Return why curves, bins or conditions are not of these columns, or ""."""
    bins, given = arrays["coverage_bins"], roles.places(roles.given)
    shares = [arrays["coverage"], arrays["pit"], bins[:, 3:7]]
    if any(((share < 0) | (share > 1)).any() for share in shares):
        return f"{EVALUATION}: damaged: coverage: expected shares from 0 to 1"
    is_about = (bins[:, 5] < BINNED) & (bins[:, 6] > BINNED)
    if not (np.isfinite(bins).all() and np.isin(bins[:, 0], given).all() and is_about.all()):
        return f"{EVALUATION}: damaged: coverage_bins: expected finite numbers of given columns"
    conditions = arrays.get("condition_rows", np.empty((0, len(roles.columns))))
    if not np.isfinite(conditions).all():
        return f"{EVALUATION}: damaged: condition_rows: expected finite numbers"
    for place in given:
        levels = roles.given_categories.get(roles.columns[place])
        known = np.arange(-1, len(levels or ()))
        values = np.append(bins[bins[:, 0] == place, 1], conditions[:, place])
        if levels is not None and not np.isin(values, known).all():
            return f"{EVALUATION}: damaged: expected levels of {roles.columns[place]!r}"
    return ""

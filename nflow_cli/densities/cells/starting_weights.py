"""Starting weights of a network of cells, to which weight decay pulls back.

Each column starts as a simple density given those before: shares of outcomes given one parent, and
a ridge regression of its numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn
from nflow_cli.densities.cells.fitting import in_numbers
from nflow_cli.densities.cells.layout import Layout, Outcomes
from nflow_cli.densities.cells.network import MOST_SKIPPED
from nflow_cli.densities.cells.regressions import ParentShares, Ridge, fit_parents, fit_ridges

IN_ATOMS = 1e-3  # part of the shares of atoms that is no number, at first
ROWS = 500_000  # most rows in the fit
MOST_INPUTS = 2_000  # most level inputs of a regression
SPREAD, SCALE = 1.2, 0.64  # of the means and scales of normals, over the residual scale: variance 1


class StartingWeights(NamedTuple):
    """Weights of the network are ``unit * trained + start``.

    Attributes:
        arrays: The start, by name.
        units: For the means of normals: scale of a regression's residuals. A column that nearly
            follows from others needs digits that updates in other units would lose.
    """

    arrays: dict[str, np.ndarray]
    units: dict[str, np.ndarray]

    def of(self, name: str, trained: Any) -> Any:
        """Weights of the network, from trained ones."""
        scaled = trained * self.units[name] if name in self.units else trained
        return scaled + self.arrays[name] if name in self.arrays else scaled


def starting_weights(
    layout: Layout,
    columns: Sequence[CellColumn],
    rows: np.ndarray,
    weights: np.ndarray | None,
) -> StartingWeights:
    """Starting weights and units, float32, of at most ``ROWS`` of the training rows ``(n, C)``."""
    some = slice(None, None, -(-len(rows) // ROWS))
    rows, weights = rows[some], None if weights is None else weights[some]
    cells = [column.encode(values) for column, values in zip(columns, rows.T)]
    codes = np.stack([cell.codes for cell in cells], axis=1)
    numbers = [cell for column, cell in zip(columns, cells) if column.has_numbers]
    units, centre = np.zeros((2, len(rows), 0))
    if numbers:
        units = np.stack([cell.units for cell in numbers], axis=1)
        centre = np.stack([cell.interval.centre for cell in numbers], axis=1)
    outcomes, first = [column.outcomes for column in columns], layout.n_given
    floors = [column.floor for column in columns]
    parents = fit_parents(outcomes, codes, weights, first)
    parents = [
        replace(one, log_shares=in_numbers(column, one.log_shares, IN_ATOMS))
        if column.scores
        else one
        for one, column in zip(parents, columns[first:])
    ]
    seen, known = _narrow(outcomes, codes)
    ridges = fit_ridges(seen, known, units, centre, weights, first, floors)
    arrays = {
        **_of_shares(layout, dict(enumerate(parents, first))),
        **_of_numbers(layout, seen, floors, dict(enumerate(ridges, first))),
    }
    units = _units(layout, dict(enumerate(ridges, first)))
    return StartingWeights(
        *({k: a.astype(np.float32) for k, a in part.items()} for part in (arrays, units))
    )


def _narrow(outcomes: Sequence[Outcomes], codes: np.ndarray) -> tuple[list[Outcomes], np.ndarray]:
    """Limit levels in regressions: their normal matrix is square in them."""
    levels = np.array([0 if one.number is not None else one.count for one in outcomes])
    order = np.argsort(levels, kind="stable")
    many = np.zeros(len(levels), bool)
    many[order] = np.cumsum(levels[order]) > MOST_INPUTS
    few = [Outcomes(1) if is_one else one for one, is_one in zip(outcomes, many)]
    return few, np.where(many, UNKNOWN, codes)


def _of_shares(layout: Layout, parents: Mapping[int, ParentShares]) -> dict[str, np.ndarray]:
    shape = len(layout.logits), len(layout.inputs)
    has_skip = shape[0] * shape[1] <= MOST_SKIPPED
    kernel, bias = np.zeros(shape if has_skip else (0, 0)), np.zeros((shape[0], 1))
    for j, one in parents.items():
        rows = layout.logits_of(j)
        log_shares = one.log_shares[:, : layout.outcomes[j].learnt]
        bias[rows, 0] = log_shares[-1]
        if one.parent is not None and has_skip:
            inputs = np.flatnonzero(layout.inputs == one.parent)
            inputs = inputs[: layout.outcomes[one.parent].learnt]
            kernel[rows, inputs] = (log_shares[: len(inputs)] - log_shares[-1]).T
    return {"logits_bias": bias, **({"logits_skip_kernel": kernel} if has_skip else {})}


def _of_numbers(
    layout: Layout,
    seen: Sequence[Outcomes],
    floors: Sequence[float],
    ridges: Mapping[int, Ridge | None],
) -> dict[str, np.ndarray]:
    if not layout.mixed:
        return {}
    m = layout.components
    kernel = np.zeros((len(layout.mixed), len(layout.inputs)))
    bias = np.zeros((len(layout.mixed), 3, m))
    inputs = [
        np.flatnonzero(layout.inputs == i)[: one.learnt + (one.number is not None)]
        for i, one in enumerate(seen)
    ]
    for row, j in enumerate(layout.mixed):
        ridge = ridges[j]
        if ridge is None:
            continue
        spread = np.linspace(-SPREAD, SPREAD, m) if m > 1 else np.zeros(1)
        bias[row, 1] = ridge.intercept + ridge.scale * spread
        scale = ridge.scale * (SCALE if m > 1 else 1.0)
        bias[row, 2] = np.log(max(scale - floors[j], 0.1 * scale))
        kernel[row, np.concatenate([[], *inputs[:j]]).astype(int)] = ridge.coefficients
    return {"means_skip_kernel": kernel, "mixtures_bias": bias.reshape(-1, 1)}


def _units(layout: Layout, ridges: Mapping[int, Ridge | None]) -> dict[str, np.ndarray]:
    if not layout.mixed:
        return {}
    found = [ridges[j] for j in layout.mixed]
    scales = np.array([1.0 if ridge is None else ridge.scale for ridge in found])
    of_normals = np.ones((len(scales), 3, layout.components))
    of_normals[:, 1] = scales[:, None]
    rows = of_normals.reshape(-1, 1)
    means = {"means_skip_kernel": scales[:, None]}
    return {"mixtures_kernel": rows, "mixtures_bias": rows, **means}

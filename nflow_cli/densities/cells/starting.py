"""The weights that the training of a network of cells starts from, and decays to. No Keras here.

Each column starts as the simplest density given the columns before: the shares of its outcomes
given one column of levels, and the ridge regression of its numbers on all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn
from nflow_cli.densities.cells.fitting import outcomes_of, with_both_ends
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.marginal import Outcomes, parts_by_widths
from nflow_cli.densities.cells.network import MOST_SKIPPED
from nflow_cli.densities.cells.start import ParentShares, Ridge, fit_parents, fit_ridges

MOST_INPUTS = 2_000  # of regressions, but numbers and their atoms
SPREAD, SCALE = 1.5, 0.6  # of the means and the scales of normals beside those of residuals


class Start(NamedTuple):
    """What the arrays of a network are beside those that are trained: ``unit * trained + start``.

    Attributes:
        arrays: The start, by name.
        units: By name, of the means of normals: the scale of the residuals that a column starts
            with. Where a column nearly follows from others, the means of its normals have digits
            that an update in other units would lose.
    """

    arrays: dict[str, np.ndarray]
    units: dict[str, np.ndarray]

    def of(self, name: str, trained: Any) -> Any:
        """Return an array of the network, as it is computed with."""
        scaled = trained * self.units[name] if name in self.units else trained
        return scaled + self.arrays[name] if name in self.arrays else scaled


def started(
    layout: Layout,
    columns: Sequence[CellColumn],
    rows: np.ndarray,
    weights: np.ndarray | None,
) -> Start:
    """Return the start of the trained arrays, and their units, float32.

    Args:
        layout: Of the network.
        columns: Of a row.
        rows: To train on ``(n, C)``.
        weights: Of the rows ``(n,)``; equal ones for ``None``.
    """
    cells = [column.encode(values) for column, values in zip(columns, rows.T)]
    codes = np.stack([cell.codes for cell in cells], axis=1)
    numbers = [cell.fine.centre for column, cell in zip(columns, cells) if column.has_numbers]
    centre = np.stack(numbers, axis=1) if numbers else np.zeros((len(rows), 0))
    outcomes, first = [outcomes_of(column) for column in columns], layout.n_given
    parts = {}
    for j, column in enumerate(columns):
        if column.n_lattices > 1:
            cell = with_both_ends(column, rows[:, j])
            intervals = [cell.fine, *cell.coarse]
            parts[j] = parts_by_widths(outcomes[j], cell.codes, intervals, weights)
    # A parent is known by its outcome alone: its numbers count as one.
    parents = fit_parents(outcomes, codes, np.zeros_like(centre), weights, first, parts)
    seen, known = _narrow(outcomes, codes)
    ridges = fit_ridges(seen, known, centre, weights, first)
    places = _places(layout)
    arrays = {
        **_of_shares(layout, places, dict(enumerate(parents, first))),
        **_of_numbers(layout, places, seen, dict(enumerate(ridges, first))),
    }
    units = _units(layout, dict(enumerate(ridges, first)))
    return Start(*({k: a.astype(np.float32) for k, a in part.items()} for part in (arrays, units)))


def _narrow(outcomes: Sequence[Outcomes], codes: np.ndarray) -> tuple[list[Outcomes], np.ndarray]:
    """Return outcomes and codes of columns as regressions take them: none of too many levels.

    Their inputs are as many as all levels of all columns, and the squares of these a matrix.
    """
    levels = np.array([0 if column.number is not None else column.count for column in outcomes])
    order = np.argsort(levels, kind="stable")
    many = np.zeros(len(levels), bool)
    many[order] = np.cumsum(levels[order]) > MOST_INPUTS
    few = [replace(column, count=1) if wide else column for column, wide in zip(outcomes, many)]
    return few, np.where(many, UNKNOWN, codes)


Places = Mapping[int, tuple[int, int | None]]


def _places(layout: Layout) -> Places:
    """Return where the outcomes of each column, and its number, are among the inputs."""
    numbers = {place: k for k, place in enumerate(layout.with_numbers)}
    start, found = 0, {}
    n_outcomes = len(layout.inputs) - len(numbers)
    for bank in layout.banks:
        for i in bank.columns:
            found[i] = start, (n_outcomes + numbers[i] if i in numbers else None)
            start += bank.size
    return found


def _of_shares(
    layout: Layout, places: Places, parents: Mapping[int, ParentShares]
) -> dict[str, np.ndarray]:
    if not len(layout.logits):
        return {}
    shape = len(layout.logits), len(layout.inputs)
    has_skip = shape[0] * shape[1] <= MOST_SKIPPED
    kernel, bias = np.zeros(shape if has_skip else (0, 0)), np.zeros((shape[0], 1))
    for j, parent in parents.items():
        rows = np.flatnonzero(layout.logits == j)[: layout.outcomes[j].learnt]
        log_shares = parent.log_shares[:, : len(rows)]
        bias[rows, 0] = log_shares[-1]
        if parent.parent is not None and has_skip:
            inputs = places[parent.parent][0] + np.arange(len(log_shares) - 1)
            kernel[np.ix_(rows, inputs)] = (log_shares[:-1] - log_shares[-1]).T
    return {"logits_bias": bias, **({"logits_skip_kernel": kernel} if has_skip else {})}


def _of_numbers(
    layout: Layout,
    places: Places,
    seen: Sequence[Outcomes],
    ridges: Mapping[int, Ridge | None],
) -> dict[str, np.ndarray]:
    if not layout.mixed:
        return {}
    m = layout.components
    kernel = np.zeros((len(layout.mixed), len(layout.inputs)))
    bias = np.zeros((len(layout.mixed), 3, m))
    for row, j in enumerate(layout.mixed):
        ridge = ridges[j]
        if ridge is None:
            continue
        spread = np.linspace(-SPREAD, SPREAD, m) if m > 1 else np.zeros(1)
        bias[row, 1] = ridge.intercept + ridge.scale * spread
        scale = ridge.scale * (SCALE if m > 1 else 1.0)
        bias[row, 2] = np.log(max(scale - seen[j].floor, 0.1 * scale))
        inputs = _plain_places(places, seen[:j])
        kernel[row, inputs] = ridge.coefficients[: len(inputs)]
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


def _plain_places(places: Places, columns: Sequence[Outcomes]) -> list[int]:
    """Return the inputs of regressions in their order: the outcomes of a column, its number."""
    found: list[int] = []
    for i, column in enumerate(columns):
        first, number = places[i]
        found += range(first, first + column.count)
        found += [] if number is None else [number]
    return found

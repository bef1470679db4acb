"""Surprise of cells given all other cells of their rows, and oddness of rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.computed import Computed
from nflow_cli.densities.cells.conditional import UNRESOLVED, Conditional, conditional
from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.densities.cells.prior import LEAST
from nflow_cli.evaluation.oddness import no_likelier, two_sided
from nflow_cli.text import printable
from nflow_cli.training.progress import phase

ENDS = np.array([0.05, 0.95])  # of the expected range of a number
DIGITS = 9  # of an oddness or a surprise: further ones depend on the rows beside
LARGEST = float(np.round(-np.log(LEAST), DIGITS))  # nats: smaller p are rounding errors


class CellSurprise(NamedTuple):
    """Surprise of the cells of a column in n rows, and the expected values.

    Attributes:
        column: The column.
        nats: ``-log p`` ``(n,)``; NaN if the cell is unknown or its distribution unresolved.
        low: 5 % quantile of a number, likeliest level, or value of a computed cell; NaN is missing.
        high: 95 % quantile of a number.
        share: Probability of ``low`` if it is a level or missing; else NaN.
        own: Probability of the own level, of a missing cell, or 0 of a value on no grid; else NaN.
    """

    column: CellColumn
    nats: np.ndarray
    low: np.ndarray
    high: np.ndarray
    share: np.ndarray
    own: np.ndarray


def surprises(density: CellDensity, rows: np.ndarray) -> list[CellSurprise]:
    """Surprise of the modelled and computed cells of rows ``(n, C)``, in nats.

    It is ``-log p``, p the probability of a cell at least as odd given all other cells: the
    two-sided tail of a number given that it is not missing; of a level, all that are no likelier;
    of a broken relation, that it is broken. Where missing is the less likely, so is its
    probability; where present is, that is a factor of p. A value that no row can have is unknown to
    the other cells.
    """
    first, count, found = density.n_given, len(density.cells), []
    impossible = density.are_impossible(rows)[:, first:]
    for j, column in enumerate(density.row[first:count], first):
        with phase(f"explaining {printable(column.name)}: {len(rows):,} rows"):
            given = conditional(density, rows, j, ENDS)
        of_column = _of_numbers if column.has_numbers else _of_levels
        found.append(of_column(column, given, rows[:, j]))
    found += [_of_computed(one, rows) for one in density.computed]
    return [
        one._replace(nats=np.where(wrong, LARGEST, one.nats), own=np.where(wrong, 0.0, one.own))
        for one, wrong in zip(found, impossible.T)
    ]


def largest(found: Sequence[CellSurprise]) -> np.ndarray:
    """Largest surprise ``(n,)`` of a row's cells, in nats; 0 if none is known."""
    every = np.column_stack([one.nats for one in found])
    return np.round(np.nan_to_num(every).max(axis=1), DIGITS)


def _surprise(p: np.ndarray, given: Conditional) -> np.ndarray:
    return np.where(given.error <= UNRESOLVED, np.log(1 / np.clip(p, LEAST, 1.0)), np.nan)


def _of_numbers(column: CellColumn, given: Conditional, values: np.ndarray) -> CellSurprise:
    present, gaps = 1 - given.missing, np.isnan(values)
    p = two_sided(given.below, given.at)
    if column.new is not None:
        is_beyond = column.codes(values) == column.new
        with np.errstate(over="ignore"):
            tail = np.exp(given.log_prob + column.log_measure + column.log_farther) / present
        p = np.where(is_beyond, np.minimum(1.0, 2 * tail), p)
    p = p * np.where(present < 0.5, present, 1.0)
    if column.missing is not None:
        p = np.where(gaps, np.where(given.missing < 0.5, given.missing, 1.0), p)
    low, high = np.where(present < 0.5, np.nan, given.quantiles.T)
    share = np.where(present < 0.5, given.missing, np.nan)
    own = np.where(gaps, given.missing, np.nan)
    return CellSurprise(column, _surprise(p, given), low, high, share, own)


def _of_levels(column: CellColumn, given: Conditional, _: np.ndarray) -> CellSurprise:
    own = np.exp(given.log_prob)
    every = [given.levels] if column.missing is None else [given.levels, given.missing[:, None]]
    known = np.column_stack(every)
    new = np.maximum(1 - known.sum(axis=1), 0.0)
    p = no_likelier(own, np.column_stack([known, new]))
    at = known.argmax(axis=1)
    likeliest = np.where(at < len(column.first), at, np.nan)
    share = known.max(axis=1)
    return CellSurprise(column, _surprise(p, given), likeliest, likeliest, share, own)


def _of_computed(one: Computed, rows: np.ndarray) -> CellSurprise:
    expected, values = one.expected(rows), rows[:, one.place]
    nats = np.where(one.holds(rows, expected), 0.0, -np.log(one.broken))
    is_known = expected.known & ~(np.isnan(values) & (one.column.missing is None))
    nothing = np.full(len(rows), np.nan)
    nats = np.where(is_known, nats, np.nan)
    return CellSurprise(one.column, nats, expected.values, expected.values, nothing, nothing)


def oddness(density: CellDensity, rows: np.ndarray, log_q: np.ndarray | None = None) -> np.ndarray:
    """Minus the log-probability ``(n,)`` in nats of the known cells as written, of rows ``(n, C)``.

    New numbers among values that repeat count with all between those seen, whatever their digits.

    ``-log q - Σ log δ_j`` over the numbers with a density, δ the resolution of their column: it is
    the same in any units. ``log_q`` are log-probabilities of the cells, if known.
    """
    total = (density.cell_log_probs(rows) if log_q is None else log_q).sum(axis=1)
    for j, column in enumerate(density.row[density.n_given : len(density.cells)], density.n_given):
        total = total + column.log_wider(rows[:, j])
        if column.log_measure:
            codes = column.codes(rows[:, j])
            has_density = column.have_numbers(codes) | (codes == column.new)
            total = total + column.log_measure * has_density
    return np.round(-total, DIGITS)

"""Nodes of a quadrature over the values of one cell: each outcome, each value of a short grid, and
cells of a mixture of normals.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np

from nflow_cli.config.kinds_schema import Lattice
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.distribution import CellDistribution

VALUES = 256  # most values of a grid that are nodes each
CORE, TAIL = 1e-3, 1e-13  # mass of a normal beyond single values, and beyond all nodes
FARTHEST = 2.0**53  # steps from an offset: the next has no number
LARGE = 1e300  # largest value
GROWTH = 1.4  # of the intervals beyond single values
WIDEST = 16  # atoms that are cells of their own
CELLS, MORE = 127, 64  # cells of a mixture at first, and added in a refinement
# Probabilities below the inner ends of the outermost cells.
TAILS = np.array([1e-7, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 2e-3, 4e-3])


class Nodes(NamedTuple):
    """Nodes of n rows, NaN where missing.

    Attributes:
        values: ``(n, N)`` or ``(1, N)``.
        low: Least value of a cell, the same shape; the value itself of any other node.
        high: The greatest.
        mass: Probabilities ``(n, N)`` given the cells before.
        usual: The same without outliers: beyond bounds, or of the marginal's broad normal.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mass: np.ndarray
    usual: np.ndarray


def joined(parts: Sequence[Nodes]) -> Nodes:
    """Nodes side by side."""
    n = max(len(part.values) for part in parts)
    every = [
        [np.broadcast_to(a, (max(n, len(a)), a.shape[1])) for a in arrays] for arrays in zip(*parts)
    ]
    return Nodes(*(np.concatenate(arrays, axis=1) for arrays in every))


def points(prior: CellDistribution) -> Nodes:
    """Nodes of the outcomes that are no numbers: levels or atoms, missing, new."""
    column, codes = prior.column, np.arange(prior.column.outcomes.count)
    codes = codes[codes != column.number]
    shares, units = np.ones(len(codes)), np.full(len(codes), 0.5)
    bounds = column.kind.bounds or (None, None)
    if column.has_numbers and column.new is not None and None not in bounds:  # beyond either
        codes = np.append(codes, column.new)
        units, shares = np.append(units, 0.75), np.append(shares, 0.5)
        units[codes == column.new], shares[codes == column.new] = [0.25, 0.75], 0.5
    mass = prior.outcomes[codes].T * shares
    is_usual = (codes != column.missing) & (codes != column.new)
    values = column.decode(codes, units)[None]
    return Nodes(values, values, values, mass, mass * is_usual)


def grid_nodes(prior: CellDistribution) -> Nodes | None:
    """Nodes of the numbers of a grid: each value, and few beyond those; ``None`` of a long grid."""
    if prior.column.kind.kind != "grid" or (values := _values(prior)) is None:
        return None
    first, middle = values
    at = middle[None]
    return Nodes(at, at, at, *prior.masses(_edges(prior.column, first)[None]))


def _values(prior: CellDistribution) -> tuple[np.ndarray, np.ndarray] | None:
    """The first value of each node, and its middle one."""
    column, lattice = prior.column, cast(Lattice, prior.column.kind.lattice)
    step, offset = lattice.step, lattice.offset

    def places(least: float) -> tuple[int, int]:
        ends = column.values_at(np.array(prior.reach(least)))
        low, high = np.clip(np.rint((ends - offset) / step), -FARTHEST, FARTHEST)
        return int(low), int(high)

    low, high = places(CORE)
    if high - low >= VALUES:
        return None
    least, most = places(TAIL)
    if most - least < VALUES:
        low, high = least, most
    steps = np.unique(np.rint(GROWTH ** np.arange(200.0)))
    below, above = low - steps[::-1], high + steps
    first = [below[below > least], np.arange(low, high + 1), above[above <= most]]
    first = np.concatenate([[least] if least < low else [], *first])
    last = np.append(first[1:] - 1, max(first[-1], most))
    middle = np.floor((first + last) / 2)
    decimals = column.kind.decimals
    values = [offset + step * at for at in (first, middle)]
    values = values if decimals is None else [np.round(at, decimals) for at in values]
    return values[0], values[1]


def _edges(column: CellColumn, first: np.ndarray) -> np.ndarray:
    """Ends between intervals that begin at these values; the outermost are infinite."""
    centre, half = column.encode(first).interval
    ends = np.where(np.isinf(half), centre, centre - np.abs(half))
    return np.concatenate([[-np.inf], ends[1:], [np.inf]])


def first_edges(prior: CellDistribution) -> np.ndarray:
    """Ends ``(n, S + 1)`` in units of cells of about equal probability, narrower in the tails.

    A wide atom is a cell.
    """
    count = CELLS + 2 - 2 * len(TAILS)
    even = np.arange(1, count) / count
    edges = prior.guessed_quantiles(np.concatenate([TAILS, even, 1 - TAILS[::-1]]))
    column = prior.column
    centre, half = column.encode(np.array(column.kind.atoms, float)).interval
    widest = np.argsort(-half, kind="stable")[:WIDEST]
    centre, half = centre[widest], np.where(np.isinf(half), 0.0, half)[widest]
    atoms = np.concatenate([centre - half, centre + half])
    return np.sort(np.append(edges, np.tile(atoms, (len(edges), 1)), axis=1), axis=1)


def cell_nodes(prior: CellDistribution, edges: np.ndarray) -> Nodes:
    """Nodes of numbers: the values at the middles of cells with these ends."""
    column, masses = prior.column, prior.masses(edges)

    def values_at(units: np.ndarray) -> np.ndarray:
        values = column.values_at(units.ravel()).reshape(units.shape)
        return np.clip(values, -LARGE, LARGE)

    ends = values_at(edges)
    values = values_at((edges[:, 1:] + edges[:, :-1]) / 2)
    return Nodes(values, ends[:, :-1], ends[:, 1:], *masses)


def split(edges: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split cells with weights ``(n, S)`` into ``MORE`` more, most of those that weigh most.

    Half of a weight counts for the two cells beside it, of which a narrow peak may be a part.
    Without weights the new cells of a row are empty.

    Returns:
        The new ends; of each new cell ``(n, S + MORE)`` the old one, and whether that was split.
    """
    n, count = weights.shape
    beside = np.pad(weights, ((0, 0), (1, 1)), "edge")
    total = np.cumsum(2 * weights + beside[:, 2:] + beside[:, :-2], axis=1)
    is_whole = total[:, -1:] == 0
    known = np.where(is_whole, 1.0, total[:, -1:])
    places = np.floor(MORE * total / known + 0.5)
    places[:, -1] = MORE
    parts = 1 + np.diff(places, axis=1, prepend=0.0).astype(int)
    which = np.repeat(np.tile(np.arange(count), n), parts.ravel()).reshape(n, count + MORE)
    first = np.take_along_axis(np.cumsum(parts, axis=1) - parts, which, 1)
    parts = np.take_along_axis(parts, which, 1)
    part = (np.arange(count + MORE) - first) / np.where(is_whole, 1, parts)
    part = np.minimum(part, 1.0)
    low, high = (np.take_along_axis(ends, which, 1) for ends in (edges[:, :-1], edges[:, 1:]))
    edges = np.append(low + (high - low) * part, edges[:, -1:], axis=1)
    return edges, which, (parts > 1) & ~is_whole

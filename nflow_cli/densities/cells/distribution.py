"""The distribution functions of cells. No Keras here."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nflow_cli.arrays import log_ndtr, logsumexp
from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn
from nflow_cli.densities.cells.heads import distinct, log_mass
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.network import PADDING, Parameters

if TYPE_CHECKING:
    from nflow_cli.densities.cells.density import Encoded

Ends = tuple[np.ndarray, np.ndarray]  # probabilities (n,) below a cell, and of it


def below_and_at(
    layout: Layout, columns: Sequence[CellColumn], parameters: Parameters, encoded: "Encoded"
) -> Ends:
    """Return ``P(X < x)`` and ``P(X = x)`` ``(D, n)`` of cells, bank by bank.

    Levels are in their order; a gap is above all of them and all numbers, and a new level above it.
    Of a number, ``X = x`` is its interval. A cell that is unknown has NaN.
    """
    n, cells, place = encoded.codes.shape[1], [], 0
    for bank, log_shares in zip(layout.banks, parameters.log_shares):
        for c, i in enumerate(bank.columns):
            codes = encoded.codes[place].astype(int)
            place += 1
            if c < bank.n_given:
                continue
            shares = np.ones((1, 1))
            if log_shares is not None:
                shares = np.exp(log_shares[c - bank.n_given])
            if columns[i].has_numbers:
                m = layout.mixed.index(i)
                mixture = [array[m] for array in parameters[1:]]
                intervals = [
                    (encoded.centre[k], encoded.half[k])
                    for k, owner in zip(layout.intervals, layout.mixtures)
                    if owner == m
                ]
                below, at = _of_numbers(columns[i], codes, shares, intervals, mixture)
            else:
                below, at = of_code(np.broadcast_to(shares, (len(shares), n)), codes)
            cells.append([np.where(codes == UNKNOWN, np.nan, part) for part in (below, at)])
    below, at = np.moveaxis(np.array(cells), 0, 1)
    return below, at


def _of_numbers(
    column: CellColumn,
    codes: np.ndarray,
    shares: np.ndarray,
    intervals: Sequence[tuple[np.ndarray, np.ndarray]],
    mixture: Sequence[np.ndarray],
) -> Ends:
    """Return what :func:`of_number` does; by the parameters of one row each distinct cell once."""
    if mixture[0].shape[-1] != 1:
        every = np.broadcast_to(shares, (len(shares), len(codes)))
        return of_number(column, codes, every, intervals, mixture)
    some = mixture[0][:, 0] > PADDING / 2
    (kinds, *ends), inverse = distinct(codes, *(end for pair in intervals for end in pair))
    one = [np.broadcast_to(array[some], (some.sum(), kinds.size)) for array in mixture]
    every = np.broadcast_to(shares, (len(shares), kinds.size))
    pairs = list(zip(ends[::2], ends[1::2]))
    below, at = of_number(column, kinds.astype(int), every, pairs, one)
    return below[inverse], at[inverse]


def of_code(shares: np.ndarray, codes: np.ndarray) -> Ends:
    """Return both of a column of levels whose outcomes have shares ``(L, n)``."""
    rows = np.arange(len(codes))
    at = shares[codes, rows]
    return np.cumsum(shares, axis=0)[codes, rows] - at, at


# Of a value that is on no grid, and of one so far out that its square is infinite.
@np.errstate(divide="ignore", over="ignore", invalid="ignore")
def of_number(
    column: CellColumn,
    codes: np.ndarray,
    shares: np.ndarray,
    intervals: Sequence[tuple[np.ndarray, np.ndarray]],
    mixture: Sequence[np.ndarray],
) -> Ends:
    """Return both of a column of numbers: its atoms are among its values.

    Args:
        column: By itself.
        codes: Outcomes of the cells ``(n,)``.
        shares: Of all outcomes ``(L, n)``.
        intervals: The middles and half widths ``(n,)`` on each lattice.
        mixture: Log-weights, means and scales ``(M, n)``.
    """
    number, (centre, _) = len(column.first), intervals[0]
    atoms, of_atoms = np.array(column.kind.atoms).reshape(-1, 1), shares[:number]
    is_atom = (codes >= 0) & (codes < number)
    is_alone = is_atom & (column.kind.kind != "grid")  # of no interval
    smooth, masses = _of_lattices(shares[number:], intervals, mixture, is_alone)
    values = np.where(is_atom, np.append(atoms, 0.0)[np.clip(codes, 0, number)], np.nan)
    if number:
        inside = column.inside(atoms[:, 0])[0][:, None]  # where atoms are in units
        under = np.where(is_atom, atoms < values, inside < centre)
        atoms_below = (of_atoms * under).sum(axis=0)
        at_atom = (of_atoms * (np.arange(number)[:, None] == codes)).sum(axis=0)
    else:
        atoms_below = at_atom = np.zeros(len(codes))
    below = atoms_below + smooth
    at = at_atom + np.where(is_alone, 0.0, masses)
    plain = of_code(shares, codes)  # of a gap, or beyond bounds
    is_other = codes >= number + len(intervals)
    return np.where(is_other, plain[0], below), np.where(is_other, plain[1], at)


def _of_lattices(
    shares: np.ndarray,
    intervals: Sequence[tuple[np.ndarray, np.ndarray]],
    mixture: Sequence[np.ndarray],
    is_alone: np.ndarray,
) -> Ends:
    """Return both of numbers on any lattice, the shares of which come first in ``shares``."""
    log_weights, means, scales = mixture
    below = at = np.zeros(shares.shape[1])
    for share, (centre, half) in zip(shares, intervals):
        masses = np.exp(log_mass(centre, half, *mixture, xp=np, has_ends=True))
        masses = np.where(half == 0, 0.0, masses)
        low = np.where(is_alone | (half == np.inf), centre, centre - np.abs(half))
        smooth = np.exp(logsumexp(log_weights + log_ndtr((low - means) / scales, np), 0, np))
        below, at = below + share * smooth, at + share * masses
    return below, at

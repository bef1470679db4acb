"""Distribution functions of cells."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nflow_cli.arrays import log_ndtr, logsumexp
from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn
from nflow_cli.densities.cells.heads import distinct
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.network import PADDING, Parameters

if TYPE_CHECKING:
    from nflow_cli.densities.cells.block import Encoded


class Numbers(NamedTuple):
    """Middles, half widths and masses ``(n,)`` of numbers' intervals."""

    centre: np.ndarray
    half: np.ndarray
    mass: np.ndarray


Ends = tuple[np.ndarray, np.ndarray]  # probabilities (n,) below a cell, and of it


def below_and_at(
    layout: Layout,
    columns: Sequence[CellColumn],
    parameters: Parameters,
    encoded: "Encoded",
    log_masses: np.ndarray,
) -> Ends:
    """``P(X < x)`` and ``P(X = x)`` ``(D, n)`` of cells, bank by bank; NaN if unknown.

    Levels are in their order; missing is above all levels and numbers, a new level above missing.
    For a number, ``X = x`` is its interval, one of the ``log_masses`` ``(N, n)``.
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
                k = layout.intervals[m]
                numbers = Numbers(encoded.centre[k], encoded.half[k], np.exp(log_masses[m]))
                below, at = _of_numbers(columns[i], codes, shares, numbers, mixture)
            else:
                below, at = of_code(np.broadcast_to(shares, (len(shares), n)), codes)
            cells.append([np.where(codes == UNKNOWN, np.nan, part) for part in (below, at)])
    below, at = np.moveaxis(np.array(cells), 0, 1)
    return below, at


def _of_numbers(
    column: CellColumn,
    codes: np.ndarray,
    shares: np.ndarray,
    numbers: Numbers,
    mixture: Sequence[np.ndarray],
) -> Ends:
    if mixture[0].shape[-1] != 1:
        every = np.broadcast_to(shares, (len(shares), len(codes)))
        return of_number(column, codes, every, numbers, mixture)
    some = mixture[0][:, 0] > PADDING / 2
    (kinds, *parts), inverse = distinct(codes, *numbers)
    one = [np.broadcast_to(array[some], (int(some.sum()), kinds.size)) for array in mixture]
    every = np.broadcast_to(shares, (len(shares), kinds.size))
    below, at = of_number(column, kinds.astype(int), every, Numbers(*parts), one)
    return below[inverse], at[inverse]


def of_code(shares: np.ndarray, codes: np.ndarray) -> Ends:
    """Both probabilities of levels, by shares ``(L, n)`` of outcomes."""
    rows = np.arange(len(codes))
    at = shares[codes, rows]
    return np.cumsum(shares, axis=0)[codes, rows] - at, at


# Values on no grid have mass 0; of very large ones the square overflows.
@np.errstate(divide="ignore", over="ignore", invalid="ignore")
def of_number(
    column: CellColumn,
    codes: np.ndarray,
    shares: np.ndarray,
    numbers: Numbers,
    mixture: Sequence[np.ndarray],
) -> Ends:
    """Both probabilities of numbers, with atoms among the values.

    Shares are of all outcomes ``(L, n)``; the mixture is log-weights, means and scales ``(M, n)``.
    """
    (centre, half, mass), count = numbers, len(column.first)
    log_weights, means, scales = mixture
    low = np.where(half == np.inf, centre, centre - np.abs(half))
    under = np.exp(logsumexp(log_weights + log_ndtr((low - means) / scales, np), 0, np))
    below, at = shares[count] * under, shares[count] * np.where(half == 0, 0.0, mass)
    if count:
        atoms = np.array(column.kind.atoms).reshape(-1, 1)
        is_atom = (codes >= 0) & (codes < count)
        values = np.append(atoms, np.nan)[np.where(is_atom, codes, count)]
        inside = column.inside(atoms[:, 0])[0][:, None]
        are_below = np.where(is_atom, atoms < values, inside < centre)
        below = below + (shares[:count] * are_below).sum(axis=0)
        at = at + (shares[:count] * (np.arange(count)[:, None] == codes)).sum(axis=0)
    plain = of_code(shares, codes)  # of a gap, or beyond bounds
    is_other = codes > count
    return np.where(is_other, plain[0], below), np.where(is_other, plain[1], at)

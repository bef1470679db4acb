"""The distribution functions of cells. No Keras here."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nflow_cli.arrays import log_ndtr, logsumexp
from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn
from nflow_cli.densities.cells.heads import log_mass
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.network import Parameters

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
            shares = np.ones((1, n))
            if log_shares is not None:
                shares = np.exp(np.broadcast_to(log_shares[c - bank.n_given], (bank.size, n)))
            if columns[i].has_numbers:
                k, m = layout.with_numbers.index(i), layout.mixed.index(i)
                mixture = [
                    np.broadcast_to(array[m], (array.shape[1], n)) for array in parameters[1:]
                ]
                below, at = of_number(
                    columns[i], codes, shares, encoded.centre[k], encoded.half[k], mixture
                )
            else:
                below, at = of_code(shares, codes)
            cells.append([np.where(codes == UNKNOWN, np.nan, part) for part in (below, at)])
    below, at = np.moveaxis(np.array(cells), 0, 1)
    return below, at


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
    centre: np.ndarray,
    half: np.ndarray,
    mixture: Sequence[np.ndarray],
) -> Ends:
    """Return both of a column of numbers: its atoms are among its values."""
    log_weights, means, scales = mixture
    number = len(column.first)
    atoms, of_atoms = np.array(column.kind.atoms).reshape(-1, 1), shares[:number]
    is_atom = (codes >= 0) & (codes < number)
    masses = np.exp(log_mass(centre, half, log_weights, means, scales, xp=np, has_ends=True))
    on_grid = column.kind.kind == "grid"
    low = np.where(is_atom & (not on_grid) | (half == np.inf), centre, centre - np.abs(half))
    smooth = np.exp(logsumexp(log_weights + log_ndtr((low - means) / scales, np), 0, np))
    values = np.where(is_atom, np.append(atoms, 0.0)[np.clip(codes, 0, number)], np.nan)
    if number:
        inside = column.inside(atoms[:, 0])[0][:, None]  # where atoms are in units
        under = np.where(is_atom, atoms < values, inside < centre)
        atoms_below = (of_atoms * under).sum(axis=0)
        at_atom = (of_atoms * (np.arange(number)[:, None] == codes)).sum(axis=0)
    else:
        atoms_below = at_atom = np.zeros(len(codes))
    below = atoms_below + shares[number] * smooth
    at = at_atom + np.where(is_atom & (not on_grid), 0.0, shares[number] * masses)
    plain = of_code(shares, codes)  # of a gap, or beyond bounds
    is_other = codes > number
    return np.where(is_other, plain[0], below), np.where(is_other, plain[1], at)

"""Reference measure of cells: the line of normal scores, on which each column is N(0, 1): NumPy.

    log R(cell) = log P(cell) + E[Z²/2 | a < Z < b],    Z ~ N(0, 1)

of a cell that has the probability P and the interval from a to b by the distribution of its column
alone. Of a narrow interval R is ``(b - a)/√2π``; a value that repeats has its own probability,
times what Z² adds in the mean. Beyond the training numbers the line goes on in column units. The
density of a row over this measure is the same in any monotone units of a column.
"""

from typing import NamedTuple

import numpy as np

from nflow_cli.arrays import LOG_2, ndtri
from nflow_cli.constants import LOG_2PI
from nflow_cli.mixtures import log_cdf, log_sf
from nflow_cli.tables.cells.cell_columns import CellColumn, Cells
from nflow_cli.tables.cells.cells_density import CellDensity, CellScores
from nflow_cli.tables.cells.marginal import Marginal, distinct
from nflow_cli.tables.cells.tails import score

ENERGY_OF_GAP = 0.5  # nats: the mean of Z²/2
NARROW = 1e-4  # width of scores below which Z² is that of the middle
TIES = 1e-9  # relative: closer probabilities of levels are equal


class OwnScores(NamedTuple):
    """Cells of n rows by the distributions of their own columns, in nats ``(n, D + K)``.

    Attributes:
        log_marginal: Log-probabilities, of numbers with a density per unit of their column.
        log_reference: Log-measures by normal scores, in the same units; of computed and unknown
            cells 0.
    """

    log_marginal: np.ndarray
    log_reference: np.ndarray


def own_scores(density: CellDensity, rows: np.ndarray) -> OwnScores:
    """Scores of the cells of rows ``(n, C)`` by their own columns."""
    independent = density.marginal_density
    columns = independent.modelled_columns

    def of_block(block: CellScores) -> tuple[np.ndarray, np.ndarray]:
        log_marginal = block.by_marginals
        log_reference = np.zeros(log_marginal.shape)
        values = block.rows.T[density.n_given :]
        places = range(len(columns))
        for j, column, marginal, cells in zip(places, columns, independent.marginals, block.cells):
            log_measures = log_marginal[:, j] + _energies(column, marginal, cells)
            if column.has_numbers:
                is_beyond = _are_beyond(column, cells)
                beyond = values[j, is_beyond]
                log_measures[is_beyond] = _log_lengths(column, beyond)
            is_known = (cells.codes >= 0) & np.isfinite(log_measures)
            log_reference[:, j] = np.where(is_known, log_measures, 0.0)
        return log_marginal, log_reference

    return OwnScores(*independent.by_blocks(of_block, rows))


def _are_beyond(column: CellColumn, cells: Cells) -> np.ndarray:
    """Which cells ``(n,)`` are numbers beyond those of training, and within the bounds."""
    centre, half = cells.interval
    is_outside = (centre < column.low) | (centre > column.high)
    return (cells.codes == column.number_code) & (half != 0) & is_outside


def _log_lengths(column: CellColumn, values: np.ndarray) -> np.ndarray:
    """Log-measures ``(n,)`` of intervals of a line in column units."""
    _, log_slope = column.in_units(values)
    log_length = np.log(column.step) + log_slope
    return log_length - LOG_2PI / 2 - column.log_width


def _energies(column: CellColumn, marginal: Marginal, cells: Cells) -> np.ndarray:
    """``E[Z²/2]`` ``(n,)`` of the cells of a column, given that they are present."""
    of_column = _energies_of_numbers if column.has_numbers else _energies_of_levels
    energies = of_column(column, marginal, cells)
    return np.where(cells.codes == column.missing_code, ENERGY_OF_GAP, energies)


def _energies_of_levels(column: CellColumn, marginal: Marginal, cells: Cells) -> np.ndarray:
    """Energies ``(n,)`` of levels: the less likely one is, the larger is ``|Z|``."""
    p = np.exp(marginal.log_shares)
    if column.missing_code is not None:
        p[column.missing_code] = 0.0
    p /= p.sum()
    ordered = np.sort(p)
    totals = np.append(0.0, np.cumsum(ordered))
    rarer = totals[np.searchsorted(ordered, p * (1 - TIES))]  # of all levels rarer than each
    no_likelier = totals[np.searchsorted(ordered, p * (1 + TIES), side="right")]
    # Each side of the line has half of the probability.
    low = -ndtri(np.minimum(no_likelier, 1.0) / 2, np)
    high = -ndtri(rarer / 2, np)
    with np.errstate(divide="ignore"):
        log_mass = np.log((no_likelier - rarer) / 2)
    return _energy(low, high, low, log_mass)[cells.codes]


def _energies_of_numbers(column: CellColumn, marginal: Marginal, cells: Cells) -> np.ndarray:
    """Energies ``(n,)`` of the intervals of numbers, outliers aside; of an outlier beyond the
    bounds, that of a tail with the probability of outliers.
    """
    (centre, half, codes), places = distinct(*cells.interval, cells.codes)
    codes = codes.astype(int)
    low = np.where(half == np.inf, centre, centre - np.abs(half))
    high = np.where(half == -np.inf, centre, centre + np.abs(half))
    log_number = marginal.log_shares[column.number_code]
    mixture = marginal.normals.array[..., None]
    log_below, log_above = _log_atoms(column, marginal, codes, centre)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        log_low = np.where(half == -np.inf, -np.inf, log_cdf(low, *mixture, xp=np, axis=-2))
        log_high = np.where(half == np.inf, -np.inf, log_sf(high, *mixture, xp=np, axis=-2))
        log_below = np.logaddexp(log_below, log_number + log_low) - marginal.log_p_present
        log_above = np.logaddexp(log_above, log_number + log_high) - marginal.log_p_present
        log_mass = marginal.log_masses(codes, centre, half) - marginal.log_p_present
        first = score(log_below, np.logaddexp(log_mass, log_above))
        last = score(np.logaddexp(log_below, log_mass), log_above)
        half_mass = log_mass - LOG_2
        middle = score(np.logaddexp(log_below, half_mass), np.logaddexp(log_above, half_mass))
        energies = _energy(first, last, middle, log_mass)[places]
    end = -ndtri(np.exp([marginal.log_p_new]), np)
    of_outlier = _energy(end, np.full(1, np.inf), end, np.array([marginal.log_p_new]))
    return np.where(cells.codes == column.new_code, of_outlier, energies)


def _log_atoms(
    column: CellColumn, marginal: Marginal, codes: np.ndarray, centre: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities ``(n,)`` of the other atoms of a column below and above cells."""
    atoms = np.array(column.coded_values, float)
    units = column.in_interval_units(atoms)[0]
    is_atom = codes < len(atoms)
    position = np.append(units, np.nan)[np.where(is_atom, codes, len(atoms))]
    position = np.where(is_atom, position, centre)
    is_other = np.arange(len(atoms))[:, None] != codes
    is_below = units[:, None] < position
    log_p = marginal.log_shares[: len(atoms), None]
    log_p_below = np.where(is_other & is_below, log_p, -np.inf)
    log_p_above = np.where(is_other & ~is_below, log_p, -np.inf)
    return (
        np.logaddexp.reduce(log_p_below, axis=0, initial=-np.inf),
        np.logaddexp.reduce(log_p_above, axis=0, initial=-np.inf),
    )


def _energy(
    low: np.ndarray, high: np.ndarray, middle: np.ndarray, log_mass: np.ndarray
) -> np.ndarray:
    """``E[Z²/2 | low < Z < high]`` of intervals with log-probability ``log_mass``, in nats; of a
    narrow one by its ``middle``.

        (1 + (a φ(a) - b φ(b))/(Φ(b) - Φ(a)))/2
    """
    with np.errstate(over="ignore", invalid="ignore"):
        edges = _weighted_density(low, log_mass) - _weighted_density(high, log_mass)
        is_narrow = high - low < NARROW
        return np.where(is_narrow, np.square(middle) / 2, (1 + edges) / 2)


def _weighted_density(z: np.ndarray, log_mass: np.ndarray) -> np.ndarray:
    """``z φ(z)`` over a probability; 0 at an infinite z."""
    finite = np.where(np.isinf(z), 0.0, z)
    return finite * np.exp(-np.square(finite) / 2 - LOG_2PI / 2 - log_mass)

"""Metropolis steps of the unknown cells of rows, given the known ones.

A step proposes one unknown cell of each row, from its distribution given the cells before, and
accepts it by the ratio of the probabilities of the cells behind. So the distribution of the unknown
cells given the known ones, none of them missing, is invariant, whatever the order of the columns.
Where few are accepted, as the cells behind say more of a cell than those before, half of the
proposals are near its number, or any level.
"""

import numpy as np

from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.density import CellDensity, Member
from nflow_cli.densities.cells.normals import STANDARD

SELDOM = 0.05  # acceptance of a column's proposals, below which half are near
FINEST = 1e-3  # units: least scale of the distance to a near number, the largest is 1
LEAST_LOG = -1e9  # nats, of cells that no row can have


def moved(
    density: CellDensity,
    member: Member,
    rows: np.ndarray,
    unknown: np.ndarray,
    steps: int,
    rng: np.random.Generator,
    tallies: np.ndarray,
) -> np.ndarray:
    """Rows ``(n, C)`` after steps of their ``unknown`` cells, under one member.

    ``tallies`` ``(2, C)`` counts the proposals of each column given the cells before, and those
    accepted.
    """
    width = len(density.cells)
    are_modelled = np.arange(unknown.shape[1]) < width

    def log_cells(found: np.ndarray) -> np.ndarray:
        cells = density.cells_by(member, found)
        cells = np.pad(cells, ((0, 0), (density.n_given, 0)))
        return np.where(unknown & ~are_modelled, 0.0, cells)  # computed from the others

    cells, places = log_cells(rows), np.arange(len(rows))
    for _ in range(steps):
        chosen = (rng.random(unknown.shape) * (unknown & are_modelled)).argmax(axis=1)
        own = places, chosen
        is_one = np.zeros_like(unknown)
        is_one[own] = (unknown & are_modelled)[own]
        is_seldom = tallies[1] < SELDOM * tallies[0]
        is_near = is_seldom[chosen] & is_one[own] & (rng.random(len(rows)) < 0.5)
        found, log_back = np.where(is_one, np.nan, rows), np.zeros(len(rows))
        found, _ = density.completed(member, found, is_one, rng, present=True)
        for j in np.unique(chosen[is_near]):
            at = is_near & (chosen == j)
            found[at, j], log_back[at] = _near(density.cells[j], rows[at, j], rng)
        for one in density.computed:
            drawn, place = one.draw(found, rng), one.place
            found[:, place] = np.where(unknown[:, place], drawn, rows[:, place])

        of_found = log_cells(found)
        new, old = (_log_weights(one, own, is_near) for one in (of_found, cells))
        ratio = new - old + log_back
        is_taken = np.log(rng.random(len(rows))) < ratio
        rows = np.where(is_taken[:, None], found, rows)
        cells = np.where(is_taken[:, None], of_found, cells)
        counted = is_one[own] & ~is_near
        for tally, some in zip(tallies, (counted, counted & is_taken)):
            tally += np.bincount(chosen[some], minlength=len(tally))
    return rows


def _log_weights(
    cells: np.ndarray, own: tuple[np.ndarray, np.ndarray], is_near: np.ndarray
) -> np.ndarray:
    """Log-weights ``(n,)``: of all cells, but not of the own one where it is drawn from its law."""
    cells = cells.copy()
    cells[own] = np.where(is_near, cells[own], 0.0)
    return np.maximum(np.nan_to_num(cells.sum(axis=1), nan=LEAST_LOG), LEAST_LOG)


def _near(
    column: CellColumn, values: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers near others ``(n,)``, or levels, and the log-ratio of the probabilities to go back
    and there: none from or to an atom.
    """
    if not column.has_numbers:
        levels = rng.integers(len(column.first), size=len(values))
        return levels.astype(float), np.zeros(len(values))
    scales, old = FINEST ** rng.random(len(values)), column.encode(values)
    found = column.values_at(old.interval.centre + scales * rng.standard_normal(len(values)))
    new = column.encode(found)
    away = (new.interval.centre - old.interval.centre) / scales
    there, back = (STANDARD.log_mass(away, one.interval.half / scales) for one in (new, old))
    are_numbers = (old.codes == column.number) & (new.codes == column.number)
    return found, np.where(are_numbers, back - there, -np.inf)

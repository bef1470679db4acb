"""Conformal sets of predictions, calibrated on the test rows of a run."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nflow_cli.data.tables import listed, shown
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.conditional import Conditional, conditional
from nflow_cli.errors import DataError
from nflow_cli.evaluation.conformal import Calibration, calibrated, central_scores
from nflow_cli.registry import nearest
from nflow_cli.text import printable
from nflow_cli.training.progress import phase

if TYPE_CHECKING:
    from nflow_cli.experiments.cells.loading import TrainedCells

ROUNDING = 1e-9  # of a share
ALL, MISSING, NEW = "all", "missing", "new"  # names of groups


class Calibrated(NamedTuple):
    """Calibration of the sets of a column.

    Attributes:
        coverage: Share of fresh values in their sets.
        by: Column of the groups.
        groups: Calibration of each group, by its code: of a level, -1 new, -2 missing.
    """

    coverage: float
    by: CellColumn | None
    groups: dict[int, Calibration]

    def name(self, code: int) -> str:
        """Name of a group."""
        if self.by is None:
            return ALL
        return {-1: NEW, -2: MISSING}.get(code) or str(self.by.first[code])

    def thresholds(self, trained: "TrainedCells", rows: np.ndarray) -> np.ndarray:
        """Largest scores ``(n,)`` in the sets of rows ``(n, C)``."""
        codes = _codes(trained, self.by, rows)
        found = np.full(len(rows), np.inf)
        for code, one in self.groups.items():
            found[codes == code] = one.threshold
        return found


def calibration(
    trained: "TrainedCells", column: CellColumn, coverage: float, by: str | None
) -> Calibrated:
    """Calibrate sets of a column on the test rows of a run, each group of ``by`` by itself."""
    if not isinstance(coverage, float | int) or not 0 < coverage < 1:
        raise DataError(f"coverage: expected a number between 0 and 1, received {coverage!r:.60}")
    of_groups = None if by is None else _groups(trained, by, column)
    rows = trained.held_out
    place = trained.columns.index(column.name)
    with phase(f"calibrating {printable(column.name)}: {len(rows):,} test rows"):
        found = conditional(trained, rows, place, np.array([0.5]))
    scores = own_scores(column, found, rows[:, place])
    codes, known = _codes(trained, of_groups, rows), ~np.isnan(scores)
    groups = {
        int(code): calibrated(scores[known & (codes == code)], coverage)
        for code in np.unique(codes)
    }
    return Calibrated(coverage, of_groups, groups)


def _groups(trained: "TrainedCells", by: str, target: CellColumn) -> CellColumn:
    columns = trained.row[: len(trained.cells)]
    levels = {c.name: c for c in columns if not c.has_numbers and c.name != target.name}
    if by not in levels:
        raise DataError(
            f"--by: expected a column of levels: one of {listed([*levels]) or 'none here'}. "
            f"Received: {shown(by)}{nearest(by, [*levels])}"
        )
    return levels[by]


def _codes(trained: "TrainedCells", by: CellColumn | None, rows: np.ndarray) -> np.ndarray:
    if by is None:
        return np.zeros(len(rows), int)
    return np.nan_to_num(rows[:, trained.columns.index(by.name)], nan=-2.0).astype(int)


def own_scores(column: CellColumn, found: Conditional, values: np.ndarray) -> np.ndarray:
    """Scores ``(n,)`` of the rows' own values, NaN if missing: of a number how central an interval
    is that contains it, of a level 1 less its probability, both given not missing.
    """
    if column.has_numbers:
        return central_scores(found.below, found.at)
    shares = np.append(_shares(found), np.zeros((len(values), 1)), axis=1)  # of a new one 0
    own = shares[np.arange(len(values)), np.nan_to_num(values, nan=-1.0).astype(int)]
    return np.where(np.isnan(values), np.nan, 1 - own)


def level_sets(found: Conditional, thresholds: np.ndarray) -> np.ndarray:
    """The levels ``(n, L)`` of scores up to thresholds ``(n,)``, the likeliest always."""
    shares = _shares(found)
    return (1 - shares <= thresholds[:, None]) | (shares == shares.max(axis=1, keepdims=True))


def _shares(found: Conditional) -> np.ndarray:
    return found.levels / np.maximum(1 - found.missing, np.finfo(float).tiny)[:, None]


def central(thresholds: np.ndarray) -> np.ndarray:
    """Probabilities ``(n, 2)`` of the ends of central intervals of scores up to thresholds.

    A value of the threshold's score, just above its interval, is in it.
    """
    share = np.minimum(thresholds + ROUNDING, 1.0)[:, None]
    return np.concatenate([(1 - share) / 2, (1 + share) / 2], axis=1)

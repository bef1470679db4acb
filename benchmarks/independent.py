"""Independent columns: the product of their marginals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nflow_cli.densities.cells.marginal import Marginal, Support, fit_marginal
from nflow_cli.densities.cells.regressions import each_column


@dataclass(frozen=True, eq=False)
class Independent:
    """The density of rows whose columns are independent.

    Attributes:
        columns: What the cells of each column can be.
        marginals: Of each column.
    """

    columns: Sequence[Support]
    marginals: Sequence[Marginal]

    def log_cells(self, codes: np.ndarray, centre: np.ndarray, half: np.ndarray) -> np.ndarray:
        """Return the log-probability of each cell in nats, ``(n, D)``; 0 where it is unknown.

        Args:
            codes: Outcome codes ``(n, D)``, -1 where unknown.
            centre: The middles of the intervals of the N columns that have numbers, ``(n, N)``.
            half: Their half widths.
        """
        cells = each_column(self.columns, codes, centre, half)
        log_ps = [marginal.log_prob(*column) for marginal, column in zip(self.marginals, cells)]
        return np.stack(log_ps, axis=1)


def fit_independent(
    columns: Sequence[Support],
    codes: np.ndarray,
    centre: np.ndarray,
    half: np.ndarray,
    weights: np.ndarray | None = None,
) -> Independent:
    """Return the density of independent columns, each fitted to training rows.

    Args:
        columns: What the cells of each column can be.
        codes: Outcome codes ``(n, D)``, -1 where unknown.
        centre: The middles of the intervals of the N columns that have numbers, ``(n, N)``.
        half: Their half widths.
        weights: Of the rows ``(n,)``; equal ones for ``None``.
    """
    cells = each_column(columns, codes, centre, half)
    marginals = [fit_marginal(outcomes, *c, weights) for outcomes, c in zip(columns, cells)]
    return Independent(columns, marginals)

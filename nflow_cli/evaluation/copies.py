"""Copies of training rows among draws, beside those among held-out rows."""

import math

import numpy as np

from nflow_cli.config.strict import Strict


class Copies(Strict):
    """Shares of rows that equal a training row in every cell.

    Held-out rows repeat training rows by chance where a table has few distinct rows; a density that
    has memorised does so more often.

    Attributes:
        drawn: Of draws.
        held_out: Of held-out rows.
        n_drawn: Number of draws.
        n_held_out: Number of held-out rows.
    """

    drawn: float
    held_out: float
    n_drawn: int
    n_held_out: int

    @property
    def excess(self) -> float:
        """Share of draws minus that of held-out rows."""
        return self.drawn - self.held_out

    @property
    def standard_error(self) -> float:
        """Of the excess, ``√(p (1 - p)(1/n + 1/m))``, p the share of all n + m rows."""
        n, m = self.n_drawn, self.n_held_out
        p = (n * self.drawn + m * self.held_out) / (n + m)
        return math.sqrt(p * (1 - p) * (1 / n + 1 / m))


def copies(train: np.ndarray, draws: np.ndarray, held_out: np.ndarray) -> Copies | None:
    """Compare draws and held-out rows with training rows, all ``(n, C)``; None without rows."""
    if not (len(train) and len(draws) and len(held_out)):
        return None
    every = np.nan_to_num(np.concatenate([train, draws, held_out]), nan=math.inf)
    _, which = np.unique(every, axis=0, return_inverse=True)
    which = which.ravel()
    are_copies = np.isin(which[len(train) :], which[: len(train)])
    drawn, others = are_copies[: len(draws)], are_copies[len(draws) :]
    shares = float(drawn.mean()), float(others.mean())
    return Copies(drawn=shares[0], held_out=shares[1], n_drawn=len(drawn), n_held_out=len(others))

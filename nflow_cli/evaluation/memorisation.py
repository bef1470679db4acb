"""Memorisation: log-density of training rows against held-out rows, and copies among draws."""

import math

import numpy as np

from nflow_cli.config.strict import Strict
from nflow_cli.evaluation.tallies import Moments, effective

FALSE_POSITIVES = 0.01  # false-positive rate of the attack
RESOLVED = 100  # effective test rows needed for a rate of 1 %
ROUNDING = 1e-9  # of a sum of shares


class Memorisation(Strict):
    """Membership inference by log-density; None where unknown.

    The attack takes a row for a training row if its log-density exceeds a threshold (Yeom et al.
    2018, arXiv 1709.01604). Standard errors, without memorisation, test for chance.

    Attributes:
        nats: Mean ``log q`` of training rows minus that of test rows, of those above ``-inf``.
        auc: ``P(log q(train) > log q(test)) + P(=)/2``: 1/2 without memorisation.
        auc_standard_error: ``√((n + m + 1)/(12 n m))`` for n training and m test rows; ties, which
            SciPy's rank-sum test counts, make it smaller.
        true_positive_rate: At a false-positive rate of 1 %; None below 100 test rows.
        true_positive_rate_standard_error: ``√(p (1 - p) (n + m + 1)/(n (m + 2)))``, p the rate
            without memorisation.
    """

    nats: float | None
    nats_standard_error: float | None
    auc: float | None
    auc_standard_error: float | None
    true_positive_rate: float | None
    true_positive_rate_standard_error: float | None
    n_train: int
    n_test: int


def memorisation(
    train: np.ndarray,
    test: np.ndarray,
    train_weights: np.ndarray | None = None,
    test_weights: np.ndarray | None = None,
) -> Memorisation:
    """Compare the log-densities ``(n,)`` of training rows with those ``(m,)`` of test rows.

    In nats, -inf for an impossible row. With weights, n and m are effective sample sizes
    ``(Σw)²/Σw²``, and shares are weighted.
    """
    u = np.ones(len(train)) if train_weights is None else train_weights.astype(np.float64)
    v = np.ones(len(test)) if test_weights is None else test_weights.astype(np.float64)
    facts: dict[str, float | None] = dict.fromkeys(Memorisation.model_fields)
    if u.sum() > 0 and v.sum() > 0:
        known = [Moments.of(x[x > -math.inf], w[x > -math.inf]) for x, w in ((train, u), (test, v))]
        errors = [math.nan if m.standard_error is None else m.standard_error for m in known]
        facts |= {"nats": known[0].mean - known[1].mean, "nats_standard_error": math.hypot(*errors)}
        facts |= _attack(train, test, u, v)
    finite = {key: x if x is None or math.isfinite(x) else None for key, x in facts.items()}
    return Memorisation.model_validate(finite | {"n_train": len(train), "n_test": len(test)})


def _attack(train: np.ndarray, test: np.ndarray, u: np.ndarray, v: np.ndarray) -> dict[str, float]:
    n, m = effective(u), effective(v)
    u, order = u / u.sum(), np.argsort(test, kind="stable")
    shares, ordered = np.append(0.0, np.cumsum(v[order] / v.sum())), test[order]
    below = shares[np.searchsorted(ordered, train, "left")]
    not_above = shares[np.searchsorted(ordered, train, "right")]
    found = {
        "auc": float(u @ (below + not_above) / 2),
        "auc_standard_error": math.sqrt((n + m + 1) / (12 * n * m)),
    }
    if m < RESOLVED - ROUNDING:
        return found
    above = 1 - shares[np.searchsorted(ordered, ordered, "right")]
    at = int(np.argmax(above <= FALSE_POSITIVES + ROUNDING))
    p = (above[at] * m + 1) / (m + 1)
    error = math.sqrt(p * (1 - p) * (n + m + 1) / (n * (m + 2)))
    rate = {"true_positive_rate": float(u[train > ordered[at]].sum())}
    return {**found, **rate, "true_positive_rate_standard_error": error}


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

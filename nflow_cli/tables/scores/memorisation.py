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
        facts |= _excess(train, test, u, v) | _attack(train, test, u, v)
    for name, value in facts.items():
        if value is not None and not math.isfinite(value):
            facts[name] = None
    return Memorisation.model_validate(facts | {"n_train": len(train), "n_test": len(test)})


def _excess(train: np.ndarray, test: np.ndarray, u: np.ndarray, v: np.ndarray) -> dict[str, float]:
    """Mean log q of possible training rows minus that of test rows; its error NaN if unknown."""
    of_train = Moments.of(train[train > -math.inf], u[train > -math.inf])
    of_test = Moments.of(test[test > -math.inf], v[test > -math.inf])
    error = math.nan
    if of_train.standard_error is not None and of_test.standard_error is not None:
        error = math.hypot(of_train.standard_error, of_test.standard_error)
    return {"nats": of_train.mean - of_test.mean, "nats_standard_error": error}


def _attack(train: np.ndarray, test: np.ndarray, u: np.ndarray, v: np.ndarray) -> dict[str, float]:
    """Area under the attack's ROC curve and, of enough test rows, its true-positive rate."""
    n = effective(u)
    m = effective(v)
    u = u / u.sum()
    order = np.argsort(test, kind="stable")
    ordered = test[order]
    shares = np.append(0.0, np.cumsum(v[order] / v.sum()))
    below = shares[np.searchsorted(ordered, train, "left")]
    not_above = shares[np.searchsorted(ordered, train, "right")]
    scores = {
        "auc": float(u @ (below + not_above) / 2),
        "auc_standard_error": math.sqrt((n + m + 1) / (12 * n * m)),
    }
    if m < RESOLVED - ROUNDING:
        return scores
    above = 1 - shares[np.searchsorted(ordered, ordered, "right")]
    threshold = int(np.argmax(above <= FALSE_POSITIVES + ROUNDING))
    p = (above[threshold] * m + 1) / (m + 1)
    error = math.sqrt(p * (1 - p) * (n + m + 1) / (n * (m + 2)))
    scores["true_positive_rate"] = float(u[train > ordered[threshold]].sum())
    scores["true_positive_rate_standard_error"] = error
    return scores


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
        n = self.n_drawn
        m = self.n_held_out
        p = (n * self.drawn + m * self.held_out) / (n + m)
        return math.sqrt(p * (1 - p) * (1 / n + 1 / m))


def copies(train: np.ndarray, draws: np.ndarray, held_out: np.ndarray) -> Copies | None:
    """Compare draws and held-out rows with training rows, all ``(n, C)``; None without rows."""
    if not (len(train) and len(draws) and len(held_out)):
        return None
    rows = np.nan_to_num(np.concatenate([train, draws, held_out]), nan=math.inf)
    kinds = np.unique(rows, axis=0, return_inverse=True)[1].ravel()  # equal for equal rows
    is_copy = np.isin(kinds[len(train) :], kinds[: len(train)])
    return Copies(
        drawn=float(is_copy[: len(draws)].mean()),
        held_out=float(is_copy[len(draws) :].mean()),
        n_drawn=len(draws),
        n_held_out=len(held_out),
    )

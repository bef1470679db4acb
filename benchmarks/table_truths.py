"""Tables whose density is known exactly, for ``benchmarks tables``."""

import math
from typing import ClassVar

import numpy as np

LOG_2PI = math.log(2 * math.pi)


class Table:
    """Rows whose columns are called ``x1``, ``x2`` and so on, of a density that is known.

    Attributes:
        options: What ``nflow_cli.fit`` is told of the columns.
    """

    options: ClassVar = {}

    def sample(self, rng, n):
        """Draw rows ``(n, C)``."""
        raise NotImplementedError

    def drawn_to_fit(self, rng, n):
        """Draw the rows that are fitted, weights among them if they have some."""
        return self.sample(rng, n)

    def log_prob(self, x):
        """Return the log-density ``(n,)`` in nats of what is modelled, given what is."""
        raise NotImplementedError


class Mixture(Table):
    """A mixture of Gaussians with random means and covariances in D dimensions."""

    def __init__(self, dim, count):
        rng = np.random.default_rng(1)
        self.means = rng.normal(0, 2.0, (count, dim))
        self.factors = np.tril(rng.normal(0, 0.5 / math.sqrt(dim), (count, dim, dim)))
        index = np.arange(dim)
        self.factors[:, index, index] = rng.uniform(0.3, 1.0, (count, dim))
        self.weights = rng.dirichlet(np.full(count, 5.0))

    def sample(self, rng, n):
        which = rng.choice(len(self.weights), n, p=self.weights)
        z = rng.standard_normal((n, self.means.shape[1]))
        return self.means[which] + np.einsum("nij,nj->ni", self.factors[which], z)

    def log_prob(self, x):
        parts = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors):
            z = np.linalg.solve(factor, (x - mean).T)
            log_det = np.log(np.diag(factor)).sum()
            normal = -0.5 * (z * z).sum(axis=0) - 0.5 * len(mean) * LOG_2PI
            parts.append(math.log(weight) + normal - log_det)
        return np.logaddexp.reduce(parts)


class Chain(Table):
    """Each column is logistic noise and 0.3 times the square of the last column's noise."""

    def __init__(self, dim):
        self.dim = dim

    def sample(self, rng, n):
        noise = rng.logistic(size=(n, self.dim))
        x = noise.copy()
        x[:, 1:] += 0.3 * noise[:, :-1] ** 2
        return x

    def log_prob(self, x):
        noise = x.copy()
        for i in range(1, self.dim):
            noise[:, i] -= 0.3 * noise[:, i - 1] ** 2
        return (-noise - 2 * np.logaddexp(0, -noise)).sum(axis=1)


class Turned(Chain):
    """A chain whose columns are mixed by a full matrix: none of them follows from those before."""

    def __init__(self, dim):
        super().__init__(dim)
        self.matrix = np.random.default_rng(5).normal(size=(dim, dim))

    def sample(self, rng, n):
        return super().sample(rng, n) @ self.matrix.T

    def log_prob(self, x):
        chain = np.linalg.solve(self.matrix, x.T).T
        return super().log_prob(chain) - np.linalg.slogdet(self.matrix)[1]


class StudentT(Table):
    """D independent columns of Student's t with 2 degrees of freedom."""

    def __init__(self, dim):
        self.dim = dim

    def sample(self, rng, n):
        return rng.standard_t(2, (n, self.dim))

    def log_prob(self, x):
        return (-1.5 * np.log1p(x * x / 2) - math.log(2 * math.sqrt(2))).sum(axis=1)


class Lognormal(Table):
    """One column, the exponential of a normal."""

    options: ClassVar = {"bounds": {"x1": [0.0, None]}}

    def sample(self, rng, n):
        return np.exp(rng.standard_normal((n, 1)))

    def log_prob(self, x):
        y = np.log(x[:, 0])
        return -0.5 * y * y - 0.5 * LOG_2PI - y


class Branches(Table):
    """Two columns given three: two branches, of which the second given column tells the odds."""

    options: ClassVar = {"given": ["x3", "x4", "x5"]}

    def sample(self, rng, n):
        given = np.column_stack(
            [rng.standard_normal(n), rng.uniform(-2, 2, n), rng.gamma(2.0, 1.0, n)]
        )
        sign = np.where(rng.random(n) < _sigmoid(given[:, 1]), 1.0, -1.0)
        away, along, spread = self._moments(given)
        x1 = sign * away + spread * rng.standard_normal(n)
        x2 = along + 0.5 * sign * x1 + 0.3 * rng.standard_normal(n)
        return np.column_stack([x1, x2, given])

    def log_prob(self, x):
        given = x[:, 2:]
        away, along, spread = self._moments(given)
        branches = []
        for sign in (1.0, -1.0):
            first = _normal(x[:, 0], sign * away, spread)
            second = _normal(x[:, 1], along + 0.5 * sign * x[:, 0], 0.3)
            branches.append(np.log(_sigmoid(sign * given[:, 1])) + first + second)
        return np.logaddexp(*branches)

    @staticmethod
    def _moments(given):
        return 1 + 0.5 * given[:, 2], np.sin(1.5 * given[:, 0]), 0.2 + 0.3 * _sigmoid(given[:, 0])


class Mixed(Table):
    """A category that a given number decides, a positive number and a count: x3, x1, x2 given x4.

    ``log x1`` is normal, its mean by the level and what is given, its deviation by the level, and
    ``x2`` Poisson, its rate by the level and ``x1``.
    """

    options: ClassVar = {
        "given": ["x4"],
        "categorical": ["x3"],
        "discrete": ["x2"],
        "bounds": {"x1": [0.0, None], "x2": [0.0, None]},
    }
    means = np.array([0.0, 1.0, -0.5])
    deviations = np.array([0.5, 0.3, 0.8])
    rates = np.array([2.0, 6.0, 12.0])

    def sample(self, rng, n):
        given = rng.standard_normal(n)
        sums = np.exp(self._log_shares(given)).cumsum(axis=1)
        level = np.minimum((rng.random((n, 1)) > sums).sum(axis=1), 2)
        log_x = self.means[level] + 0.3 * given
        log_x = log_x + self.deviations[level] * rng.standard_normal(n)
        count = rng.poisson(self.rates[level] * np.exp(0.2 * log_x))
        return np.column_stack([np.exp(log_x), count, level, given])

    def log_prob(self, x):
        log_x, count, level, given = np.log(x[:, 0]), x[:, 1], x[:, 2].astype(int), x[:, 3]
        share = self._log_shares(given)[np.arange(len(x)), level]
        number = _normal(log_x, self.means[level] + 0.3 * given, self.deviations[level]) - log_x
        rate = self.rates[level] * np.exp(0.2 * log_x)
        log_factorial = np.append(0.0, np.log(np.arange(1, count.max() + 1)).cumsum())
        return share + number + count * np.log(rate) - rate - log_factorial[count.astype(int)]

    @staticmethod
    def _log_shares(given):
        logits = np.stack([0.5 * given, -0.5 * given + 0.3, 0.2 * given**2 - 0.5], axis=1)
        return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


class Weighted(Mixture):
    """A mixture whose rows are drawn from ``p / w``, and count for their ``w``."""

    options: ClassVar = {"weights": "x3"}

    def __init__(self):
        super().__init__(2, 4)

    def drawn_to_fit(self, rng, n):
        x = self.sample(rng, 20 * n)  # more than enough
        weights = 0.1 + 1.9 * _sigmoid(2 * x[:, 0])
        taken = np.flatnonzero(rng.random(len(x)) < 0.1 / weights)[:n]
        return np.column_stack([x[taken], weights[taken]])


class Emptied(Mixture):
    """A mixture of which each cell is a gap with a probability of 0.3."""

    share = 0.3

    def sample(self, rng, n):
        x = super().sample(rng, n)
        return np.where(rng.random(x.shape) < self.share, np.nan, x)

    def log_prob(self, x):
        log_q = np.empty(len(x))
        for gaps in np.unique(np.isnan(x), axis=0):
            rows = (np.isnan(x) == gaps).all(axis=1)
            known = Marginal(self, ~gaps).log_prob(x[rows][:, ~gaps]) if not gaps.all() else 0.0
            count = gaps.sum()
            log_gaps = count * np.log(self.share) + (len(gaps) - count) * np.log1p(-self.share)
            log_q[rows] = known + log_gaps
        return log_q


class Marginal(Mixture):
    """Some columns of a mixture."""

    def __init__(self, mixture, columns):
        covariances = mixture.factors @ np.swapaxes(mixture.factors, 1, 2)
        self.weights, self.means = mixture.weights, mixture.means[:, columns]
        self.factors = np.linalg.cholesky(covariances[:, columns][:, :, columns])


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _normal(x, mean, deviation):
    return -0.5 * ((x - mean) / deviation) ** 2 - np.log(deviation) - 0.5 * LOG_2PI


TABLES = {
    "mixture-1": lambda: Mixture(1, 3),
    "mixture-2": lambda: Mixture(2, 4),
    "mixture-3": lambda: Mixture(3, 4),
    "mixture-5": lambda: Mixture(5, 6),
    "mixture-10": lambda: Mixture(10, 5),
    "mixture-30": lambda: Mixture(30, 5),
    "chain-10": lambda: Chain(10),
    "turned-10": lambda: Turned(10),
    "emptied-3": lambda: Emptied(3, 4),
    "student-t": lambda: StudentT(3),
    "lognormal": Lognormal,
    "branches": Branches,
    "mixed": Mixed,
    "weighted": Weighted,
}

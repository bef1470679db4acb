"""How far a fit to a table is from the truth, on tables whose density is known exactly.

    python -m benchmarks.tables --table chain-10 --rows 50000 --seeds 3 --set train.steps=6000

Prints a JSON line for each table and seed: the mean of log p - log q in nats over fresh rows, with
its standard error, the same of the most likely Gaussian of the training rows, and seconds.
"""

import argparse
import json
import math
import tempfile
import time
from typing import ClassVar

import numpy as np

FRESH = 100_000  # rows that gaps are means over


class Mixture:
    """A mixture of Gaussians with random means and covariances in D dimensions."""

    def __init__(self, dim, count, seed=1, spread=2.0):
        rng = np.random.default_rng(seed)
        self.means = rng.normal(0, spread, (count, dim))
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
            normal = -0.5 * (z * z).sum(axis=0) - 0.5 * len(mean) * math.log(2 * math.pi)
            parts.append(math.log(weight) + normal - log_det)
        return np.logaddexp.reduce(parts)


class Chain:
    """Each column is logistic noise of its own and 0.3 times the square of the last column's noise."""

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


class StudentT:
    """D independent columns of Student's t with 2 degrees of freedom."""

    def __init__(self, dim):
        self.dim = dim

    def sample(self, rng, n):
        return rng.standard_t(2, (n, self.dim))

    def log_prob(self, x):
        return (-1.5 * np.log1p(x * x / 2) - math.log(2 * math.sqrt(2))).sum(axis=1)


class Lognormal:
    """One column, the exponential of a normal."""

    dim = 1
    bounds: ClassVar = {"x1": [0.0, None]}

    def sample(self, rng, n):
        return np.exp(rng.standard_normal((n, 1)))

    def log_prob(self, x):
        y = np.log(x[:, 0])
        return -0.5 * y * y - 0.5 * math.log(2 * math.pi) - y


TABLES = {
    "mixture-1": lambda: Mixture(1, 3),
    "mixture-2": lambda: Mixture(2, 4),
    "mixture-3": lambda: Mixture(3, 4),
    "mixture-5": lambda: Mixture(5, 6),
    "mixture-10": lambda: Mixture(10, 5),
    "mixture-30": lambda: Mixture(30, 5),
    "chain-10": lambda: Chain(10),
    "student-t": lambda: StudentT(3),
    "lognormal": Lognormal,
}


def measure(name, rows, seed, preset, settings):
    """Fit one table; return its gap to the truth and seconds."""
    import nflow_cli
    from nflow_cli.data.points import gaussian_log_prob

    truth = TABLES[name]()
    rng = np.random.default_rng([seed, rows])
    x = truth.sample(rng, rows)
    columns = {f"x{i + 1}": x[:, i] for i in range(x.shape[1])}
    fresh = truth.sample(np.random.default_rng([seed, 1]), FRESH)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        settings = {"data.bounds": getattr(truth, "bounds", None), **settings}
        density = nflow_cli.fit(
            columns, seed=seed, preset=preset, settings=settings, output=f"{folder}/run"
        )
        seconds = time.perf_counter() - begin
        import pathlib

        summary = json.loads(pathlib.Path(folder, "run", "summary.json").read_text())
    log_p = truth.log_prob(fresh)
    gap = log_p - density.log_prob(fresh)
    gaussian = log_p - gaussian_log_prob(x, fresh, density.units)
    return {
        "table": name,
        "rows": rows,
        "seed": seed,
        **settings,
        "gap": gap.mean(),
        "gap_standard_error": gap.std() / math.sqrt(FRESH),
        "gaussian_gap": gaussian.mean(),
        "best_update": summary["best_update"],
        "seconds": seconds,
        "train_seconds": summary["train_seconds"],
    }


def main():
    """Measure the tables and seeds that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--rows", nargs="+", type=int, default=[50_000])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--preset", default="table")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    settings = dict(text.split("=", 1) for text in arguments.set)
    settings = {key: json.loads(value) for key, value in settings.items()}
    for name in arguments.table:
        for rows in arguments.rows:
            for seed in range(arguments.seeds):
                measured = measure(name, rows, seed, arguments.preset, settings)
                print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    main()

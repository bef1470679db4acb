"""How far a fit to a table is from the truth, on tables whose density is known exactly.

    python -m benchmarks.tables --table chain-10 --rows 50000 --seeds 3 --set train.steps=6000
    python -m benchmarks.tables --table chain-10 --peer zuko flowjax pzflow
    python -m benchmarks.tables --file TRAIN.npz --test TEST.npz --peer pzflow --epochs 5

Prints a JSON line for each table and seed: the mean of log p - log q in nats over fresh rows, with
its standard error, the same of the most likely Gaussian of the training rows, and seconds. With
``--peer`` other libraries fit the same rows, by their defaults, and are judged by the same fresh
ones; those to which a fit gives no density are counted, and left out of its mean. ``train_seconds``
are those of training with compiling, ``seconds`` those of the fit in all. Of files the line has the
log-likelihood of the test rows in nats; what 100 epochs would take is extrapolated from those run.
Peers that are not installed are left out.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from typing import ClassVar

import numpy as np

from benchmarks.table_peers import PEERS

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


def drawn(truth, rows, seed):
    """Draw the rows to fit, and fresh ones to judge by."""
    x = truth.sample(np.random.default_rng([seed, rows]), rows)
    return x, truth.sample(np.random.default_rng([seed, 1]), FRESH)


def measure(name, rows, seed, preset, settings):
    """Fit one table; return its gap to the truth and seconds."""
    import nflow_cli
    from nflow_cli.data.points import gaussian_log_prob

    truth = TABLES[name]()
    x, fresh = drawn(truth, rows, seed)
    columns = {f"x{i + 1}": x[:, i] for i in range(x.shape[1])}
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


def mean(label, values):
    """Return the mean of those values that are finite, its standard error, and how many are not."""
    finite = values[np.isfinite(values)]
    return {
        label: finite.mean(),
        f"{label}_standard_error": finite.std() / math.sqrt(len(finite)),
        "rows_without_density": len(values) - len(finite),
    }


def timed_fit(peer, x, seed, length):
    """Fit rows by a peer; return its log-density, and its seconds with those of importing it."""
    begin = time.perf_counter()
    log_prob, seconds = PEERS[peer](x, seed, length)
    return log_prob, {"seconds": time.perf_counter() - begin, **seconds}


def measure_peer(peer, name, rows, seed, length):
    """Fit one table by a peer; return its gap to the truth and seconds."""
    truth = TABLES[name]()
    x, fresh = drawn(truth, rows, seed)
    log_prob, seconds = timed_fit(peer, x, seed, length)
    gap = mean("gap", truth.log_prob(fresh) - log_prob(fresh))
    return {"peer": peer, "table": name, "rows": rows, "seed": seed, **gap, **seconds}


def read_rows(path, names):
    """Read rows ``(n, D)``: the array of an ``.npz`` that has two axes, or its columns by name."""
    arrays = np.load(path)
    tables = [array for array in arrays.values() if array.ndim == 2]
    return tables[0] if tables else np.column_stack([arrays[name] for name in names])


def measure_file(peer, path, test, seed, length):
    """Fit the rows of a file by a peer; return the log-likelihood of the test rows and seconds."""
    names = np.load(path).files
    x, held_out = read_rows(path, names), read_rows(test, names)
    log_prob, seconds = timed_fit(peer, x, seed, length)
    likelihood = mean("log_likelihood", log_prob(held_out))
    rows = {"rows": len(x), "test_rows": len(held_out)}
    return {"peer": peer, "table": path, **rows, "seed": seed, **likelihood, **seconds}


def updates(preset, settings):
    """Return how many updates nflow makes, at most."""
    from nflow_cli.config import presets

    default = presets.read_preset(presets.find_preset(preset))["train"]["steps"]
    return settings.get("train.steps", default)


def measurements(peer, arguments, settings):
    """Yield what is asked for of nflow, or of a peer: one table and seed after the other."""
    tables = [(name, rows) for name in arguments.table for rows in arguments.rows]
    seeds = range(arguments.seeds)
    if peer is None:
        for name, rows in tables:
            yield from (measure(name, rows, seed, arguments.preset, settings) for seed in seeds)
        return
    # zuko has no loop of its own, and so no default length
    length = updates(arguments.preset, settings) if peer == "zuko" else arguments.epochs
    if arguments.file:
        files = (arguments.file, arguments.test)
        yield from (measure_file(peer, *files, seed, length) for seed in seeds)
        return
    for name, rows in tables:
        yield from (measure_peer(peer, name, rows, seed, length) for seed in seeds)


def parsed():
    """Return the arguments, checked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--rows", nargs="+", type=int, default=[50_000])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--preset", default="table")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--peer", nargs="+", choices=PEERS, default=[], help="Instead of nflow.")
    parser.add_argument("--epochs", type=int, default=100, help="Of flowjax and pzflow, at most.")
    parser.add_argument("--file", metavar="TRAIN.npz", help="Rows to fit, instead of --table.")
    parser.add_argument("--test", metavar="TEST.npz", help="Rows to judge a --file by.")
    arguments = parser.parse_args()
    if bool(arguments.file) != bool(arguments.test) or (arguments.file and not arguments.peer):
        parser.error("--file, --test and --peer: expected all three, or no file")
    if arguments.epochs < 3:
        parser.error(f"--epochs: expected 3 or more, as two compile; received {arguments.epochs}")
    return arguments


def main():
    """Measure the tables and seeds that are asked for."""
    arguments = parsed()
    settings = dict(text.split("=", 1) for text in arguments.set)
    settings = {key: json.loads(value) for key, value in settings.items()}
    missing = []
    for peer in arguments.peer or [None]:
        try:
            for measured in measurements(peer, arguments, settings):
                print(json.dumps(measured), flush=True)
        except ModuleNotFoundError as error:
            if peer is None:
                raise
            missing.append(f"{peer} ({error})")
    if missing:
        print(f"left out: {', '.join(missing)}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Posteriors of two published simulators against reference draws.

Fits p(θ | x) to 100,000 simulations, ``nflow_cli.fit(..., given=x)``, and draws 10,000 θ at each of
the observations of the benchmark of Lueckmann et al. (2021, arXiv 2101.04653), of which there are
10,000 reference draws each. Of each observation, and as the mean of a fit: the accuracy of a
classifier that tells the two sets of draws apart (C2ST, 0.5 where it cannot), and the cross-entropy
``-E[log q(θ | x)]`` in nats of the reference draws, whose least value is the posterior's entropy.

``--data`` names a folder with ``sbi.npz``, of arrays ``two_moons_observations (10, 2)``,
``two_moons_reference (10, 10000, 2)``, ``slcp_observations (10, 8)``, ``slcp_reference (10, 10000,
5)``, as the package sbibm has them.
"""

import json
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.runner import Benchmark, Options, Row, markdown, named, pm, settings_of

SIMULATIONS = 100_000
FOLDS, SPLIT_SEED, ITERATIONS = 5, 1, 10_000  # of the classifier


class TwoMoons:
    """A crescent whose place two parameters tell, but for their signs."""

    dim, bound = 2, 1.0

    def simulate(self, theta, rng):
        """Return ``x (n, 2)``: a point of the crescent, moved by ``theta (n, 2)``."""
        angle = rng.uniform(-math.pi / 2, math.pi / 2, len(theta))
        radius = rng.normal(0.1, 0.01, len(theta))
        across, along = theta.sum(axis=1), theta[:, 1] - theta[:, 0]
        return np.column_stack(
            [
                radius * np.cos(angle) + 0.25 - np.abs(across) / math.sqrt(2),
                radius * np.sin(angle) + along / math.sqrt(2),
            ]
        )


class SLCP:
    """Simple likelihood, complex posterior: four points of a Gaussian in the plane."""

    dim, bound = 5, 3.0

    def simulate(self, theta, rng):
        """Return ``x (n, 8)``, the points in a row; ``theta`` tells mean, scales, correlation."""
        scale, correlation = theta[:, 2:4] ** 2, np.tanh(theta[:, 4])
        variance = scale**2 + 1e-6
        shared = correlation * scale.prod(axis=1)
        first = np.sqrt(variance[:, 0])
        slope = shared / first
        rest = np.sqrt(variance[:, 1] - slope**2)
        z = rng.standard_normal((len(theta), 4, 2))
        y0 = theta[:, :1] + first[:, None] * z[..., 0]
        y1 = theta[:, 1:2] + slope[:, None] * z[..., 0] + rest[:, None] * z[..., 1]
        return np.stack([y0, y1], axis=-1).reshape(len(theta), 8)


SIMULATORS = {"two-moons": TwoMoons(), "slcp": SLCP()}


def simulations(simulator, n, seed):
    """Draw parameters from the uniform prior and simulate: ``(n, D)`` and ``(n, C)``."""
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-simulator.bound, simulator.bound, (n, simulator.dim))
    return theta, simulator.simulate(theta, rng)


def c2st(draws, reference):
    """Return how many of two sets ``(n, D)`` a classifier tells apart, in held-out folds."""
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    mean, scale = reference.mean(axis=0), reference.std(axis=0)
    both = (np.concatenate([reference, draws]) - mean) / scale
    labels = np.repeat([0, 1], [len(reference), len(draws)])
    width = 10 * reference.shape[1]
    network = MLPClassifier((width, width), max_iter=ITERATIONS, random_state=SPLIT_SEED)
    folds = KFold(FOLDS, shuffle=True, random_state=SPLIT_SEED)
    return float(cross_val_score(network, both, labels, cv=folds).mean())


def measure(case: Row, options: Options) -> list[Row]:
    """Return what is measured of a fit: each observation, then their mean."""
    import nflow_cli

    simulator, arrays = SIMULATORS[case["simulator"]], np.load(options.file("sbi.npz"))
    key, seed = case["simulator"].replace("-", "_"), case["seed"]
    observations, references = (arrays[f"{key}_{part}"] for part in ("observations", "reference"))
    theta, x = simulations(simulator, case["simulations"], seed)
    columns, given = named("theta", theta), named("x", x)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        q = nflow_cli.fit(
            {**columns, **given},
            given=list(given),
            bounds=dict.fromkeys(columns, (-simulator.bound, simulator.bound)),
            preset=case["preset"],
            seed=seed,
            settings=settings_of(case),
            output=f"{folder}/run",
        )
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
    seconds = time.perf_counter() - start
    lines = []
    for number, (at, reference) in enumerate(zip(observations, references.astype(float))):
        rows = np.column_stack([np.tile(at, (len(reference), 1)), reference])
        draws = q.sample(len(reference), seed=seed, given=named("x", at))
        lines.append(
            {
                "observation": number,
                "cross_entropy": -q.log_prob(rows).mean(),
                "c2st": c2st(draws[:, -reference.shape[1] :], reference),
            }
        )
    means = {}
    for score in ("cross_entropy", "c2st"):
        values = [line[score] for line in lines]
        error = np.std(values, ddof=1) / math.sqrt(len(values))
        means |= {score: np.mean(values), f"{score}_standard_error": error}
    told = ("log_likelihood", "best_update", "steps", "train_seconds")
    return [*lines, means | {key: summary[key] for key in told} | {"seconds": seconds}]


def table(rows: list[Row]) -> str:
    lines = [
        [
            row["simulator"],
            row["train.weight_decay"],
            f"{row['train.steps']:,}",
            pm(row["c2st"], row["c2st_standard_error"], 3),
            pm(row["cross_entropy"], None, 3),
        ]
        for row in rows
        if "observation" not in row
    ]
    nats = "−log q of reference draws, nats"
    return markdown(["simulator", "weight decay", "updates", "C2ST", nats], lines)


BENCHMARKS = [
    Benchmark(
        "sbi",
        [
            {"simulator": name, "simulations": SIMULATIONS, "preset": "flows", "seed": 0}
            | {"train.weight_decay": decay, "train.steps": steps}
            for name in SIMULATORS
            for decay, steps in [(0.5, 8_000), (1.0, 4_000)]
        ],
        measure,
        table,
    )
]

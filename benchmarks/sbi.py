"""Simulation-based inference: posteriors of two published simulators against reference draws.

    python -m benchmarks.sbi --data OBSERVATIONS.npz --simulator two-moons slcp
    python -m benchmarks.sbi --data OBSERVATIONS.npz --simulator slcp --observation 0 5 --unbounded

Fits p(θ | x) to 100,000 simulations, ``nflow_cli.fit(..., given=x)``, and draws 10,000 θ at each of
the observations of the benchmark of Lueckmann et al. (2021, arXiv 2101.04653), of which there are
10,000 reference draws each. Prints a JSON line for each observation, and one for each fit: the
accuracy of a classifier that tells the two sets of draws apart (C2ST, 0.5 where it cannot), its
mean over the observations with the standard error, and the cross-entropy
``-E[log q(θ | x)]`` in nats of the reference draws, whose least value is the posterior's entropy.

The file, or the variable ``NFLOW_SBI`` that names it, is an ``.npz`` of arrays
``two_moons_observations (10, 2)``, ``two_moons_reference (10, 10000, 2)``, ``slcp_observations
(10, 8)``, ``slcp_reference (10, 10000, 5)``, as the package sbibm has them. Without it, or without
scikit-learn, nothing is measured.
"""

import argparse
import importlib.util
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

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


def named(prefix, values):
    """Return columns by name, from 1 on."""
    return {f"{prefix}{i + 1}": values[..., i] for i in range(values.shape[-1])}


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


def fit(simulator, arguments, settings, folder):
    """Fit p(θ | x); return the density and what its run says."""
    import nflow_cli

    theta, x = simulations(simulator, arguments.simulations, arguments.seed)
    columns, given = named("theta", theta), named("x", x)
    ends = (-simulator.bound, simulator.bound)
    density = nflow_cli.fit(
        {**columns, **given},
        given=list(given),
        bounds=None if arguments.unbounded else dict.fromkeys(columns, ends),
        preset=arguments.preset,
        seed=arguments.seed,
        settings=settings,
        output=folder,
    )
    return density, json.loads(Path(folder, "summary.json").read_text())


def judged(density, observation, reference, seed, with_c2st):
    """Return how near draws at an observation are to the reference's."""
    given = named("x", observation)
    rows = np.column_stack([np.tile(observation, (len(reference), 1)), reference])
    judged = {"cross_entropy": -density.log_prob(rows).mean()}
    if with_c2st:
        draws = density.sample(len(reference), seed=seed, given=given)
        judged["c2st"] = c2st(draws[:, -reference.shape[1] :], reference)
    return judged


def mean_and_error(label, values):
    """Return the mean of values and its standard error."""
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else None
    return {label: np.mean(values), f"{label}_standard_error": error}


def measurements(name, arguments, settings):
    """Yield what is measured of a fit: each observation, then their mean."""
    simulator, arrays = SIMULATORS[name], np.load(arguments.data)
    key = name.replace("-", "_")
    observations, references = (arrays[f"{key}_{part}"] for part in ("observations", "reference"))
    fitted = {
        "simulator": name,
        "simulations": arguments.simulations,
        "preset": arguments.preset,
        "bounded": not arguments.unbounded,
        "seed": arguments.seed,
        **settings,
    }
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        density, summary = fit(simulator, arguments, settings, f"{folder}/run")
        seconds = time.perf_counter() - begin
    lines = []
    for number, (x, reference) in enumerate(zip(observations, references)):
        with_c2st = number in arguments.observation
        lines.append(judged(density, x, reference.astype(float), arguments.seed, with_c2st))
        if with_c2st:
            yield {**fitted, "observation": number, **lines[-1]}
    figures = mean_and_error("cross_entropy", [line["cross_entropy"] for line in lines])
    if arguments.observation:
        accuracies = [line["c2st"] for line in lines if "c2st" in line]
        figures |= {"observations": len(accuracies), **mean_and_error("c2st", accuracies)}
    told = ("log_likelihood", "best_update", "steps", "train_seconds", "n_parameters")
    record = {key: summary[key] for key in told}
    yield {**fitted, **figures, **record, "seconds": seconds}


def parsed():
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("NFLOW_SBI"), help="Or NFLOW_SBI.")
    parser.add_argument("--simulator", nargs="+", choices=SIMULATORS, default=list(SIMULATORS))
    parser.add_argument("--observation", nargs="*", type=int, default=list(range(10)))
    parser.add_argument("--simulations", type=int, default=100_000)
    parser.add_argument("--unbounded", action="store_true", help="Without bounds of θ.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", help="Without, cells.")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def main():
    """Measure the simulators that are asked for, if what judges them is there."""
    arguments = parsed()
    if arguments.data is None:
        print("left out: no observations; --data or NFLOW_SBI names them", file=sys.stderr)
        return
    if importlib.util.find_spec("sklearn") is None:
        print("left out: scikit-learn is not installed", file=sys.stderr)
        return
    settings = dict(text.split("=", 1) for text in arguments.set)
    settings = {key: json.loads(value) for key, value in settings.items()}
    for name in arguments.simulator:
        for measured in measurements(name, arguments, settings):
            print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    main()

"""Fits to log-densities whose truth is known: log Z, k-hat, lost modes, moments and seconds.

    python -m benchmarks.infer --density eight-schools banana --seeds 10
    python -m benchmarks.infer --density many-well --seeds 4 --set train.restarts=4
    python -m benchmarks.infer --density funnel eight-schools --peer numpyro-iaf flowjax
    python -m benchmarks.infer --summary
    python -m benchmarks.infer --speed

Each fit is a line of JSON, printed and added to ``--rows``; what stands there already is not fitted
again. Without ``--preset`` a density is fitted by the one for its D. A mode counts as kept where q
holds a tenth of its mass or more. ``--summary`` prints, of the rows, how often log Z was what its
verdict promises: with k-hat below 0.5 within three of its standard errors of the truth, from there
to 0.7 within 0.1 nats; and how often draws of q alone gave less where a mode was lost. Seconds are
wall seconds of training with compiling, and ``cpu_seconds`` those of the processor. A peer makes as
many updates, of as many samples, as the preset, and is judged by fresh draws: E[log q - log p].
"""

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from benchmarks.infer_peers import PEERS
from benchmarks.posteriors import OBSERVED

ROWS = Path(__file__).with_name("results") / "infer.jsonl"
DRAWS, SHARE = 100_000, 0.1  # by which modes are counted, and what a kept one holds of its mass
SIGMAS, NATS = 3.0, 0.1  # within which log Z is to be
FAR = 1_000.0  # where the Gaussian of arrays is, of standard deviation 3


def ring(x):
    """Return log p of zuko's tutorial, up to a constant."""
    from keras import ops

    return ops.sin(math.pi * x[:, 0]) - 2 * ops.square(ops.sum(x * x, axis=-1) - 2)


def far_gaussian(x):
    """Return log p, up to a constant, and its gradient, as arrays."""
    off = (x - FAR) / 3
    return -0.5 * (off**2).sum(axis=1), -off / 3


def two_normals(weight, mean, correlation):
    """Return log p of ``w N(m, C) + (1 - w) N(-m, C)``, ``C`` of equal correlations."""
    from keras import ops

    dim = len(mean)
    covariance = np.full((dim, dim), correlation) + (1 - correlation) * np.eye(dim)
    root = np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32)
    level = -0.5 * np.linalg.slogdet(2 * math.pi * covariance)[1]

    def log_p(x):
        parts = [
            math.log(share) + level - 0.5 * ops.sum(ops.square((x - center) @ root), axis=-1)
            for share, center in [(weight, mean), (1 - weight, -mean)]
        ]
        return ops.logaddexp(*parts)

    return log_p


def brownian(x):
    """Return log p of two log-scales and 30 locations, as of :mod:`benchmarks.posteriors`."""
    from keras import ops

    def normal(values, scale, log_scale):
        level = -log_scale - 0.5 * math.log(2 * math.pi)
        return ops.sum(level - 0.5 * ops.square(values / scale), axis=1)

    log_step, log_noise, at = x[:, :1], x[:, 1:2], x[:, 2:]
    steps = ops.concatenate([at[:, :1], at[:, 1:] - at[:, :-1]], axis=1)
    off = ops.concatenate([at[:, :10], at[:, 20:]], axis=1)
    off = off - ops.convert_to_tensor(OBSERVED, x.dtype)
    prior = normal(x[:, :2], 2.0, math.log(2.0))
    return (
        prior
        + normal(steps, ops.exp(log_step), log_step)
        + normal(off, ops.exp(log_noise), log_noise)
    )


# D, and of functions log Z, the first two by quadrature.
DENSITIES = {
    "banana": (2, None),
    "eight-schools": (10, None),
    "funnel": (10, None),
    "gmm40": (2, None),
    "many-well": (6, None),
    "ring": (2, 1.6119974),
    "brownian": (32, 1.187749),
    "far-gaussian": (10, 5 * math.log(2 * math.pi * 9)),
    "unequal-modes": (2, 0.0),
    "correlated-modes": (2, 0.0),
    "modes-of-ten": (10, 0.0),
}
TWO = {  # weight of one mode, its mean, and the correlation
    "unequal-modes": (0.7, np.full(2, 6.0, np.float32), 0.0),
    "correlated-modes": (0.5, np.array([3.0, -3.0], np.float32), 0.95),
    "modes-of-ten": (0.5, np.full(10, 4.0, np.float32), 0.0),
}
FUNCTIONS = {
    "ring": ring,
    "brownian": brownian,
    "far-gaussian": far_gaussian,
    **{name: two_normals(*parts) for name, parts in TWO.items()},
}


def modes(name, x):
    """Return how many modes points ``(n, D)`` hold, and of how many; of one mode ``None``."""
    from nflow_cli.densities.examples import Gmm40

    if name == "many-well":
        left = 0.156  # of the mass of a pair
        wells = x[:, 0::2] > 0
        which = wells @ (1 << np.arange(wells.shape[1]))
        right = np.array([m.bit_count() for m in range(2 ** wells.shape[1])])
        masses = (1 - left) ** right * left ** (wells.shape[1] - right)
    elif name == "gmm40":
        which = ((x[:, None, :] - Gmm40.means) ** 2).sum(axis=-1).argmin(axis=1)
        masses = np.full(len(Gmm40.means), 1 / len(Gmm40.means))
    elif name in TWO:
        weight, mean, _ = TWO[name]
        which, masses = (x @ mean < 0).astype(int), np.array([weight, 1 - weight])
    else:
        return None
    shares = np.bincount(which, minlength=len(masses)) / len(x)
    return int((shares >= SHARE * masses).sum()), len(masses)


def measure(name, seed, preset, settings):
    """Fit one density; return its scores beside the truth, and seconds."""
    import nflow_cli
    from nflow_cli.evaluation.warnings import jump

    dim, log_z = DENSITIES[name]
    with tempfile.TemporaryDirectory() as folder:
        begin, cpu = time.perf_counter(), time.process_time()
        density = nflow_cli.infer(
            FUNCTIONS.get(name, name),
            dim=dim,
            seed=seed,
            preset=preset,
            settings=settings,
            output=f"{folder}/run",
        )
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
    log_z = summary["log_z"] if log_z is None else log_z
    kept = ("ess", "pareto_k", "log_z_standard_error", "q_pareto_k")
    return {
        "kl": summary["free_energy"] + log_z,
        "kl_standard_error": summary["free_energy_standard_error"],
        **{key: summary[key] for key in kept},
        "log_z_error": summary["estimated_log_z"] - log_z,
        "q_log_z_error": summary["q_log_z"] - log_z,
        "jump": jump(summary["log_z_difference"], summary["log_z_difference_standard_error"]),
        "modes": modes(name, density.sample(DRAWS)),
        "moments": list(summary["moments"].values())[:2],
        "restarts": summary["restarts"]["count"],
        "seconds": seconds,
        "cpu_seconds": cpu,
        "train_seconds": summary["train_seconds"],
        "updates_per_second": summary["steps_per_second"],
    }


def length_of(name, preset, settings):
    """Return how many updates of how many samples nflow makes."""
    from nflow_cli.config import presets
    from nflow_cli.config.infer import InferTrain, natural_preset

    path = presets.find_preset(preset or natural_preset(DENSITIES[name][0]))
    train = InferTrain(**presets.read_preset(path)["train"])
    batch = settings.get("train.batch_size", train.batch_size)
    return settings.get("train.steps", train.steps), batch


def measure_peer(peer, name, seed, preset, settings):
    """Fit one density by a peer; return its free energy on fresh draws, and seconds."""
    begin, cpu = time.perf_counter(), time.process_time()
    dim, _ = DENSITIES[name]
    log_ratios = PEERS[peer](name, dim, seed, *length_of(name, preset, settings))
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    finite = log_ratios[np.isfinite(log_ratios)]
    return {
        "kl": float(finite.mean()),
        "kl_standard_error": float(finite.std() / math.sqrt(len(finite))),
        "not_finite": len(log_ratios) - len(finite),
        "seconds": seconds,
        "cpu_seconds": cpu,
    }


def read(path):
    """Return the rows of a file, none where there is no such file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def measurements(arguments, settings):
    """Yield the row of each fit that the rows lack."""
    for peer in arguments.peer or [None]:
        for name in arguments.density:
            for seed in range(arguments.seeds):
                what = {"peer": peer} if peer else {"preset": arguments.preset}
                what |= {"density": name, "dim": DENSITIES[name][0], "seed": seed, **settings}
                if any(what.items() <= row.items() for row in read(arguments.rows)):
                    continue
                options = (name, seed, arguments.preset, settings)
                yield what | (measure_peer(peer, *options) if peer else measure(*options))


def summarised(rows):
    """Yield a line for each density and settings: what their seeds say together."""
    groups = {}
    for row in rows:
        settings = {k: v for k, v in row.items() if "." in k or k in ("peer", "preset")}
        key = row["density"], json.dumps({k: v for k, v in settings.items() if v is not None})
        groups.setdefault(key, []).append(row)
    for (name, settings), group in groups.items():
        line = {"density": name, "settings": json.loads(settings), "seeds": len(group)}
        line["kl"] = spread_of(group, "kl")
        yield line | ({} if "peer" in group[0] else verdicts(group))


def spread_of(group, key):
    """Return the least, the median and the greatest of a score."""
    values = [row[key] for row in group]
    return [round(float(f(values)), 5) for f in (np.min, np.median, np.max)]


def verdicts(group):
    """Return how often log Z was what k-hat promises, and how often a lost mode was seen."""
    is_lost = [bool(row["modes"]) and row["modes"][0] < row["modes"][1] for row in group]
    whole = [row for row, lost in zip(group, is_lost) if not lost]
    good = [row for row in whole if row["pareto_k"] < 0.5]
    rough = [row for row in whole if 0.5 <= row["pareto_k"] < 0.7]
    near = [abs(r["log_z_error"]) <= SIGMAS * r["log_z_standard_error"] for r in good]
    lost = [row for row, is_one in zip(group, is_lost) if is_one]
    return {
        "pareto_k": spread_of(group, "pareto_k"),
        "good": f"{sum(near)} of {len(good)} within {SIGMAS:g} s.e.",
        "rough": f"{sum(abs(r['log_z_error']) <= NATS for r in rough)} of {len(rough)} near",
        "poor": sum(row["pareto_k"] >= 0.7 for row in whole),
        "lost_modes": f"{len(lost)}, {sum(r['jump'] is not None for r in lost)} of them seen",
        "false_alarms": sum(row["jump"] is not None for row in whole),
        "cpu_seconds": spread_of(group, "cpu_seconds"),
    }


def speeds(steps):
    """Yield updates a second of batches of 512: of a function of a file, and of arrays."""
    for flow in (["affine-coupling", "spline-coupling"], ["planar"]):
        settings = {"train.first_stage": 100, "train.chunk": 100, "evaluate.samples": 1_000}
        settings |= {"flow.pattern": flow}
        built_in = of_speed("banana", steps, settings)
        from_file = of_speed(banana, steps, settings)
        yield {"flow": flow, "built_in": built_in, "function": from_file}
        yield {"flow": flow, "arrays": of_speed(nothing, steps, settings)}


def banana(x):
    """Return log p of the built-in banana."""
    from keras import ops

    off = (x[:, 1] - ops.square(x[:, 0])) / 0.3
    return -0.5 * (ops.square(x[:, 0]) + ops.square(off))


def nothing(x):
    """Return a pair of arrays that costs nothing."""
    return -0.5 * np.einsum("ij,ij->i", x, x), -x


def of_speed(density, steps, settings):
    """Return the updates a second of one training of planes."""
    import nflow_cli

    with tempfile.TemporaryDirectory() as folder:
        options = {"dim": 2, "steps": steps, "settings": settings}
        nflow_cli.infer(density, output=f"{folder}/run", **options)
        return json.loads(Path(folder, "run", "summary.json").read_text())["steps_per_second"]


def parsed():
    """Return the arguments, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--density", nargs="+", choices=DENSITIES, default=list(DENSITIES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--preset", help="Without, the natural one.")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--peer", nargs="+", choices=PEERS, default=[], help="Instead of nflow.")
    parser.add_argument("--rows", type=Path, default=ROWS, help="Of JSON, kept and added to.")
    parser.add_argument("--summary", action="store_true", help="Of the rows; fits nothing.")
    parser.add_argument("--speed", action="store_true", help="Updates a second; keeps no rows.")
    parser.add_argument("--steps", type=int, default=2_000, help="Of --speed.")
    arguments = parser.parse_args()
    if arguments.peer and set(arguments.density) - {"funnel", "eight-schools", "banana"}:
        parser.error("--peer: expected --density funnel, eight-schools or banana")
    return arguments


def main():
    """Measure the densities and seeds that are asked for."""
    arguments = parsed()
    if arguments.summary or arguments.speed:
        lines = summarised(read(arguments.rows)) if arguments.summary else speeds(arguments.steps)
        for line in lines:
            print(json.dumps(line), flush=True)
        return
    settings = dict(text.split("=", 1) for text in arguments.set)
    settings = {key: yaml.safe_load(value) for key, value in settings.items()}
    try:
        for measured in measurements(arguments, settings):
            print(json.dumps(measured), flush=True)
            with arguments.rows.open("a") as file:
                file.write(json.dumps(measured) + "\n")
    except ModuleNotFoundError as error:
        if not arguments.peer:
            raise
        print(f"left out: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()

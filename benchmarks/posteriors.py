"""Fits to log-densities whose truth is known, and log Z from draws of posteriors.

A mode counts as kept where q holds a tenth of its mass or more. Seconds are wall seconds of
training with compiling. A peer makes as many updates, of as many samples, as the preset, and is
judged by fresh draws: E[log q - log p].
"""

import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.posterior_truths import OBSERVED, POSTERIORS, chains_of
from benchmarks.runner import (
    NFLOW,
    Benchmark,
    Options,
    Row,
    groups,
    launched,
    markdown,
    pm,
    settings_of,
)

DRAWS, SHARE = 100_000, 0.1  # by which modes are counted, and what a kept one holds of its mass
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
    dim = len(mean)
    covariance = np.full((dim, dim), correlation) + (1 - correlation) * np.eye(dim)
    root = np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32)
    level = -0.5 * np.linalg.slogdet(2 * math.pi * covariance)[1]

    def log_p(x):
        from keras import ops

        parts = [
            math.log(share) + level - 0.5 * ops.sum(ops.square((x - center) @ root), axis=-1)
            for share, center in [(weight, mean), (1 - weight, -mean)]
        ]
        return ops.logaddexp(*parts)

    return log_p


def brownian(x):
    """Return log p of two log-scales and 30 locations, as of :mod:`benchmarks.posterior_truths`."""
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
    from nflow_cli.inference.examples import Gmm40

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


def fit(case: Row, options: Options) -> Row:
    """Fit one density; return its scores beside the truth, and seconds."""
    if "peer" in case:
        return by_peer(case, options)
    import nflow_cli
    from nflow_cli.evaluation.warnings import jump

    name = case["density"]
    dim, log_z = DENSITIES[name]
    start, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        q = nflow_cli.infer(
            FUNCTIONS.get(name, name),
            dim=dim,
            seed=case["seed"],
            settings=settings_of(case),
            output=f"{folder}/run",
        )
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    log_z = summary["log_z"] if log_z is None else log_z
    kept = ("ess", "pareto_k", "log_z_standard_error", "q_pareto_k", "q_log_z_standard_error")
    return {
        "kl": summary["free_energy"] + log_z,
        "kl_standard_error": summary["free_energy_standard_error"],
        **{key: summary.get(key) for key in kept},
        "log_z_error": summary["estimated_log_z"] - log_z,
        "q_log_z_error": summary["q_log_z"] - log_z,
        "jump": jump(summary["log_z_difference"], summary["log_z_difference_standard_error"]),
        "modes": modes(name, q.sample(DRAWS)),
        "moments": list(summary["moments"].values())[:2],
        "seconds": seconds,
        "cpu_seconds": round(cpu, 1),
        "train_seconds": summary["train_seconds"],
    }


def by_peer(case: Row, options: Options) -> Row:
    """Fit one density by another library, as many updates of as many samples as nflow makes."""
    from nflow_cli.config import presets
    from nflow_cli.inference.infer_config import InferTrain, natural_preset

    name, (dim, _) = case["density"], DENSITIES[case["density"]]
    preset = presets.read_preset(presets.find_preset(natural_preset(dim)))
    train = InferTrain(**preset["train"])
    length = {"steps": train.steps, "batch": train.batch_size}
    what = {"peer": case["peer"], "name": name, "dim": dim, "seed": case["seed"]}
    return options.peer("densities:fit", **what, **length)


def name_of(row: Row) -> str:
    return ", ".join(
        [row["density"], *(f"`{k}={json.dumps(v)}`" for k, v in settings_of(row).items())]
    )


def fits_table(rows: list[Row], prefix: str = "") -> str:
    """Return a table of scores; by the draws of q alone with the prefix ``q_``."""
    lines = []
    for row in rows:
        if "peer" in row:
            continue
        found = row["modes"]
        log_z = pm(row[f"{prefix}log_z_error"], row.get(f"{prefix}log_z_standard_error"), 5)
        lines.append(
            [
                name_of(row),
                row["seed"],
                f"{found[0]} of {found[1]}" if found else "",
                pm(row["kl"], row["kl_standard_error"], 4),
                pm(row[f"{prefix}pareto_k"], None, 2),
                pm(row["ess"], None, 2),
                log_z,
                f"{row['seconds']:.0f}",
            ]
        )
    head = ["density", "seed", "modes", "KL in nats", "k-hat", "ESS", "log Z less the truth"]
    found = markdown([*head, "seconds"], lines)
    peers = [
        [
            row["density"],
            row["peer"],
            pm(row["kl"], row["kl_standard_error"], 4),
            row["cpu_seconds"],
        ]
        for row in rows
        if "peer" in row
    ]
    return found + ("\n\n" + markdown(["", "", "KL", "CPU seconds"], peers) if peers else "")


def of_seeds(name: str, seeds: int, **settings: Any) -> list[Row]:
    return [{"density": name, "seed": seed, **settings} for seed in range(seeds)]


PATH = {"train.gradient": "path"}
STUDENT = {"base.name": "student-t", "base.df": 10}
COUPLINGS = {"flow.pattern": ["affine-coupling"], "flow.k": 16}
FITS = [
    *[row for name in DENSITIES if name != "unequal-modes" for row in of_seeds(name, 2)],
    *[
        {"density": name, "seed": 0, **PATH}
        for name in ("eight-schools", "ring", "banana", "funnel")
    ],
    {"density": "brownian", "seed": 0, **PATH},
    {
        "density": "brownian",
        "seed": 0,
        **PATH,
        **STUDENT,
    },
    {"density": "brownian", "seed": 0, **PATH, **COUPLINGS},
    {"density": "brownian", "seed": 0, **PATH, **COUPLINGS, "train.steps": 16_000},
    *of_seeds("many-well", 4, **{"train.steps": 800, "train.modes": 1}),
    *[
        {"density": name, "seed": 0, "train.steps": steps, **annealing}
        for name, steps in (("funnel", 1_000), ("eight-schools", 1_200))
        for annealing in ({}, {"train.annealing.share": 0.3333})
    ],
    *[
        {"density": name, "seed": 0, "peer": peer}
        for peer in ("numpyro-iaf", "numpyro-bnaf", "flowjax")
        for name in ("funnel", "eight-schools")
    ],
]
MODES = [
    *of_seeds("unequal-modes", 8),
    *of_seeds("correlated-modes", 7),
    *of_seeds("modes-of-ten", 5),
    *of_seeds("many-well", 7),
    *of_seeds("gmm40", 1),
]


def banana(x):
    """Return log p of the built-in banana."""
    from keras import ops

    off = (x[:, 1] - ops.square(x[:, 0])) / 0.3
    return -0.5 * (ops.square(x[:, 0]) + ops.square(off))


def nothing(x):
    """Return a pair of arrays that costs nothing."""
    return -0.5 * np.einsum("ij,ij->i", x, x), -x


def of_speed(density: Any, settings: Row) -> float:
    """Return the updates a second of one training of planes."""
    import nflow_cli

    with tempfile.TemporaryDirectory() as folder:
        options = {"dim": 2, "steps": SPEED_STEPS, "settings": settings}
        nflow_cli.infer(density, output=f"{folder}/run", **options)
        return json.loads(Path(folder, "run", "summary.json").read_text())["steps_per_second"]


SPEED_STEPS = 2_000
PATTERNS = (["affine-coupling", "spline-coupling"], ["planar"])
WAYS = {"built in": "banana", "a function": banana, "arrays": nothing}


def speed(case: Row, _: Options) -> Row:
    """Return updates a second of 512 samples, of a density given in one of three ways."""
    settings = {"train.first_stage": 100, "train.chunk": 100, "evaluate.samples": 1_000}
    settings["flow.pattern"] = case["flow"]
    return {"updates_per_second": of_speed(WAYS[case["density"]], settings)}


def speed_table(rows: list[Row]) -> str:
    lines = [
        [" and ".join(row["flow"]), row["density"], f"{row['updates_per_second']:,.0f}"]
        for row in rows
    ]
    return markdown(["flows", "density", "updates a second"], lines)


# log Z from draws


def evidence(case: Row, options: Options) -> Row:
    """Run `nflow evidence` on four chains of 2,000 exact draws; return its figures.

    Each draw repeats the last with probability 1/2.
    """
    if "peer" in case:
        return options.peer("densities:evidence", name=case["posterior"], seed=case["seed"])
    posterior = POSTERIORS[case["posterior"]]()
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, x in enumerate(chains_of(posterior, case["seed"]), start=1):
            files.append(f"{folder}/chain_{number}.npz")
            table = np.column_stack([x, posterior.log_p(x)])
            np.savez(files[-1], rows=table, columns=np.array([*posterior.names, "log_p"]))
        bounds = [f"--bounds={name}={ends}" for name, ends in posterior.bounds.items()]
        start = time.monotonic()
        output = ["--log-p", "log_p", *bounds, "--output", f"{folder}/run"]
        launched([*NFLOW, "evidence", *files, *output])
        seconds = time.monotonic() - start
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
    keys = ("log_z", "log_z_standard_error", "pareto_k", "kl", "ess", "temperatures")
    return {
        "truth": posterior.log_z,
        **{key: summary[key] for key in keys},
        "warnings": [warning["word"] for warning in summary["warnings"]],
        "seconds": round(seconds, 1),
    }


def evidence_table(rows: list[Row]) -> str:
    own, peers = ([row for row in rows if ("peer" in row) == is_peer] for is_peer in (False, True))
    lines = []
    for (name,), some in groups(own, "posterior").items():
        good = [row for row in some if not row["warnings"]]
        off = [abs(row["log_z"] - row["truth"]) / row["log_z_standard_error"] for row in good]
        within = ", ".join(str(sum(one <= sigmas for one in off)) for sigmas in (2, 3))
        error, seconds = (
            np.median([row[key] for row in some]) for key in ("log_z_standard_error", "seconds")
        )
        lines.append([name, len(some), len(good), within, f"{error:.3f}", f"{seconds:.0f}"])
    head = ["posterior", "runs", "good", "of these within 2 and 3 standard errors"]
    found = markdown([*head, "median standard error, nats", "seconds"], lines)
    beside = []
    for (name,), some in groups(peers, "posterior").items():
        seeds = [row["seed"] for row in some]
        ours = [
            r["log_z"] - r["truth"] for r in own if r["posterior"] == name and r["seed"] in seeds
        ]
        theirs = [row["log_z_error"] for row in some]
        errors = ", ".join(f"{row['standard_error']:.3f}" for row in some)
        beside.append(
            [name, *(f"{np.sqrt(np.mean(np.square(x))):.3f}" for x in (ours, theirs)), errors]
        )
    head = ["posterior", "nflow", "harmonic", "harmonic's standard errors"]
    return found + ("\n\n" + markdown(head, beside) if beside else "")


RUNS = {"eight-schools": 10, "many-well": 10, "radon": 10, "banana": 10, "half-space": 10}
BENCHMARKS = [
    Benchmark("infer", FITS, fit, fits_table),
    Benchmark("modes", MODES, fit, lambda rows: fits_table(rows, "q_")),
    Benchmark(
        "infer_speed",
        [{"flow": flow, "density": way} for flow in PATTERNS for way in WAYS],
        speed,
        speed_table,
    ),
    Benchmark(
        "evidence",
        [
            *[
                {"posterior": name, "seed": seed}
                for name, n in {**RUNS, "brownian": 3, "funnel": 1}.items()
                for seed in range(n)
            ],
            *[
                {"posterior": name, "seed": seed, "peer": "harmonic"}
                for name in ("banana", "half-space", "many-well", "eight-schools")
                for seed in range(3)
            ],
        ],
        evidence,
        evidence_table,
    ),
]

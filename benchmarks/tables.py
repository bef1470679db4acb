"""How far a fit to a table is from the truth, on tables whose density is known exactly.

    python -m benchmarks.tables --table chain-10 --rows 50000 --seeds 3 --set train.steps=6000
    python -m benchmarks.tables --table chain-10 --peer zuko flowjax pzflow
    python -m benchmarks.tables --file TRAIN.npz --test TEST.npz --peer pzflow --epochs 5

Prints a JSON line for each table and seed: the mean of log p - log q in nats over fresh rows, with
its standard error, the gain of the run over independent columns or a Gaussian, and seconds. With
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
from pathlib import Path

import numpy as np

from benchmarks.table_peers import PEERS
from benchmarks.truths import TABLES

FRESH = 100_000  # rows that gaps are means over


def drawn(truth, rows, seed):
    """Draw the rows to fit, and fresh ones to judge by."""
    x = truth.drawn_to_fit(np.random.default_rng([seed, rows]), rows)
    return x, truth.sample(np.random.default_rng([seed, 1]), FRESH)


def named(x):
    """Return columns by name."""
    return {f"x{i + 1}": x[:, i] for i in range(x.shape[1])}


def measure(name, rows, seed, preset, settings):
    """Fit one table; return its gap to the truth and seconds."""
    import nflow_cli

    truth = TABLES[name]()
    x, fresh = drawn(truth, rows, seed)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        density = nflow_cli.fit(
            named(x),
            seed=seed,
            preset=preset,
            settings=settings,
            output=f"{folder}/run",
            **truth.options,
        )
        seconds = time.perf_counter() - begin
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
    log_p = truth.log_prob(fresh)
    gap = log_p - density.log_prob(named(fresh))
    return {
        "preset": preset,
        "table": name,
        "rows": rows,
        "seed": seed,
        **settings,
        "gap": gap.mean(),
        "gap_standard_error": gap.std() / math.sqrt(FRESH),
        "gain": summary["gain"],
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


def measurements(peer, arguments, settings):
    """Yield what is asked for of nflow, or of a peer: one table and seed after the other."""
    tables = [(name, rows) for name in arguments.table for rows in arguments.rows]
    seeds = range(arguments.seeds)
    if peer is None:
        for name, rows in tables:
            yield from (measure(name, rows, seed, arguments.preset, settings) for seed in seeds)
        return
    # zuko has no loop of its own, and so no default length
    length = settings.get("train.steps", 8_000) if peer == "zuko" else arguments.epochs
    if arguments.file:
        files = (arguments.file, arguments.test)
        yield from (measure_file(peer, *files, seed, length) for seed in seeds)
        return
    for name, rows in tables:
        yield from (measure_peer(peer, name, rows, seed, length) for seed in seeds)


def parsed():
    """Return the arguments, checked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--rows", nargs="+", type=int, default=[50_000])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--preset", help="Without, cells.")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--peer", nargs="+", choices=PEERS, default=[], help="Instead of nflow.")
    parser.add_argument("--epochs", type=int, default=100, help="Of flowjax and pzflow, at most.")
    parser.add_argument("--file", metavar="TRAIN.npz", help="Rows to fit, instead of --table.")
    parser.add_argument("--test", metavar="TEST.npz", help="Rows to judge a --file by.")
    arguments = parser.parse_args()
    if arguments.peer and any(
        TABLES[name]().options.keys() - {"bounds"} for name in arguments.table
    ):
        parser.error("--peer: expected tables of modelled numbers alone")
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

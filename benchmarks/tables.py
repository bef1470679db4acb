"""Gaps of fits to tables whose density is known exactly, by nflow and by other libraries.

A gap is the mean of log p - log q in nats over fresh rows. Other libraries fit the same rows by
their defaults; rows to which a fit gives no density are counted, and left out of its mean.
"""

import math
import tempfile
import time
from typing import Any

import numpy as np

from benchmarks.runner import Benchmark, Options, Row, markdown, named, pivot, settings_of, text
from benchmarks.table_truths import TABLES

ROWS, FRESH = 50_000, 100_000
FEW = (500, 5_000, 20_000)  # rows
EPOCHS, UPDATES = 30, 8_000  # of flowjax and pzflow at most; of zuko, which has no loop of its own
FLOWS = ("mixture-1", "lognormal", "student-t", "mixture-3", "mixture-5", "chain-10", "mixture-10")
FLOWS = (*FLOWS, "mixture-30", "mixed", "branches", "weighted")
CELLS = (*FLOWS[:-1], "emptied-3", "turned-10")
SETTINGS: list[tuple[str, int, int, Row]] = [  # table, rows, seeds, settings of `flows`
    *[(name, ROWS, 3 if name in ("mixture-3", "mixture-5") else 1, {}) for name in FLOWS],
    *[(name, n, 1, {}) for n in FEW for name in ("mixture-2", "mixture-5", "mixture-10")],
    ("mixture-5", 2_000, 1, {}),
    *[("mixture-5", n, 1, {"train.ensemble": 4}) for n in (2_000, ROWS)],
]


def masked(k: int = 4, hidden: int = 64, **train: float) -> Row:
    """Return the settings of spline autoregressive flows, whose networks are masked."""
    pattern = [{"spline-autoregressive": {"hidden": [hidden, hidden]}}]
    return {
        "flow.pattern": pattern,
        "flow.k": k,
        **{f"train.{key}": value for key, value in train.items()},
    }


SETTINGS += [
    *[(name, ROWS, 3 if name == "mixture-5" else 1, masked()) for name in FLOWS[:6]],
    *[
        ("mixture-5", ROWS, 1, settings)
        for settings in (
            masked(8),
            masked(weight_decay=0.1),
            masked(6, weight_decay=0.2),
            masked(hidden=128, weight_decay=0.3),
        )
    ],
]


def drawn(case: Row) -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a truth, the rows to fit, and fresh ones to judge by."""
    truth, rows, seed = TABLES[case["table"]](), case["rows"], case["seed"]
    x = truth.drawn_to_fit(np.random.default_rng([seed, rows]), rows)
    return truth, x, truth.sample(np.random.default_rng([seed, 1]), FRESH)


def measure(case: Row, options: Options) -> Row:
    """Return the gap of a fit, and seconds."""
    if "peer" in case:
        return by_peer(case, options)
    import nflow_cli

    truth, x, fresh = drawn(case)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        q = nflow_cli.fit(
            named("x", x),
            seed=case["seed"],
            preset=case["preset"],
            settings=settings_of(case),
            output=f"{folder}/run",
            **truth.options,
        )
        seconds = time.perf_counter() - start
        gaps = truth.log_prob(fresh) - q.log_prob(named("x", fresh))
    return {**mean(gaps), "seconds": seconds}


def by_peer(case: Row, options: Options) -> Row:
    """Return the gap of a fit by another library; its log-densities come in a file."""
    truth, x, fresh = drawn(case)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/rows.npz", x=x, fresh=fresh)
        length = UPDATES if case["peer"] == "zuko" else EPOCHS
        arguments = {"peer": case["peer"], "folder": folder, "seed": case["seed"], "length": length}
        seconds = options.peer("tables:fit", **arguments)
        log_q = np.load(f"{folder}/log_q.npy")
    return {**mean(truth.log_prob(fresh) - log_q), **seconds}


def mean(gaps: np.ndarray) -> Row:
    """Return the mean of the finite gaps, its standard error, and how many are not finite."""
    finite = gaps[np.isfinite(gaps)]
    return {
        "gap": finite.mean(),
        "gap_standard_error": finite.std() / math.sqrt(len(finite)),
        "rows_without_density": len(gaps) - len(finite),
    }


def label(row: Row) -> str:
    """Return what fits the rows."""
    if "peer" in row:
        return row["peer"]
    changes = [f"{key}={text(value)}" for key, value in settings_of(row).items()]
    if "flow.pattern" in row:
        hidden = row["flow.pattern"][0]["spline-autoregressive"]["hidden"][0]
        changes[:2] = [f"{row['flow.k']} masked maps" + ("" if hidden == 64 else f" of {hidden}")]
    return ", ".join([row["preset"], *changes])


def gaps(rows: list[Row]) -> str:
    """Return the gaps of seeds with the largest standard error."""
    error = max(row["gap_standard_error"] for row in rows)
    without = rows[0].get("rows_without_density")
    found = ", ".join(f"{row['gap']:.4f}" for row in rows) + f" ± {error:.4f}"
    return found + (f", {without} rows without a density" if without else "")


def table(rows: list[Row]) -> str:
    known = [{"preset": "cells"}, {"preset": "flows"}, {"preset": "flows", **masked()}]
    usual = {label(one) for one in known} | {"zuko", "flowjax", "pzflow"}
    large = [row for row in rows if row["rows"] == ROWS]
    others = [row for row in rows if label(row) not in usual or row["rows"] == 2_000]
    few = [row for row in rows if row["rows"] in FEW]
    seconds = [
        [label(row), f"`{row['table']}`", f"{row['rows']:,}", gaps([row]), f"{row['seconds']:.0f}"]
        for row in others
    ]
    return "\n\n".join(
        [
            pivot("table", [row for row in large if label(row) in usual], name_of, label, gaps),
            pivot("rows", few, lambda row: f"{row['rows']:,}", name_of, gaps),
            markdown(["by", "table", "rows", "gap", "seconds"], seconds),
        ]
    )


def name_of(row: Row) -> str:
    return f"`{row['table']}`"


BENCHMARKS = [
    Benchmark(
        "tables",
        [
            *[{"preset": "cells", "table": name, "rows": ROWS, "seed": 0} for name in CELLS],
            *[
                {"preset": "flows", "table": name, "rows": n, "seed": seed, **settings}
                for name, n, seeds, settings in SETTINGS
                for seed in range(seeds)
            ],
            *[
                {"peer": peer, "table": name, "rows": ROWS, "seed": 0}
                for peer in ("zuko", "flowjax", "pzflow")
                for name in ("mixture-5", "chain-10")
            ],
        ],
        measure,
        table,
    )
]

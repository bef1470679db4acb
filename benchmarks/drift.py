"""Rates at which ``nflow drift`` finds known changes, and names columns that did not change.

A run of ``nflow fit`` to 20,000 rows is compared with 2,000 fresh rows, against 2,000 others of the
fitted distribution, for each change and repeat.
"""

import tempfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.runner import Benchmark, Options, Row, markdown

ROWS, COMPARED = 20_000, 2_000
STEPS = {"mixed": None, "linear": 600}  # updates; relations of unmixed columns use no network
Table = dict[str, np.ndarray]


def mixed(rng: np.random.Generator, n: int, weight: float = 0.5) -> Table:
    """A pair of normals with ρ = 0.9, two equal modes, a level that depends on a and modes, and c.

    ``weight``: of the upper mode.
    """
    a = rng.standard_normal(n)
    b = 0.9 * a + np.sqrt(1 - 0.81) * rng.standard_normal(n)
    modes = np.where(rng.random(n) < weight, 2.0, -2.0) + 0.5 * rng.standard_normal(n)
    scores = np.column_stack([np.zeros(n), a, modes / 2]) + rng.gumbel(size=(n, 3))
    level = np.array(["low", "middle", "high"])[scores.argmax(axis=1)]
    return {"a": a, "b": b, "modes": modes, "level": level, "c": rng.standard_normal(n)}


def linear(rng: np.random.Generator, n: int) -> Table:
    """Three linear mixtures of skewed sources, which a run unmixes."""
    sources = rng.exponential(size=(n, 3)) - 1
    matrix = np.array([[1.0, 0.9, 0.4], [0.8, 1.0, 0.6], [0.4, 0.7, 1.0]])
    return dict(zip("abc", (sources @ matrix.T).T))


def shifted(name: str, by: float) -> Callable[..., Table]:
    """Shift of a column by some standard deviations, of the first sample."""
    return lambda table, _: {**table, name: table[name] + by * table[name].std()}


def permuted(name: str) -> Callable[..., Table]:
    """A column without its dependence on the others."""
    return lambda table, rng: {**table, name: rng.permutation(table[name])}


CHANGES: dict[str, dict[str, Any]] = {
    "mixed": {
        "none": lambda table, _: table,
        "c shifted by 0.2 sd": shifted("c", 0.2),
        "c narrowed to 0.8 sd": lambda table, _: {**table, "c": 0.8 * table["c"]},
        "upper mode 0.5 to 0.6": lambda table, rng: mixed(rng, len(table["a"]), 0.6),
        "a shifted by 0.2 sd": shifted("a", 0.2),
        "b shifted by 0.2 sd": shifted("b", 0.2),
        "b permuted": permuted("b"),
        "level permuted": permuted("level"),
    },
    "linear": {
        "none": lambda table, _: table,
        "b shifted by 0.2 sd": shifted("b", 0.2),
        "b permuted": permuted("b"),
    },
}
TABLES: dict[str, Callable[..., Table]] = {"mixed": mixed, "linear": linear}


def measured(q: Any, name: str, change: Callable[..., Table], repeats: int) -> dict[str, Any]:
    """Rates at which each column is named in either list, the row, and anything."""
    columns, relations, others = Counter[str](), Counter[str](), Counter[str]()
    for repeat in range(repeats):
        rng = np.random.default_rng([1, repeat])
        q.held_out = q.rows(TABLES[name](rng, COMPARED))
        found = q.drift(change(TABLES[name](rng, COMPARED), rng))
        columns.update(found.moved)
        relations.update(found.moved_relations)
        others.update({"row": found.row_moved, "any": found.p_value <= 0.05})
    return {
        "columns": {key: columns[key] / repeats for key in sorted(columns)},
        "relations": {key: relations[key] / repeats for key in sorted(relations)},
        **{key: others[key] / repeats for key in ("row", "any")},
    }


def measure(case: Row, _: Options) -> list[Row]:
    """Fit a table, and measure each change."""
    import nflow_cli

    name, repeats = case["table"], case["repeats"]
    with tempfile.TemporaryDirectory() as folder:
        rows = TABLES[name](np.random.default_rng(0), ROWS)
        q = nflow_cli.fit(rows, output=f"{folder}/run", steps=STEPS[name])
        unmixed = bool(q.density.unmixing)
        return [
            {"unmixed": unmixed, "change": text, **measured(q, name, change, repeats)}
            for text, change in CHANGES[name].items()
        ]


def table(rows: list[Row]) -> str:
    def named(rates: dict[str, float]) -> str:
        return ", ".join(f"{rate:.2f} {name}" for name, rate in rates.items()) or "none"

    lines = [
        [
            ("unmixed: " if row["unmixed"] else "") + row["change"],
            *(named(row[key]) for key in ("columns", "relations")),
            f"{row['row']:.2f}",
        ]
        for row in rows
    ]
    return markdown(["change", "list 1", "list 2", "row"], lines)


BENCHMARKS = [
    Benchmark("drift", [{"table": name, "repeats": 20} for name in TABLES], measure, table)
]

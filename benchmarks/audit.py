"""Draws of tools and draws with planted leaks, as ``nflow audit`` judges them.

Files of two tables with published draws (Mostly AI's comparison of synthesizers): of training rows
``NAME_trn.csv.gz``, of others ``NAME_val.csv.gz``, of draws ``NAME_TOOL.csv.gz``. One half of the
other rows is the holdout of all audits; what is planted is made of training rows and of the second
half.
"""

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runner import NFLOW, Benchmark, Options, Row, launched, markdown, pm

TABLES = ("adult", "online-shoppers")
NFLOW_DRAWS = "nflow"
PUBLISHED = {"mostlyai": "mostly", "synthpop": "synthpop"}  # and the name of the file
OTHER_ROWS = "other rows"
COPIES = "other rows, a tenth copied"
RESAMPLED = {f"training rows, {share} % of cells resampled": share for share in (50, 10, 5)}
DRAWS = (NFLOW_DRAWS, *PUBLISHED, OTHER_ROWS, COPIES, *RESAMPLED)
SETS = 3  # of draws of a run
ATTACKS = ("copies", "near_copies", "nearness", "singling_out", "linkability", "inference")


def made(case: Row, train: Any, other: Any, options: Options) -> Any:
    """Return draws that a case judges, of at most as many rows as are trained on."""
    import pandas

    name = case["draws"]
    rng = np.random.default_rng(0)
    if name in PUBLISHED:
        path = options.file(f"{case['table']}_{PUBLISHED[name]}.csv.gz")
        return rows_of(path).iloc[: len(train)]
    if name in RESAMPLED:
        draws = train.copy()
        for column in draws:
            cells = draws[column].to_numpy().copy()
            places = np.flatnonzero(rng.random(len(cells)) < RESAMPLED[name] / 100)
            cells[places] = rng.choice(cells, len(places))
            draws[column] = cells
        return draws
    if name == COPIES:
        n_copied = len(other) // 10
        copied = train.sample(n_copied, random_state=0)
        return pandas.concat([copied, other.iloc[n_copied:]])
    return other


def by_nflow(folder: str, n: int) -> list[str]:
    """Return files of draws of a default fit."""
    rows = [f"{folder}/train.csv", "--test", f"{folder}/holdout.csv"]
    launched([*NFLOW, "fit", *rows, "--output", f"{folder}/run"])
    files = [f"{folder}/draws{seed}.csv" for seed in range(SETS)]
    for seed, file in enumerate(files):
        launched([*NFLOW, "sample", f"{folder}/run", "-n", n, "--seed", seed, "-o", file])
    return files


def rows_of(path: Path) -> Any:
    """Return the rows of a file, whose cells stay the text that they are."""
    import pandas

    return pandas.read_csv(path, dtype=str, keep_default_na=False)


def measure(case: Row, options: Options) -> Row:
    """Return the figures of an audit."""
    train = rows_of(options.file(f"{case['table']}_trn.csv.gz"))
    others = rows_of(options.file(f"{case['table']}_val.csv.gz"))
    places = np.random.default_rng(1).permutation(len(others))
    holdout, other = (others.iloc[half] for half in np.array_split(places, 2))
    with tempfile.TemporaryDirectory() as folder:
        train.to_csv(f"{folder}/train.csv", index=False)
        holdout.to_csv(f"{folder}/holdout.csv", index=False)
        if case["draws"] == NFLOW_DRAWS:
            files = by_nflow(folder, len(train))
        else:
            files = [f"{folder}/draws.csv"]
            made(case, train, other, options).to_csv(files[0], index=False)
        real = ["--real", f"{folder}/train.csv", "--holdout", f"{folder}/holdout.csv"]
        found = json.loads(launched([*NFLOW, "audit", *files, *real, "--json"]))
    return figures(found)


def figures(found: Row) -> Row:
    """Return what a table has of an audit."""
    skills = found["skills"].values()
    return {
        "n_train": found["n_train"],
        "n_holdout": found["n_holdout"],
        "n_draws": found["n_draws"],
        "columns": found["tables"]["columns"],
        "pairs": found["tables"]["pairs"],
        "auc": found["auc"],
        "skill": statistics.median(skill["draws"] - skill["holdout"] for skill in skills),
        "leaks": {name: found["leaks"][name] for name in ATTACKS if name in found["leaks"]},
        "seconds": found["seconds"],
    }


def table(rows: list[Row]) -> str:
    """Return tables of likeness and of leaks."""

    def score(of: Row, digits: int) -> str:
        return pm(of["draws"], of["standard_error"], digits)

    def leak(row: Row, name: str) -> str:
        rate = row["leaks"].get(name)
        if rate is None:
            return "—"
        return f"{100 * rate['difference']:+.2f} (p {rate['p_value']:.2g})".replace("-", "−")

    likeness = [
        [
            row["table"],
            row["draws"],
            *(score(row[key], 3) for key in ("columns", "pairs", "auc")),
            f"{row['skill']:+.3f}".replace("-", "−"),
        ]
        for row in rows
    ]
    leaks = [[row["table"], row["draws"], *(leak(row, name) for name in ATTACKS)] for row in rows]
    head = ["table", "draws"]
    attacks = [name.replace("_", " ") for name in ATTACKS]
    return "\n\n".join(
        [
            markdown([*head, "columns", "pairs", "AUC", "skill"], likeness),
            markdown([*head, *attacks], leaks),
        ]
    )


BENCHMARKS = [
    Benchmark(
        "audit",
        [{"table": name, "draws": draws} for name in TABLES for draws in DRAWS],
        measure,
        table,
    )
]

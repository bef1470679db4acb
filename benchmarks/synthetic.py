"""How well draws of real tables stand beside rows that no fit has seen, with other synthesizers.

    python -m benchmarks.synthetic FOLDER --work DRAWS --output synthetic.json --peers PYTHON

Some tables of a folder of CSV files are drawn by a seed. Of each, a fifth of the rows are held out;
each contender has the others, and draws as many rows as are held out, five times. Judged are how
well a classifier distinguishes held-out rows from draws (its AUC, beside that of real rows against
real rows), the column by which alone it does so best, and the share of draws that are nearer to a
training row than to a held-out row. `--peers` names the Python that has other synthesizers, which
run in a process of their own; without it there are none. What the output has already is left out,
so an interrupted benchmark goes on; draws that are in DRAWS are not made again.
"""

import argparse
import csv
import json
import math
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import nflow_cli
from benchmarks.detection import Encoded, Mean, at_least_half, auc, encoded, nearer
from nflow_cli.data.tables import MISSING
from nflow_cli.errors import NflowError

SEED = 2
LEAST, MOST = 2_000, 20_000  # rows of a table
HELD_OUT, LEAST_HELD_OUT = 0.2, 400
DRAWS, DRAWS_BY_COLUMN = 5, 2
PEERS = ("gaussian-copula", "gaussian-copula-kde", "arf", "ctgan")
# Rows of the longest table that a slow peer fits.
SHORT = {"gaussian-copula-kde": 5_000, "ctgan": 5_000}
SHORT_TABLES = 4
SECONDS = 600  # of a peer's fit, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", required=True, type=Path, help="A JSON file.")
    parser.add_argument("--work", required=True, type=Path, help="A folder that keeps the draws.")
    parser.add_argument("--peers", metavar="PYTHON", help="A Python that has other synthesizers.")
    parser.add_argument("--tables", type=int, default=10, help="How many.")
    parser.add_argument("--contenders", nargs="+", choices=[*OWN, *PEERS], default=[*OWN, *PEERS])
    options = parser.parse_args()
    done = json.loads(options.output.read_text()) if options.output.exists() else {}
    tables = chosen(options.folder, options.tables)
    for name, path in by_turn(tables, options.contenders, bool(options.peers)):
        facts = done.setdefault(path.stem, {})
        if name in facts.get("contenders", {}):
            continue
        table = Table(path, options.work / path.stem)
        facts |= table.facts
        facts.setdefault("contenders", {})[name] = judged(table, name, options.peers)
        options.output.write_text(json.dumps(done, indent=1) + "\n")
        print(path.stem, name, json.dumps(facts["contenders"][name]), flush=True)
    print(summary(done))


def chosen(folder: Path, count: int) -> list[Path]:
    """Return some tables of a folder, of those that have rows enough: short ones first."""
    paths = [path for path in sorted(folder.glob("*.csv")) if rows_of(path) >= LEAST]
    return sorted(random.Random(SEED).sample(paths, min(count, len(paths))), key=rows_of)


def rows_of(path: Path) -> int:
    """Return the number of rows of a CSV file."""
    with path.open(newline="") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def by_turn(tables: list[Path], contenders: list[str], peers: bool) -> list[tuple[str, Path]]:
    """Return the contenders with their tables: slow ones last, and of short tables alone."""
    names = [name for name in contenders if name in OWN or peers]
    quick = [(name, path) for path in tables for name in names if name not in SHORT]
    slow = []
    for name in [name for name in names if name in SHORT]:
        short = [path for path in tables if rows_of(path) <= SHORT[name]]
        slow += [(name, path) for path in short[:SHORT_TABLES]]
    return quick + slow


def read(path: Path) -> Any:
    """Return a CSV file as a DataFrame; gaps are the words that nflow takes as such."""
    import pandas as pd

    gaps = {form(word) for word in MISSING for form in (str, str.upper, str.title)} | {"NaN"}
    return pd.read_csv(path, keep_default_na=False, na_values=sorted(gaps))


class Table:
    """A table, its training rows and its held-out rows.

    Row names of R, and constants, are no columns to judge.

    Attributes:
        work: The folder of its files: ``train.csv``, ``held.csv`` and draws.
        train: A DataFrame.
        held: A DataFrame.
        facts: How many rows and columns there are.
    """

    def __init__(self, path: Path, work: Path) -> None:
        rows = read(path).drop(columns="rownames", errors="ignore")
        rows = rows.loc[:, rows.nunique(dropna=False) > 1]
        places = np.random.default_rng(SEED).permutation(len(rows))[:MOST]
        held = max(LEAST_HELD_OUT, round(HELD_OUT * len(places)))
        self.held, self.train = (rows.iloc[part] for part in np.split(places, [held]))
        self.work = work
        work.mkdir(parents=True, exist_ok=True)
        self.held.to_csv(work / "held.csv", index=False)
        self.train.to_csv(work / "train.csv", index=False)
        sizes = {"train": len(self.train), "held_out": len(self.held)}
        self.facts = {"rows": len(rows), "columns": rows.shape[1], **sizes}

    def real(self, draw: int) -> tuple[Any, Any]:
        """Return training rows, as many as are held out, and others of that number."""
        places = np.random.default_rng([SEED, draw]).permutation(len(self.train))
        n = len(self.held)
        return self.train.iloc[places[:n]], self.train.iloc[places[n : 2 * n]]


def judged(table: Table, name: str, peers: str | None) -> dict[str, Any]:
    """Return the scores of a contender's draws, or why it has none."""
    files = [table.work / f"{name}-{draw}.csv" for draw in range(DRAWS)]
    seconds = {}
    if not all(file.exists() for file in files):
        begin = time.perf_counter()
        try:
            if name in OWN:
                OWN[name](table, files)
            else:
                draw_by(peers, name, table, files)
        except subprocess.TimeoutExpired:
            return {"failed": f"no draws after {SECONDS} s"}
        except subprocess.CalledProcessError as error:
            return {"failed": error.stderr.strip().splitlines()[-1]}
        except NflowError as error:
            return {"failed": str(error)}
        seconds = {"seconds": round(time.perf_counter() - begin, 1)}
    return {**scores(table, [read(file) for file in files]), **seconds}


def scores(table: Table, draws: list[Any]) -> dict[str, Any]:
    """Return how well draws can be distinguished from held-out rows, and what they are near to."""
    codes = [encoded(table.held, drawn) for drawn in draws]
    area = at_least_half([auc(code.rows, code.draws, i) for i, code in enumerate(codes)])
    shares = [share(table, drawn, i) for i, drawn in enumerate(draws)]
    alone = by_column(codes[:DRAWS_BY_COLUMN])
    worst = max(alone, key=lambda name: alone[name])
    return {
        "auc": area.value,
        "auc_standard_error": area.error,
        "worst_column": worst,
        "worst_column_auc": alone[worst],
        "nearer": float(np.mean(shares)),
        # Draws of one size are near to the same rows: their number is that of one draw.
        "nearer_standard_error": 0.5 / math.sqrt(len(table.held)),
    }


def by_column(codes: list[Encoded]) -> dict[str, float]:
    """Return the AUC of each column alone."""

    def mean(j: int) -> float:
        areas = [auc(code.rows[:, [j]], code.draws[:, [j]], i) for i, code in enumerate(codes)]
        return at_least_half(areas).value

    return {name: mean(j) for j, name in enumerate(codes[0].names)}


def share(table: Table, drawn: Any, draw: int) -> float:
    """Return the share of draws that are nearer to a training row than to a held-out row."""
    import pandas as pd

    train = table.real(draw)[1]
    both = encoded(pd.concat([train, table.held]), drawn)
    n = len(train)
    return nearer(both.levels, both.rows[:n], both.rows[n:], both.draws)


def fit(table: Table, files: list[Path]) -> None:
    """Write draws of nflow's default fit, which holds out no further rows of its own."""
    test = {"data.test": str(table.work / "held.csv")}
    with tempfile.TemporaryDirectory() as folder:
        q = nflow_cli.fit(table.work / "train.csv", settings=test, output=f"{folder}/run")
        for seed, file in enumerate(files):
            drawn = q.sample_table(len(table.held), seed).to_pandas()
            drawn.drop(columns="log_q").to_csv(file, index=False)


def real(table: Table, files: list[Path]) -> None:
    """Write training rows: the baseline of real rows against real rows."""
    for draw, file in enumerate(files):
        table.real(draw)[0].to_csv(file, index=False)


def bootstrap(table: Table, files: list[Path]) -> None:
    """Write training rows at random, some of them twice."""
    for draw, file in enumerate(files):
        table.train.sample(len(table.held), replace=True, random_state=draw).to_csv(
            file, index=False
        )


def independent(table: Table, files: list[Path]) -> None:
    """Write training rows whose columns are each permuted on their own."""
    for draw, file in enumerate(files):
        permuted = np.random.default_rng([SEED, draw]).permutation
        columns = {name: permuted(column.to_numpy()) for name, column in table.train.items()}
        table.train.assign(**columns).iloc[: len(table.held)].to_csv(file, index=False)


OWN: dict[str, Callable[[Table, list[Path]], None]] = {
    "real": real,
    "bootstrap": bootstrap,
    "independent": independent,
    "nflow": fit,
}


def draw_by(peers: str | None, name: str, table: Table, files: list[Path]) -> None:
    """Write draws of another synthesizer."""
    script = Path(__file__).with_name("synthetic_peers.py")
    command = [peers, script, "draw", name, table.work / "train.csv", len(table.held), *files]
    line = [str(word) for word in command]
    subprocess.run(line, check=True, capture_output=True, text=True, timeout=SECONDS)


def excess(contenders: dict[str, Any], name: str) -> Mean:
    """Return the AUC of draws less that of real rows against real rows."""
    one, floor = contenders[name], contenders["real"]
    errors = (one["auc_standard_error"], floor["auc_standard_error"])
    return Mean(one["auc"] - floor["auc"], math.hypot(*errors))


def summary(done: dict[str, Any]) -> str:
    """Return the excess AUC of each table and contender, and the medians over tables."""
    lines, found = [], {}
    for table, facts in done.items():
        known = {name: one for name, one in facts["contenders"].items() if "auc" in one}
        cells = {name: excess(known, name) for name in known if "real" in known}
        for name, cell in cells.items():
            found.setdefault(name, []).append(cell.value)
        texts = [f"{name} {cell.value:.3f} ± {cell.error:.3f}" for name, cell in cells.items()]
        lines.append(f"{table}: {', '.join(texts)}")
    medians = [f"{name} {median(cells):.3f} of {len(cells)}" for name, cells in found.items()]
    return "\n".join([*lines, f"median: {', '.join(medians)}"])


if __name__ == "__main__":
    main()

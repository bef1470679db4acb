"""Default fits of real tables: what their cells gain, and how draws compare with held-out rows.

    python -m benchmarks.real_tables --output real_tables.json TABLE.csv …

A table that the output has already is left out, so an interrupted benchmark goes on. Beside each
fit stands a mixture of products (latent classes), fitted to the same training rows.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import nflow_cli
from benchmarks.draws_beside_rows import heaping, outside_range
from benchmarks.latent_classes import fit_latent_classes
from nflow_cli.data.dataset import load_dataset
from nflow_cli.densities.cells.fitting import support_of, with_both_ends
from nflow_cli.densities.cells.marginal import Support
from nflow_cli.errors import NflowError

DRAWS = 10_000
WIDE = 3.0  # standard errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="+", metavar="TABLE")
    parser.add_argument("--output", required=True, type=Path, help="A JSON file.")
    parser.add_argument("--steps", type=int, help="Updates, in place of the default.")
    options = parser.parse_args()
    done = json.loads(options.output.read_text()) if options.output.exists() else {}
    for table in options.tables:
        name = Path(table).stem
        if name not in done:
            done[name] = judged(table, options.steps)
            options.output.write_text(json.dumps(done, indent=1) + "\n")
        print(name, json.dumps(done[name]), flush=True)


def judged(table: str, steps: int | None) -> dict[str, Any]:
    """Return the scores of the default fit of a table, or why it has none."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        try:
            q = nflow_cli.fit(table, steps=steps, output=Path(folder) / "run")
        except NflowError as error:
            return {"refused": str(error).removeprefix(f"{table}: ")}
        seconds = time.perf_counter() - start
        data = load_dataset(q.config.data)
        summary = q.summary
        keys = ("log_likelihood", "gain", "gain_standard_error", "n_train", "n_test")
        facts = {key: summary[key] for key in keys}
        warnings = [warning["word"] for warning in summary["warnings"]]
        return {**facts, "seconds": seconds, "warnings": warnings, **beside(q, data), **of(q, data)}


def of(q: Any, data: Any) -> dict[str, Any]:
    """Return how draws compare with the rows: range, heaping, and their own log-density."""
    ((_, draws, log_q),) = q.batches(DRAWS, 1, q.conditions(None))
    kinds = {column.name: column.kind for column in q.row}
    outside = outside_range(kinds, data.train, data.test, draws)
    ends = [end for column in outside.values() for end in column]
    p = min(3 / (len(data.train) + 1), 0.5)
    most = p + WIDE * math.sqrt(p * (1 - p) / DRAWS)
    heaped = heaping(kinds, data.test, draws)
    return {
        "ends": len(ends),
        "ends_beyond": sum(end.draws > most for end in ends),
        "outside_rows": float(np.mean([end.rows for end in ends])) if ends else None,
        "outside_draws": float(np.mean([end.draws for end in ends])) if ends else None,
        "grids": len(heaped),
        "grids_unlike": sorted(name for name, found in heaped.items() if found.sigmas > WIDE),
        "draws_of_no_density": int((~np.isfinite(log_q)).sum()),
    }


def beside(q: Any, data: Any) -> dict[str, Any]:
    """Return the gain of the fit over latent classes, where these take the columns."""
    columns = q.cells
    outcomes = [support_of(column) for column in columns]
    codes, centre, half = _encoded(columns, outcomes, data.train)
    classes = fit_latent_classes(outcomes, codes, centre, half, data.weights.train)
    log_p = classes.log_prob(*_encoded(columns, outcomes, data.test))
    numbers = sum(
        np.where(column.encode(values).codes == column.number, column.log_measure, 0.0)
        for column, values in zip(columns, data.test.T)
    )
    cells = q.cell_log_probs(data.test)[:, : len(columns)].sum(axis=1)
    difference = cells - (log_p - numbers)
    difference = difference[np.isfinite(difference)]
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    return {
        "gain_over_classes": float(difference.mean()),
        "gain_over_classes_standard_error": float(error),
    }


def _encoded(
    columns: Any, outcomes: list[Support], rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return outcomes ``(n, D)``, and middles and half widths ``(n, N)`` of the intervals."""
    cells = [with_both_ends(column, values) for column, values in zip(columns, rows.T)]
    numbers = [cell.interval for column, cell in zip(columns, cells) if column.has_numbers]
    empty = np.zeros((len(rows), 0))
    return (
        np.stack([cell.codes for cell in cells], axis=1),
        np.stack([one.centre for one in numbers], axis=1) if numbers else empty,
        np.stack([one.half for one in numbers], axis=1) if numbers else empty,
    )


if __name__ == "__main__":
    main()

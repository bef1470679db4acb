"""Coverage of conformal sets on real tables, over random splits of held-out rows.

    python -m benchmarks.coverage FOLDER

Of each table 40 % of the rows are fitted, 10 % validate, and the rest is split 20 times: 500 rows
calibrate sets of a coverage of 0.9, the others are scored. Of groups of 500 rows or more, 200
calibrate. Prints a JSON line for each column: mean coverage over the splits, least and greatest,
and the share of numbers in the central 90 % interval without calibration. FOLDER has tables of R
packages as PACKAGE__NAME.csv.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

TABLES = {
    "Ecdat__Wages": ("lwage", "exp", "ind"),
    "AER__SmokeBan": ("age", "smoker", "education"),
    "Ecdat__OFP": ("ofp", "age", "privins"),
    "DAAG__psid1": ("re78", "educ", "marr"),
    "asaur__prostateSurvival": ("survTime", "stage", "status"),
}
ROWS, SPLITS, COVERAGE = 6_000, 20, 0.9
CALIBRATION, OF_GROUP, LEAST_GROUP = 500, 200, 500  # rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, targets in TABLES.items():
        with tempfile.TemporaryDirectory() as run:
            q, rows = fitted(folder / f"{name}.csv", f"{run}/run")
            for target in targets:
                found = {"table": name, "column": target, **measured(q, rows, target)}
                print(json.dumps(found), flush=True)


def fitted(path: Path, run: str) -> tuple[Any, np.ndarray]:
    """Return a fit to a table, and its held-out rows ``(n, C)``."""
    import pandas

    import nflow_cli

    table = pandas.read_csv(path)
    table = table.drop(columns=[c for c in table if c.startswith(("rownames", "Unnamed"))])
    table = table.sample(frac=1, random_state=0).reset_index(drop=True)[:ROWS]
    place = np.arange(len(table)) / len(table)
    table["part"] = np.select([place < 0.4, place < 0.5], ["train", "validation"], "test")
    q = nflow_cli.fit(table, settings={"data.split": "part"}, output=run)
    return q, q.rows(table[table.part == "test"])


def measured(q: Any, rows: np.ndarray, target: str) -> dict[str, Any]:
    """Return the coverage of a column's sets, in all and by groups."""
    from nflow_cli.densities.cells.conditional import conditional
    from nflow_cli.experiments.table.predict import own_scores

    place = q.columns.index(target)
    column = q.density.row[place]
    found = conditional(q, rows, place, np.array([0.5]))
    scores = own_scores(column, found, rows[:, place])
    known = ~np.isnan(scores)
    facts = {"numbers": column.has_numbers, **covered(scores[known], CALIBRATION)}
    if column.has_numbers:
        facts["without"] = float((scores[known] <= COVERAGE).mean())
    for j, by in enumerate(q.density.row[: len(q.density.cells)]):
        if by.has_numbers or j == place:
            continue
        codes = np.nan_to_num(rows[:, j], nan=-2.0)
        groups = [scores[known & (codes == code)] for code in np.unique(codes)]
        large = [covered(some, OF_GROUP)["mean"] for some in groups if len(some) >= LEAST_GROUP]
        if len(large) > 1:
            return {**facts, "by": by.name, "groups": large}
    return facts


def covered(scores: np.ndarray, n: int) -> dict[str, float]:
    """Return the coverage of scores by sets that n of them calibrate, over random splits."""
    from nflow_cli.evaluation.conformal import calibrated

    shares = []
    for split in range(SPLITS):
        order = np.random.default_rng(split).permutation(len(scores))
        threshold = calibrated(scores[order[:n]], COVERAGE).threshold
        shares.append((scores[order[n:]] <= threshold).mean())
    return {
        "n": len(scores),
        "mean": float(np.mean(shares)),
        "least": min(shares),
        "greatest": max(shares),
    }


if __name__ == "__main__":
    main()

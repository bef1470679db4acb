"""Draws of a joint run given some columns, against those of a run fitted with `--given` these.

    python -m benchmarks.conditional_draws FOLDER

Each table is fitted twice with the same split. At the values of some late columns in 1,000 held-out
rows both runs draw one row; a classifier separates the draws by all columns, by
cross-validation. Prints a JSON line for each table: its accuracy with the standard error over folds
(0.5 if the draws have one distribution), the same against the rows themselves, and the share of
effective draws. FOLDER has tables of R packages as PACKAGE__NAME.csv.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.detection import encoded

TABLES = {  # the given columns are behind others: draws of the joint run have unequal weights
    "ggplot2__diamonds": ("price",),
    "modeldata__concrete": ("compressive_strength",),
    "Ecdat__Wages": ("black", "lwage"),
}
ROWS, CONDITIONS, FOLDS = 6_000, 1_000, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, given in TABLES.items():
        print(
            json.dumps({"table": name, "given": given, **measured(folder, name, given)}), flush=True
        )


def measured(folder: Path, name: str, given: tuple[str, ...]) -> dict[str, Any]:
    """Return the accuracies of classifiers of draws by both runs of a table, and of its rows."""
    import pandas

    import nflow_cli

    table = pandas.read_csv(folder / f"{name}.csv").drop(columns="rownames", errors="ignore")
    table = table.sample(frac=1, random_state=0).reset_index(drop=True)[:ROWS]
    place = np.arange(len(table)) / len(table)
    split = table.assign(
        part=np.select([place < 0.7, place < 0.8], ["train", "validation"], "test")
    )
    rows = table[place >= 0.8][:CONDITIONS]
    options: dict[str, Any] = {"settings": {"data.split": "part"}}
    with tempfile.TemporaryDirectory() as output:
        joint = nflow_cli.fit(split, output=f"{output}/joint", **options)
        conditional = nflow_cli.fit(split, given=given, output=f"{output}/given", **options)
        at = rows[list(given)]
        start = time.perf_counter()
        first = joint.sample_table(1, 1, at).to_pandas()[table.columns]
        seconds = time.perf_counter() - start
        second = conditional.sample_table(1, 2, at).to_pandas()[table.columns]
    pairs = {"c2st": (first, second), "joint": (rows, first), "given_run": (rows, second)}
    found: dict[str, Any] = {"n": len(rows), "seconds": round(seconds, 2)}
    for key, pair in pairs.items():
        found[key], found[f"{key}_error"] = accuracy(*pair)
    return found


def accuracy(rows: Any, draws: Any) -> tuple[float, float]:
    """Return the cross-validated accuracy of a classifier, and its standard error over folds."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    both = encoded(rows, draws)
    x = np.concatenate([both.rows, both.draws])
    y = np.repeat([0, 1], [len(both.rows), len(both.draws)])
    model = HistGradientBoostingClassifier(categorical_features=both.levels, random_state=0)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    scores = cross_val_score(model, x, y, cv=folds)
    return float(scores.mean()), float(scores.std(ddof=1) / np.sqrt(FOLDS))


if __name__ == "__main__":
    main()

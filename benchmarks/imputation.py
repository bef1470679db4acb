"""Imputation of gaps by `nflow impute` beside scikit-learn's IterativeImputer and missForest.

    python -m benchmarks.imputation FOLDER [TABLE…]

Of each table 20 % of the cells are emptied at random. nflow is fitted to the table with gaps, with
default settings, and fills them. So do a chained ridge regression (IterativeImputer, levels as
indicators) and missForest (Stekhoven & Bühlmann 2012: random forests of 100 trees, column by
column, until the changes grow). Prints a JSON line for each table and method: root mean squared
error of numbers in standard deviations, mean over columns; error rate of levels; seconds; and the
share of numbers within the central 90 % of 100 draws, by ranks. FOLDER has tables of R packages as
PACKAGE__NAME.csv.
"""

import argparse
import importlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TABLES = {
    "palmerpenguins__penguins": ["year"],
    "AER__CPS1985": [],
    "MASS__Boston": [],
    "modeldata__concrete": [],
    "ggplot2__diamonds": [],
    "ISLR__Auto": ["name"],
}
ROWS, EMPTY, DRAWS = 4_000, 0.2, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("tables", nargs="*", default=[*TABLES])
    options = parser.parse_args()
    for name in options.tables:
        table = read(options.folder / f"{name}.csv", TABLES[name])
        rng = np.random.default_rng(1)
        empty = rng.random(table.shape) < EMPTY
        empty[empty.all(axis=1)] = False
        for method in (by_nflow, by_regressions, by_forests):
            start = time.perf_counter()
            filled, *more = method(table.astype(object).mask(empty))
            facts = {"table": name, "method": method.__name__, **errors(table, filled, empty)}
            facts["seconds"] = round(time.perf_counter() - start, 1)
            if more:
                facts["coverage"] = covered(table, more[0], empty)
            print(json.dumps(facts), flush=True)


def read(path: Path, without: list[str]) -> Any:
    """Return complete rows, at most 4,000."""
    import pandas

    table = pandas.read_csv(path).drop(columns=["rownames", *without], errors="ignore").dropna()
    return table.sample(frac=1, random_state=0)[:ROWS].reset_index(drop=True)


def by_nflow(gaps: Any) -> tuple[Any, Any]:
    """Fill gaps; also 100 times by draws."""
    import nflow_cli

    gaps = gaps.infer_objects()
    with tempfile.TemporaryDirectory() as output:
        q = nflow_cli.fit(gaps, output=f"{output}/run")
        return q.impute(gaps), q.impute(gaps, draws=DRAWS)


def by_regressions(gaps: Any) -> tuple[Any]:
    """Fill gaps by chained ridge regressions of standardised columns and indicators of levels."""
    import pandas

    importlib.import_module("sklearn.experimental.enable_iterative_imputer")
    from sklearn.impute import IterativeImputer

    parts, levels = [], {}
    for name in gaps:
        if is_number(gaps[name]):
            parts.append(gaps[[name]].astype(float))
        else:
            indicators = pandas.get_dummies(gaps[name], dtype=float)
            indicators[gaps[name].isna()] = np.nan
            levels[name] = list(indicators.columns)
            parts.append(indicators.add_prefix(f"{name}="))
    x = pandas.concat(parts, axis=1)
    mean, sd = x.mean(), x.std()
    filled = IterativeImputer(max_iter=20, random_state=0).fit_transform((x - mean) / sd)
    filled, found = pandas.DataFrame(filled, columns=x.columns) * sd + mean, gaps.copy()
    for name in gaps:
        if name in levels:
            columns = [f"{name}={level}" for level in levels[name]]
            found[name] = np.array(levels[name])[filled[columns].to_numpy().argmax(axis=1)]
        else:
            found[name] = filled[name]
    return (found,)


def by_forests(gaps: Any) -> tuple[Any]:
    """Fill gaps by missForest."""
    import pandas

    numbers = [name for name in gaps if is_number(gaps[name])]
    found, levels = gaps.copy(), {}
    for name in gaps:
        if name in numbers:
            found[name] = gaps[name].astype(float).fillna(gaps[name].astype(float).mean())
        else:
            codes, levels[name] = pandas.factorize(gaps[name])
            found[name] = np.where(codes < 0, np.bincount(codes[codes >= 0]).argmax(), codes)
    order, last = sorted(gaps, key=lambda name: gaps[name].isna().sum()), np.inf
    for _ in range(10):
        before = found.copy()
        for name in order:
            refill(found, name, gaps[name].isna().to_numpy(), [*levels])
        changes = [((found[n] - before[n]) ** 2).sum() / (found[n] ** 2).sum() for n in numbers]
        change = sum(changes) + sum((found[n] != before[n]).mean() for n in levels)
        if change > last:
            found = before
            break
        last = change
    for name in levels:
        found[name] = np.array(levels[name])[found[name].astype(int)]
    return (found,)


def refill(found: Any, name: str, missing: np.ndarray, levels: list[str]) -> None:
    """Predict the missing cells of a column from all others by a forest."""
    import pandas
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if not missing.any():
        return
    others = pandas.get_dummies(
        found.drop(columns=name), columns=[n for n in levels if n != name], dtype=float
    )
    model: Any = RandomForestClassifier if name in levels else RandomForestRegressor
    model = model(n_estimators=100, n_jobs=-1, random_state=0)
    model.fit(others[~missing], found[name][~missing])
    found.loc[missing, name] = model.predict(others[missing])


def is_number(column: Any) -> bool:
    """Whether a column with gaps holds numbers of more than two values."""
    known = column.dropna()
    return all(isinstance(x, int | float) for x in known) and known.nunique() > 2


def errors(table: Any, filled: Any, empty: np.ndarray) -> dict[str, float | None]:
    """Root mean squared error in standard deviations, and error rate, means over columns."""
    squares, rates = [], []
    for name, missing in zip(table, empty.T):
        truth, found = table[name][missing], filled[name][missing]
        if is_number(table[name]):
            error = (found.astype(float) - truth).to_numpy()
            squares.append(np.sqrt(np.mean(error**2)) / table[name].std(ddof=0))
        else:
            rates.append(np.mean([text(x) != text(y) for x, y in zip(found, truth)]))
    mean = {"rmse": squares, "error_rate": rates}
    return {key: float(np.mean(values)) if values else None for key, values in mean.items()}


def text(level: Any) -> str:
    """Level as text: 1 and 1.0 are one."""
    return f"{float(level):g}" if isinstance(level, int | float | np.number) else str(level)


def covered(table: Any, draws: Any, empty: np.ndarray) -> dict[str, float]:
    """Share of the numbers within the central 90 % of their draws, and the number of these.

    By ranks, at random among equal draws: an interval of a grid, ends included, has more than 90 %.
    """
    inside, rng = [], np.random.default_rng(2)
    for name, missing in zip(table, empty.T):
        if is_number(table[name]):
            every = draws[name].to_numpy(float).reshape(DRAWS, -1)[:, missing]
            truth = table[name][missing].to_numpy(float)
            below, ties = (every < truth).sum(axis=0), (every == truth).sum(axis=0)
            rank = (below + rng.random(len(truth)) * (ties + 1)) / (DRAWS + 1)
            inside += [*((rank > 0.05) & (rank < 0.95))]
    return {"share": float(np.mean(inside)), "n": len(inside)}


if __name__ == "__main__":
    main()

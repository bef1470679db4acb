"""Odd rows of the tables of ADBench (Han et al. 2022), by nflow and by detectors of scikit-learn.

Files ``NUMBER_NAME.npz`` of ADBench with numbers ``X`` and ``y``, 1 of an anomaly.
"""

import math
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.runner import Benchmark, Options, Row, groups, markdown, pm

MOST_FITTED, MOST_TESTED = 5_000, 10_000  # rows, of the tested those that are normal
CLEAN, CONTAMINATED = "clean", "contaminated"
NEIGHBOURS = 5
NFLOW, FOREST = "nflow", "isolation forest"
TABLES = (
    *("15_Hepatitis", "21_Lymphography", "39_vertebral", "42_WBC", "43_WDBC", "46_WPBC"),
    *("47_yeast", "7_Cardiotocography", "20_letter", "41_Waveform", "2_annthyroid"),
    *("25_musk", "26_optdigits", "27_PageBlocks", "35_SpamBase", "28_pendigits", "19_landsat"),
    *("31_satimage-2", "24_mnist", "22_magic.gamma", "5_campaign", "32_shuttle", "1_ALOI"),
    *("34_smtp", "8_celeba", "33_skin", "10_cover", "16_http", "11_donors"),
)
SIZES = ((10, "up to 10"), (40, "up to 40"), (10_000, "more"))  # columns


class Rows(NamedTuple):
    """Rows to fit, and to score with whether each is an anomaly."""

    fitted: np.ndarray
    tested: np.ndarray
    are_odd: np.ndarray


def rows_of(case: Row, options: Options) -> Rows:
    """Clean: half of the normal rows are fitted, the other half is scored; contaminated: all rows
    are both. All anomalies are scored: an AUC does not depend on their share.
    """
    found = np.load(options.file(f"{case['table']}.npz"))
    every, y = found["X"].astype(float), found["y"].astype(int)
    rng = np.random.default_rng(0)
    if case["rows"] == CLEAN:
        order = rng.permutation(np.flatnonzero(y == 0))
        fitted, normal = order[: len(order) // 2], order[len(order) // 2 :]
    else:
        fitted, normal = rng.permutation(len(every)), rng.permutation(np.flatnonzero(y == 0))
    tested = np.concatenate([normal[:MOST_TESTED], np.flatnonzero(y == 1)])
    return Rows(every[fitted[:MOST_FITTED]], every[tested], y[tested] == 1)


# Detectors: scores of the tested rows, higher for odd ones


def by_nflow(rows: Rows, is_robust: bool) -> np.ndarray:
    import nflow_cli

    names = [f"x{i}" for i in range(rows.fitted.shape[1])]
    with tempfile.TemporaryDirectory() as folder:
        table = dict(zip(names, rows.fitted.T))
        q = nflow_cli.fit(table, output=f"{folder}/run", robust=is_robust)
        return oddness(q, dict(zip(names, rows.tested.T)))


def oddness(q: Any, table: Any) -> np.ndarray:
    """Oddness of rows, without the surprise of each cell, which ``explain`` computes too."""
    from nflow_cli.tables.row_oddness import row_oddness

    is_robust = q.config.data.robust
    return row_oddness(q.density, q.rows(table), q.held_out, is_robust=is_robust).values


def by_forest(rows: Rows, is_robust: bool) -> np.ndarray:
    from sklearn.ensemble import IsolationForest

    return -IsolationForest(random_state=0).fit(rows.fitted).score_samples(rows.tested)


def by_neighbours(rows: Rows, is_robust: bool) -> np.ndarray:
    """Distance to the fifth neighbour, in standardised columns; a row is not its own one."""
    from sklearn.neighbors import NearestNeighbors

    fitted, tested = standardised(rows)
    found = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(fitted).kneighbors(tested)[0]
    is_own = is_robust & (found[:, 0] < 1e-12)
    return np.where(is_own, found[:, NEIGHBOURS], found[:, NEIGHBOURS - 1])


def by_covariance(rows: Rows, is_robust: bool) -> np.ndarray:
    """Mahalanobis distance by the minimum covariance determinant."""
    from sklearn.covariance import MinCovDet

    fitted, tested = standardised(rows)
    return MinCovDet(random_state=0).fit(fitted).mahalanobis(tested)


def by_tails(rows: Rows, is_robust: bool) -> np.ndarray:
    """ECOD (Li et al. 2022): the tails of each column by itself."""
    from scipy.stats import skew

    n = len(rows.fitted)
    low, high = np.zeros(rows.tested.shape), np.zeros(rows.tested.shape)
    for j, (values, tested) in enumerate(zip(rows.fitted.T, rows.tested.T)):
        ordered = np.sort(values)
        low[:, j] = -np.log((np.searchsorted(ordered, tested, "right") + 1) / (n + 1))
        high[:, j] = -np.log((n - np.searchsorted(ordered, tested, "left") + 1) / (n + 1))
    skewed = np.where(np.nan_to_num(skew(rows.fitted, axis=0)) < 0, low, high)
    return np.max([low.sum(axis=1), high.sum(axis=1), skewed.sum(axis=1)], axis=0)


def standardised(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    mean, deviation = rows.fitted.mean(axis=0), rows.fitted.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return (rows.fitted - mean) / deviation, (rows.tested - mean) / deviation


WAYS: dict[str, Callable[[Rows, bool], np.ndarray]] = {
    NFLOW: by_nflow,
    FOREST: by_forest,
    "nearest neighbours": by_neighbours,
    "ECOD": by_tails,
    "MCD": by_covariance,
}


def adbench(case: Row, options: Options) -> Row:
    """Return the AUC of a detector with its standard error, and its seconds; nflow's fit of
    contaminated rows is robust.
    """
    rows = rows_of(case, options)
    start = time.perf_counter()
    scores = WAYS[case["way"]](rows, case["rows"] == CONTAMINATED)
    seconds = time.perf_counter() - start
    auc, error = area(scores, rows.are_odd)
    facts = {"columns": rows.fitted.shape[1], "fitted": len(rows.fitted), "odd": rows.are_odd.sum()}
    facts = {key: int(value) for key, value in facts.items()}
    return {**facts, "auc": auc, "auc_standard_error": error, "seconds": round(seconds, 1)}


def area(scores: np.ndarray, are_odd: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve, and its standard error (DeLong et al. 1988)."""
    from scipy.stats import rankdata

    odd, normal = scores[are_odd], scores[~are_odd]
    ranks = rankdata(np.concatenate([odd, normal]))
    below = (ranks[: len(odd)] - rankdata(odd)) / len(normal)  # of each odd row: normal ones
    above = 1 - (ranks[len(odd) :] - rankdata(normal)) / len(odd)
    variance = below.var(ddof=1) / len(odd) + above.var(ddof=1) / len(normal)
    return float(below.mean()), math.sqrt(variance)


# The tables of the page


def table(rows: list[Row]) -> str:
    """AUC by table, and means with paired differences, of clean and of contaminated rows."""
    parts = []
    for (protocol,), some in groups(rows, "rows").items():
        parts += [f"{protocol} rows", of_tables(some), means(some)]
    return "\n\n".join(parts)


def of_tables(rows: list[Row]) -> str:
    lines = []
    for (name,), of_table in groups(rows, "table").items():
        found = {row["way"]: row for row in of_table}
        cells = [
            pm(found[way]["auc"], found[way]["auc_standard_error"], 3) if way in found else ""
            for way in WAYS
        ]
        seconds = f"{found[NFLOW]['seconds']:.0f}" if NFLOW in found else ""
        lines.append([name.partition("_")[2], str(of_table[0]["columns"]), *cells, seconds])
    return markdown(["table", "columns", *WAYS, "seconds of nflow"], lines)


def means(rows: list[Row]) -> str:
    """Mean AUC by number of columns, and nflow's paired difference to each, over tables."""
    auc = {(row["table"], row["way"]): row["auc"] for row in rows}
    columns = {row["table"]: row["columns"] for row in rows}
    whole = [name for name in columns if all((name, way) in auc for way in WAYS)]
    lines = []
    least = 0
    for most, label in (*SIZES, (10_000, "all")):
        least = 0 if label == "all" else least
        names = [name for name in whole if least < columns[name] <= most]
        least = most
        if names:
            cells = [f"{np.mean([auc[name, way] for name in names]):.3f}" for way in WAYS]
            lines.append([label, str(len(names)), *cells])
    gains = [""]
    for way in list(WAYS)[1:]:
        found = np.array([auc[name, NFLOW] - auc[name, way] for name in whole])
        error = found.std(ddof=1) / math.sqrt(len(found)) if len(found) > 1 else 0.0
        gains.append(f"{found.mean():+.3f} ± {error:.3f}" if len(found) else "")
    lines.append(["nflow less this", str(len(whole)), *gains])
    return markdown(["columns", "tables", *WAYS], lines)


BENCHMARKS = [
    Benchmark(
        "adbench",
        [
            {"table": name, "rows": rows, "way": way}
            for rows in (CLEAN, CONTAMINATED)
            for name in TABLES
            for way in (*list(WAYS)[1:], NFLOW)
        ],
        adbench,
        table,
    )
]

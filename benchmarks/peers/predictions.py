"""Predictions of one column by other libraries. Nothing of nflow is imported.

The rows have a column `part`. NGBoost: normal, 2,000 trees at most, stopped by the validation rows;
of diamonds of log10 of the price. Quantile forest: 100 trees, 5 rows a leaf.
"""

import math
import time

import numpy as np
import pandas
from ngboost import NGBRegressor
from quantile_forest import RandomForestQuantileRegressor
from scipy import stats

QUANTILES = np.round(np.arange(0.05, 0.96, 0.05), 2)
TREES = 2_000


def scores(task: str, path: str, target: str) -> dict[str, dict[str, float]]:
    """Return the scores of both libraries."""
    table = pandas.read_csv(path)
    x = pandas.get_dummies(table.drop(columns=[target, "part"])).to_numpy(float)
    y = table[target].to_numpy(float)
    parts = [(table.part == part).to_numpy() for part in ("train", "validation", "test")]
    found = {"ngboost": of_ngboost(x, np.log10(y) if task == "diamonds" else y, parts)}
    if task == "diamonds":
        found["ngboost"].pop("pinball")  # of another unit
    found["quantile_forest"] = of_forest(x, y, parts)
    return found


def of_ngboost(x: np.ndarray, y: np.ndarray, parts: list[np.ndarray]) -> dict[str, float]:
    train, validation, test = parts
    begin = time.perf_counter()
    model = NGBRegressor(n_estimators=TREES, verbose=False, random_state=0)
    model.fit(x[train], y[train], x[validation], y[validation], early_stopping_rounds=50)
    normal = model.pred_dist(x[test], max_iter=model.best_val_loss_itr).params
    nll = -stats.norm(normal["loc"], normal["scale"]).logpdf(y[test])
    ends = stats.norm(normal["loc"][:, None], normal["scale"][:, None]).ppf(QUANTILES)
    return {
        "nll": nll.mean(),
        "nll_standard_error": nll.std(ddof=1) / math.sqrt(len(nll)),
        "pinball": pinball(ends, y[test]),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def of_forest(x: np.ndarray, y: np.ndarray, parts: list[np.ndarray]) -> dict[str, float]:
    fitted, test = parts[0] | parts[1], parts[2]
    begin = time.perf_counter()
    model = RandomForestQuantileRegressor(min_samples_leaf=5, random_state=0, n_jobs=2)
    model.fit(x[fitted], y[fitted])
    ends = model.predict(x[test], quantiles=list(QUANTILES))
    seconds = round(time.perf_counter() - begin, 1)
    return {"pinball": pinball(ends, y[test]), "seconds": seconds}


def pinball(quantiles: np.ndarray, y: np.ndarray) -> float:
    off = y[:, None] - quantiles
    return float(np.maximum(QUANTILES * off, (QUANTILES - 1) * off).mean())

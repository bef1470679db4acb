"""How well a classifier distinguishes draws of a table from its rows."""

import math
from typing import Any, NamedTuple

import numpy as np

FOLDS = 5


class Encoded(NamedTuple):
    """Rows and draws as arrays of one encoding.

    Attributes:
        levels: ``(C,)`` of the C columns, whether a column holds levels.
        rows: ``(n, C)``: numbers, days of dates, levels by their rank; NaN where missing.
        draws: ``(m, C)``.
    """

    levels: np.ndarray
    rows: np.ndarray
    draws: np.ndarray


class Mean(NamedTuple):
    """A mean over repeats, and its standard error by their spread."""

    value: float
    error: float


def encoded(rows: Any, draws: Any) -> Encoded:
    """Encode two DataFrames of the same columns.

    A column whose rows are all numbers, or all dates, holds numbers, in single precision: 3.2 and
    3.200000047683716 are one. Of any other, the levels are those of rows and draws together, so one
    that no row has is visible.

    Raises:
        ValueError: A column of numbers or dates has a draw that is none.
    """
    found = [_column(rows[name], draws[name]) for name in rows]
    levels, real, drawn = (np.stack(part, axis=-1) for part in zip(*found))
    return Encoded(levels, real, drawn)


def _column(rows: Any, draws: Any) -> tuple[bool, np.ndarray, np.ndarray]:
    """Return whether a column holds levels, and its rows and draws as numbers."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(rows) and rows.dtype != bool:
        return False, _numbers(rows), _numbers(draws)
    days = pd.to_datetime(rows.astype("string"), errors="coerce", format="ISO8601")
    if days.notna().sum() == rows.notna().sum() > 0:
        return False, _days(rows), _days(draws)
    both = pd.concat([rows, draws]).astype("string")
    codes = both.astype("category").cat.codes.to_numpy(np.float64)
    codes[codes < 0] = np.nan
    return True, codes[: len(rows)], codes[len(rows) :]


def _numbers(column: Any) -> np.ndarray:
    """Return numbers to the digits that float32 has."""
    import pandas as pd

    values = pd.to_numeric(column).to_numpy(np.float64, na_value=np.nan)
    return values.astype(np.float32).astype(np.float64)


def _days(column: Any) -> np.ndarray:
    """Return dates as days since 1970, NaN where missing."""
    import pandas as pd

    dates = pd.to_datetime(column.astype("string"), format="ISO8601")
    return ((dates - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy(np.float64)


def auc(rows: np.ndarray, draws: np.ndarray, seed: int) -> float:
    """Return the area under the ROC curve of a classifier of rows ``(n, C)`` and draws ``(m, C)``.

    Scikit-learn's ``HistGradientBoostingClassifier`` by its defaults, the mean of five folds. 0.5
    where they cannot be distinguished; by chance also below.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from threadpoolctl import threadpool_limits

    x = np.concatenate([rows, draws])
    y = np.arange(len(x)) >= len(rows)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    classifier = HistGradientBoostingClassifier(random_state=seed)
    with threadpool_limits(1):  # trees are too small to share between threads
        return float(cross_val_score(classifier, x, y, scoring="roc_auc", cv=folds).mean())


def at_least_half(areas: list[float]) -> Mean:
    """Return ``max(mean, 1/2)`` of some areas, with the standard error of the mean."""
    error = np.std(areas, ddof=1) / math.sqrt(len(areas)) if len(areas) > 1 else math.nan
    return Mean(max(float(np.mean(areas)), 0.5), float(error))

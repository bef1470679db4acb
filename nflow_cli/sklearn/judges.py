"""Boosted trees that judge synthetic rows: how well draws and rows are told apart, and what a model
trained on draws predicts.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from threadpoolctl import threadpool_limits

FOLDS = 5
TREES = 50  # of a prediction
MOST_LEVELS = 4  # of a column that is predicted; further ones are one
MOST_CODES = 254  # of a column that predicts: further ones are numbers

# Threads of trees of so few rows wait for one another longer than they work.
with_one_thread = threadpool_limits.wrap(limits=1, user_api="openmp")


@with_one_thread
def told_apart(first: np.ndarray, second: np.ndarray, are_levels: np.ndarray, seed: int) -> float:
    """AUC of a classifier of two samples ``(n, C)`` and ``(m, C)``, in five-fold cross-validation:
    0.5 if they are of one law.
    """
    rows = _features(np.concatenate([first, second]), are_levels)
    labels = np.repeat([0, 1], [len(first), len(second)])
    model = HistGradientBoostingClassifier(
        categorical_features=_categories(rows, are_levels), random_state=seed
    )
    p = cross_val_predict(model, rows, labels, cv=FOLDS, method="predict_proba")[:, 1]
    return float(roc_auc_score(labels, p))


@with_one_thread
def skill(
    train: np.ndarray, test: np.ndarray, place: int, are_levels: np.ndarray, seed: int
) -> float | None:
    """Skill in predicting a column of test rows by a model of training rows ``(n, C)``: of levels
    ``2 AUC - 1``, the mean over levels, of numbers 1 minus the absolute error over that of the
    median. None if there is nothing to predict.
    """
    known_train = train[~np.isnan(train[:, place])]
    known_test = test[~np.isnan(test[:, place])]
    if len(known_train) < FOLDS or len(known_test) < FOLDS:
        return None
    others = np.arange(train.shape[1]) != place
    features = _features(np.concatenate([known_train, known_test])[:, others], are_levels[others])
    of_train = features[: len(known_train)]
    of_test = features[len(known_train) :]
    categories = _categories(features, are_levels[others])
    y = known_train[:, place]
    truth = known_test[:, place]
    if not are_levels[place]:
        model = HistGradientBoostingRegressor(
            loss="absolute_error",
            max_iter=TREES,
            categorical_features=categories,
            random_state=seed,
        )
        error = np.abs(model.fit(of_train, y).predict(of_test) - truth).mean()
        plain = np.abs(np.median(y) - truth).mean()
        return float(1 - error / plain) if plain > 0 else None
    levels, counts = np.unique(y, return_counts=True)
    frequent = levels[np.argsort(-counts, kind="stable")[:MOST_LEVELS]]
    y = np.where(np.isin(y, frequent), y, -2.0)
    truth = np.where(np.isin(truth, frequent), truth, -2.0)
    if len(np.unique(y)) < 2:
        return None
    model = HistGradientBoostingClassifier(
        max_iter=TREES, categorical_features=categories, random_state=seed
    )
    p = model.fit(of_train, y).predict_proba(of_test)
    aucs = [
        roc_auc_score(truth == level, p[:, i])
        for i, level in enumerate(model.classes_)
        if 0 < np.mean(truth == level) < 1
    ]
    return float(2 * np.mean(aucs) - 1) if aucs else None


def _features(rows: np.ndarray, are_levels: np.ndarray) -> np.ndarray:
    """Rows whose levels are codes from 0 on, a gap another code."""
    features = rows.copy()
    for place in np.flatnonzero(are_levels):
        features[:, place] = np.unique(rows[:, place], return_inverse=True)[1]
    return features


def _categories(features: np.ndarray, are_levels: np.ndarray) -> Sequence[bool]:
    """Which columns are categories: levels, unless there are too many."""
    return [
        bool(has_levels) and bool(features[:, place].max(initial=0) <= MOST_CODES)
        for place, has_levels in enumerate(are_levels)
    ]

"""Probabilities of classes by CatBoost. Nothing of nflow is imported."""

import time
from typing import Any

import pandas
from catboost import CatBoostClassifier


def probabilities(folder: str, target: str, levels: list[str]) -> dict[str, Any]:
    """Return probabilities by class of the rows of ``test.csv`` of a folder, fitted to those of
    ``train.csv``, and the seconds of both.
    """
    tables = [pandas.read_csv(f"{folder}/{name}.csv") for name in ("train", "test")]
    train, test = (texts_in(table, levels) for table in tables)
    start = time.perf_counter()
    model = CatBoostClassifier(
        cat_features=levels, random_seed=0, verbose=False, allow_writing_files=False
    )
    model.fit(train.drop(columns=target), train[target].astype(str))
    fitted = time.perf_counter()
    p = model.predict_proba(test.drop(columns=target))
    predicted = time.perf_counter()
    return {
        "seconds": [fitted - start, predicted - fitted],
        "probabilities": {str(level): list(p[:, k]) for k, level in enumerate(model.classes_)},
    }


def texts_in(table: pandas.DataFrame, levels: list[str]) -> pandas.DataFrame:
    """Table whose columns of levels are texts, their gaps too."""
    texts = table[levels].astype(object).map(str)
    return table.drop(columns=levels).join(texts)[list(table)]

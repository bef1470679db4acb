"""Paired differences between fits to a table, by test row."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.evaluation.tallies import Moments
from nflow_cli.runs.array_shapes import ROW_WEIGHTS, ROWS, Shapes
from nflow_cli.sweeps.compare import Group, Result, rank

# Keys of the data that change neither test rows nor columns nor units.
OTHERS = ("name", "bounds", "exclude")


class Difference(NamedTuple):
    """Mean of ``log q - log q_best`` over test rows in nats, and its standard error."""

    value: float
    standard_error: float


def differences(groups: Sequence[Group]) -> list[Difference | None]:
    """Difference of each group's best run from the best run on the same test rows.

    ``None`` for the best, and where test rows differ, are unknown or were not kept.
    """
    best: dict[Any, Result] = {}
    rows = [_rows_judged(group.best) for group in groups]
    for key, group in zip(rows, groups):
        if key is not None and (key not in best or rank(group.best) < rank(best[key])):
            best[key] = group.best
    return [
        None if key is None or best[key] is group.best else _difference(group.best, best[key])
        for key, group in zip(rows, groups)
    ]


def _rows_judged(result: Result) -> Any:
    if not _shapes(result):
        return None
    settings = result.config.model_dump(mode="json")["data"]
    same = {key: value for key, value in settings.items() if key not in OTHERS}
    return result.summary["data"].get("sha256"), json.dumps(same)


def _difference(one: Result, other: Result) -> Difference | None:
    (a, weights), (b, _) = _rows(one), _rows(other)
    if a.shape != b.shape:
        return None
    with np.errstate(invalid="ignore"):  # of infinities
        moments = Moments.of(a - b, weights)
    error = moments.standard_error
    return None if error is None else Difference(moments.mean, error)


def _rows(result: Result) -> tuple[np.ndarray, np.ndarray | None]:
    arrays = result.directory.read_evaluation(_shapes(result))
    return arrays["test_log_q"], arrays.get("test_weights")


def _shapes(result: Result) -> Shapes:
    shapes = result.report.shapes_of(result.config)
    return {key: shapes[key] for key in (*ROWS, *ROW_WEIGHTS) if key in shapes}

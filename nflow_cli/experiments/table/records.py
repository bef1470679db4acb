"""Checks of the records of a run's table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nflow_cli.data.named_tables import IN_PYTHON
from nflow_cli.data.table_files import STDIN
from nflow_cli.evaluation.verdicts import Outcome, Verdict
from nflow_cli.experiments.checked_run import CheckedRun

RECORD_TOLERANCE = 1e-6  # of fitted numbers


def is_gone(run: CheckedRun) -> bool:
    """Return whether the table of a run cannot be read again."""
    return run.config.subject in (STDIN, IN_PYTHON)


def skip_gone(run: CheckedRun) -> Verdict:
    """Report that the table cannot be read again."""
    source = "standard input" if run.config.subject == STDIN else "Python"
    text = f"the table came from {source} and cannot be read again: no scores, no pictures checked"
    return Outcome.UNKNOWN, text


def unlike_records(file: str, expected: Any, received: Any) -> list[str]:
    """Return an error if records of units differ beyond rounding."""
    shapes, numbers = zip(*(_flattened(record) for record in (expected, received)))
    same = shapes[0] == shapes[1] and np.allclose(*numbers, rtol=RECORD_TOLERANCE, atol=0)
    return [] if same else [f"{file}: units: expected {expected!r:.80}, received {received!r:.80}"]


def _flattened(record: Any) -> tuple[Any, list[float]]:
    if isinstance(record, float | int) and not isinstance(record, bool):
        return None, [float(record)]
    if isinstance(record, Mapping):
        record = list(record.items())
    if not isinstance(record, list | tuple):
        return record, []
    shapes, numbers = [], []
    for part in record:
        shape, inner = _flattened(part)
        shapes.append(shape)
        numbers += inner
    return shapes, numbers

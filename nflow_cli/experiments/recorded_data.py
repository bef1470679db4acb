"""Reloading the data of a run, with checksums."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from nflow_cli.config.strict import MAX_PATH
from nflow_cli.constants import RUN
from nflow_cli.data.column_maps import ColumnMap, recorded_map
from nflow_cli.data.units import ColumnUnits
from nflow_cli.errors import DataError, RunDirectoryError
from nflow_cli.experiments.run import Run
from nflow_cli.registry import POINT_SETS

MAX_MAPS = 8  # of a column
# Checksums of a record of data, by what they are of.
CHECKSUMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "test rows": lambda record: record_of_tests(record).get("sha256"),
    "weights": lambda record: record.get("weights_sha256"),
    "data": lambda record: record.get("sha256"),
}


def found_again(run: Run, load: Callable[[str], Any]) -> Any:
    """Reload the rows of a run, and compare checksums."""
    recorded = record_of_data(run)
    place = place_of(recorded)
    try:
        points = load(place)
    except DataError:
        if not os.path.exists(place) and place not in POINT_SETS:
            raise
        # Without the reason, which would show a part of a file: a stranger's run may name any.
        raise DataError(
            f"{place}: not the data of this run; expected rows of SHA-256 "
            f"{recorded.get('sha256')!r:.70}"
        ) from None
    for what, of in CHECKSUMS.items():
        received, expected = of(points.record()), of(recorded)
        if received != expected:
            raise DataError(
                f"{points.name}: not the {what} of this run; expected SHA-256 {expected!r:.70}, "
                f"received {received}"
            )
    received, expected = (of.get("copies", 0) for of in (points.record(), recorded))
    if received != expected:
        raise DataError(
            f"{points.name}: not the rows of this run: {received:,} are copies of earlier ones, "
            f"expected {expected!r:.70}"
        )
    return replace(points, name=recorded["name"])


def record_of_tests(record: dict[str, Any]) -> dict[str, Any]:
    """Record of a file of test rows in that of data; empty if there is none."""
    tests = record.get("test")
    return tests if isinstance(tests, dict) else {}


def sources_of(run: Run) -> list[str]:
    """Files that a run was made from, where they are now: a table, test rows, draws or code."""
    data: Any = run.record.get("data")
    if not is_named(data):
        return []
    paths = data.get("paths")  # of draws
    more = paths if isinstance(paths, list) else []
    places = [place_of(record) for record in (data, record_of_tests(data)) if is_named(record)]
    return [*places, *(path for path in more if isinstance(path, str))]


def is_data_of(run: Run, sha256: str) -> bool:
    """Whether a checksum is that of a run's rows, in their order."""
    return sha256 == record_of_data(run).get("sha256")


def column_units(run: Run, names: Sequence[str], kind: str = "units") -> ColumnUnits:
    """Recorded units of numeric columns of a run: ``units`` or ``straight_units``."""
    record = record_of_data(run)
    try:
        return ColumnUnits([_maps(record[kind][name]) for name in names])
    except (KeyError, TypeError, ValueError):
        raise RunDirectoryError(f"{run.path / RUN}: damaged: expected the units of data") from None


def _maps(records: Any) -> list[ColumnMap]:
    if not isinstance(records, list) or not 1 <= len(records) <= MAX_MAPS:
        raise ValueError("expected maps")
    return list(map(recorded_map, records))


def record_of_data(run: Run) -> dict[str, Any]:
    """Record of the data of a run."""
    recorded: Any = run.record.get("data")
    if not is_named(recorded):
        raise RunDirectoryError(f"{run.path / RUN}: damaged: expected the data's name and sha256")
    return recorded


def is_named(record: Any) -> bool:
    """Whether a record of data has a valid name."""
    name = record.get("name") if isinstance(record, dict) else None
    return isinstance(name, str) and len(name) <= MAX_PATH


def place_of(recorded: dict[str, Any]) -> str:
    """Path of the data, if it still exists, or else their name."""
    path = recorded.get("path")
    return path if isinstance(path, str) and os.path.exists(path) else recorded["name"]

"""The data that a run was trained on or is judged by, found again. No Keras here."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nflow_cli.config.strict import MAX_PATH
from nflow_cli.config.table_schema import TableData
from nflow_cli.data.images import Images, load_images
from nflow_cli.data.units import ColumnUnits, recorded_given_units
from nflow_cli.errors import DataError, RunDirectoryError
from nflow_cli.registry import POINT_SETS
from nflow_cli.runs.directory import RUN, RunDirectory


def images_of(run: RunDirectory) -> Images:
    """Load the images of a train-vae run again, and see that they are the same.

    Raises:
        RunDirectoryError: If the run does not say what they were.
        DataError: If they cannot be read, or are others now.
    """
    recorded = _recorded(run)
    return _checked(recorded, load_images(_place(recorded), fallback=False))


def found_again(run: RunDirectory, load: Callable[[str], Any]) -> Any:
    """Load the rows that a run was fitted to again, and see that they are the same.

    Args:
        run: Whose rows.
        load: Reads or draws them, by their path or their name.

    Raises:
        RunDirectoryError: If the run does not say what they were.
        DataError: If they cannot be read, or are others now.
    """
    recorded = _recorded(run)
    place = _place(recorded)
    try:
        points = load(place)
    except DataError:
        if not os.path.exists(place) and place not in POINT_SETS:
            raise
        # Not what is wrong: a stranger's run may name any file, and that would show a part of it.
        raise DataError(
            f"{place}: not the data of this run; expected rows of SHA-256 "
            f"{recorded.get('sha256')!r:.70}"
        ) from None
    received, expected = (_tests(record).get("sha256") for record in (points.record(), recorded))
    if received != expected:
        raise DataError(
            f"{points.name}: not the test rows of this run; expected those of SHA-256 "
            f"{expected!r:.70}, received {received}"
        )
    received, expected = (r.get("weights_sha256") for r in (points.record(), recorded))
    if received != expected:
        raise DataError(
            f"{points.name}: not the weights of this run; expected those of SHA-256 "
            f"{expected!r:.70}, received {received}"
        )
    return _checked(recorded, points)


def with_tests(run: RunDirectory, settings: TableData) -> TableData:
    """Return the settings of a run with the place where its file of test rows is, if it has one.

    Raises:
        DataError: It is not there.
    """
    if settings.test is None:
        return settings
    tests = _tests(_recorded(run))
    place = _place(tests) if is_named(tests) else settings.test
    if not os.path.exists(place):
        raise DataError(f"{place}: no such table; expected the test rows of this run")
    return settings.model_copy(update={"test": place})


def _tests(record: dict[str, Any]) -> dict[str, Any]:
    tests = record.get("test")
    return tests if isinstance(tests, dict) else {}


def is_data_of(run: RunDirectory, sha256: str) -> bool:
    """Return whether rows of that checksum are those that a run has, in their order."""
    return sha256 == _recorded(run).get("sha256")


def units_of(run: RunDirectory, dim: int) -> ColumnUnits:
    """Return the units of D = ``dim`` columns that a run was trained in.

    Raises:
        RunDirectoryError: If the run does not say.
    """
    return _recorded_units(run, ColumnUnits.recorded, dim)


def given_units_of(run: RunDirectory, count: int) -> ColumnUnits:
    """Return the units of the so many given numbers of a run.

    Raises:
        RunDirectoryError: If the run does not say.
    """
    return _recorded_units(run, recorded_given_units, count)


def _recorded_units(run: RunDirectory, read: Callable[[Any, int], Any], count: int) -> Any:
    try:
        return read(_recorded(run), count)
    except (TypeError, ValueError):
        raise RunDirectoryError(
            f"{run.path / RUN}: damaged: expected the units of the data"
        ) from None


def _recorded(run: RunDirectory) -> dict[str, Any]:
    recorded: Any = run.read_json(RUN).get("data")
    if not is_named(recorded):
        raise RunDirectoryError(f"{run.path / RUN}: damaged: expected the data's name and sha256")
    return recorded


def is_named(record: Any) -> bool:
    """Return whether a record of data holds their name."""
    name = record.get("name") if isinstance(record, dict) else None
    return isinstance(name, str) and len(name) <= MAX_PATH


def _place(recorded: dict[str, Any]) -> str:
    """Return where the data are: where they were, or else what they were called."""
    path = recorded.get("path")
    return path if isinstance(path, str) and os.path.exists(path) else recorded["name"]


def _checked(recorded: dict[str, Any], data: Any) -> Any:
    if data.sha256 != recorded.get("sha256"):
        raise DataError(
            f"{data.name}: not the data of this run; expected SHA-256 "
            f"{recorded.get('sha256')!r:.70}, received {data.sha256}"
        )
    return replace(data, name=recorded["name"])

"""Format of a run directory, and the versions of nflow that read it."""

from collections.abc import Mapping
from typing import Any

from nflow_cli.constants import __version__
from nflow_cli.errors import RunDirectoryError

FORMAT = 4  # in run.json
VERSIONS, NFLOW = "versions", "nflow-cli"  # in run.json: of each package, and of this one


def signed(record: Mapping[str, Any]) -> dict[str, Any]:
    """``run.json`` with the format and this version."""
    versions = {NFLOW: __version__, **record.get(VERSIONS, {})}
    return {"format": FORMAT, **record, VERSIONS: versions}


def expect_readable(path: str, record: Mapping[str, Any]) -> None:
    """Check that this version can read a run: its format and, if a development version wrote it,
    that version.
    """
    number, known = record.get("format"), record.get(VERSIONS)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise RunDirectoryError(f"{path}: damaged: expected a format number")
    if number > FORMAT:
        raise RunDirectoryError(
            f"{path}: format {number}, written by a newer nflow; this one reads {FORMAT}"
        )
    if number < FORMAT:
        raise RunDirectoryError(
            f"{path}: a run of format {number}, of an earlier version of nflow; this "
            f"one reads format {FORMAT} of {__version__}: train it again"
        )
    writer = known.get(NFLOW) if isinstance(known, Mapping) else None
    if not isinstance(writer, str):
        raise RunDirectoryError(f"{path}: damaged: expected the version of {NFLOW}")
    if writer != __version__ and ".dev" in writer:
        raise RunDirectoryError(
            f"{path}: written by nflow {writer:.40}; this is {__version__}, and a development "
            "version's runs are read by no other: train it again"
        )

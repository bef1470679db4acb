"""Largest surprises of held-out rows, kept in the run's directory; they may be a stranger's."""

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from nflow_cli.constants import __version__
from nflow_cli.errors import RunDirectoryError
from nflow_cli.experiments.cells.explain import LARGEST, largest, surprises
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.weights_file import sha256_of

if TYPE_CHECKING:
    from nflow_cli.experiments.cells.loading import TrainedCells

KEPT = "surprises.json"
MOST = 500  # held-out rows


def largest_of_held_out(trained: "TrainedCells") -> np.ndarray:
    """Largest surprise ``(m,)`` of a cell of held-out rows; computed if not kept, and then kept.

    Kept ones are taken if they are of the same rows, weights and version, and numbers from 0 to the
    most; a folder that cannot be written keeps none.
    """
    rows = trained.held_out
    chosen = stream(trained.config.seed, "explained rows").permutation(len(rows))[:MOST]
    rows, run = rows[np.sort(chosen)], RunDirectory(trained.path)
    of = {"nflow": __version__, "sha256": sha256_of({**trained.arrays, "rows": rows})}
    with suppress(RunDirectoryError):
        kept = run.read_json(KEPT)
        values = kept.pop("largest", None)
        if kept == of and isinstance(values, list) and _are_largest(values, len(rows)):
            return np.array(values, float)
    found = largest(surprises(trained, rows))
    with suppress(RunDirectoryError):
        run.write_json(KEPT, {**of, "largest": found.tolist()})
    return found


def _are_largest(values: list[object], n: int) -> bool:
    return len(values) == n and all(
        isinstance(one, float | int) and 0 <= one <= LARGEST for one in values
    )

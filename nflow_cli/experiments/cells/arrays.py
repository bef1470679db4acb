"""Arrays of the pictures of a fit to a whole table."""

from collections.abc import Mapping

import numpy as np

from nflow_cli.data.dataset import Dataset
from nflow_cli.densities.cells.density import CellDensity
from nflow_cli.random_streams import stream
from nflow_cli.runs.array_shapes import SHOWN_SAMPLES


def pictures(
    density: CellDensity,
    data: Dataset,
    estimated: Mapping[str, np.ndarray],
    seed: int,
    keeps_rows: bool,
) -> dict[str, np.ndarray]:
    """Test rows, draws with their log-density, and the PIT of test cells."""
    rows = data.test[:SHOWN_SAMPLES] if keeps_rows else data.test[:0]
    given = np.resize(data.test, (min(SHOWN_SAMPLES, len(data.train)), data.test.shape[1]))
    draws = density.draw(given, stream(seed, "shown"))
    shown = {"rows": rows, "draws": draws, "draws_log_q": density.log_prob(draws)}
    shown["pit"] = estimated["pit"][:SHOWN_SAMPLES]
    if not keeps_rows:
        return shown
    log_q = np.nan_to_num(estimated["log_q"], nan=0.0, neginf=-np.inf).sum(axis=1)
    weights = {} if data.weights.test is None else {"test_weights": data.weights.test}
    return {**shown, "test_log_q": log_q, **weights}

"""Training of a density of cells by maximum likelihood, in the compiled loop."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.density import Encoded
from nflow_cli.densities.cells.heads import log_cells
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.weights import CellWeights
from nflow_cli.training.trainer import ChunkTrainer


class FitCells(ChunkTrainer):
    """The networks of a density of cells, side by side.

    Args:
        layout: Of each network.
        columns: Of a row.
        trained: The weights of all networks.
        shift: What is added to the mean log-probability of a row in nats, so that it is that of the
            table's units: a density is a mass over the width of its interval.
    """

    terms = ("loss",)

    def __init__(
        self, layout: Layout, columns: Sequence[CellColumn], trained: CellWeights, shift: float
    ):
        super().__init__()
        self.layout, self.trained, self.shift = layout, trained, shift
        self.restarts = (trained.count,)
        floors = [columns[i].floor for i in layout.mixed]
        self.floors = np.array(floors, np.float32).reshape(-1, 1, 1)
        numbers = layout.with_numbers
        self.mixed = np.array([numbers.index(i) for i in layout.mixed], np.int32)
        self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """Return the :meth:`negative_log_likelihood` of packed rows ``(E, batch_size)``."""
        return {"loss": self.negative_log_likelihood(batch)}

    def negative_log_likelihood(self, packed: Any, weights: Any = None) -> Any:
        """Return ``-mean log q(row)`` in nats ``(R,)`` of rows ``(…, E, n)``, weighted."""
        log_q = ops.sum(self.log_cells(packed), axis=-2)
        if weights is not None:
            return -ops.sum(weights * log_q, axis=-1) / ops.sum(weights) - self.shift
        return -ops.mean(log_q, axis=-1) - self.shift

    def log_cells(self, packed: Any) -> Any:
        """Return the log-probabilities ``(R, D, n)`` of the cells of packed rows ``(…, E, n)``."""
        layout, n_numbers = self.layout, len(self.layout.with_numbers)
        codes = packed[..., : layout.n_columns, :]
        centre = packed[..., layout.n_columns : layout.n_columns + n_numbers, :]
        half = packed[..., layout.n_columns + n_numbers :, :]
        x = network.inputs(layout, codes, centre, ops)
        weights = network.masked(layout, self.trained.arrays)
        parameters = network.parameters(layout, weights, self.floors, x, ops)
        mixed = [ops.take(part, self.mixed, axis=-2) for part in (centre, half)]
        return log_cells(layout, parameters, codes, *mixed, xp=ops)


def packed(encoded: Encoded) -> np.ndarray:
    """Return encoded rows as one array ``(n, E)``, float32: codes, centres, half widths."""
    return np.concatenate(encoded, axis=0).T.astype(np.float32)

"""Training of a density of cells by maximum likelihood, in the compiled loop."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn
from nflow_cli.densities.cells.density import Encoded, limits_of
from nflow_cli.densities.cells.heads import log_cells
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.weights import CellWeights
from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import PointChunks
from nflow_cli.training.trainer import ChunkTrainer

HIDING = 1 / 7  # of the rows of a batch


class FitCells(ChunkTrainer):
    """The networks of a density of cells, side by side.

    Args:
        layout: Of each network.
        columns: Of a row.
        trained: The weights of all networks.
        start: What is added to them, by name: the decay of weights pulls to it.
        shift: What is added to the mean log-probability of a row in nats, so that it is that of the
            table's units: a density is a mass over the width of its interval.
    """

    terms = ("loss",)

    def __init__(
        self,
        layout: Layout,
        columns: Sequence[CellColumn],
        trained: CellWeights,
        start: Mapping[str, np.ndarray],
        shift: float,
    ):
        super().__init__()
        self.layout, self.trained, self.shift = layout, trained, shift
        self.start = {name: array.astype(np.float32) for name, array in start.items()}
        self.restarts = (trained.count,)
        self.limits = limits_of(columns, layout).astype(np.float32)
        self.with_numbers = np.array(
            [layout.columns.index(i) for i in layout.with_numbers], np.int32
        )
        self.intervals = np.array(layout.intervals, np.int32)
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
        """Return the log-probabilities ``(R, D, n)`` of the cells of packed rows ``(…, E, n)``.

        Where rows of 0 and 1 follow, one a column, the cells of 1 are hidden from the network.
        """
        layout, n_numbers = self.layout, len(self.layout.with_numbers)
        n_intervals = n_numbers + len(layout.coarse)
        ends = np.cumsum([0, layout.n_columns, n_intervals, n_intervals, layout.n_columns])
        codes, centre, half, hidden = (
            packed[..., start:end, :] for start, end in itertools.pairwise(ends)
        )
        seen = codes, centre[..., :n_numbers, :]
        if hidden.shape[-2]:
            of_numbers = ops.take(hidden, self.with_numbers, axis=-2)
            seen = ops.where(hidden > 0, -1.0, codes), ops.where(of_numbers > 0, 0.0, seen[1])
        x = network.inputs(layout, *seen, ops)
        arrays = {
            name: array + self.start[name] if name in self.start else array
            for name, array in self.trained.arrays.items()
        }
        weights = network.masked(layout, arrays)
        parameters = network.parameters(layout, weights, self.limits, x, ops)
        mixed = [ops.take(part, self.intervals, axis=-2) for part in (centre, half)]
        return log_cells(layout, parameters, codes, *mixed, xp=ops)

    def members(self) -> list[dict[str, np.ndarray]]:
        """Return the weights of each network with their start, float32."""
        return [
            {name: array + self.start.get(name, np.float32(0)) for name, array in one.items()}
            for one in self.trained.members()
        ]


class CellChunks(PointChunks):
    """Batches of packed rows, in some of which cells are hidden from the network.

    So the network learns what each cell is given any of those before it, as it must of a row whose
    cells are not all known. A row in seven hides each of its cells with one probability, which is
    uniform from row to row.

    Args:
        n_columns: C.
        arguments: As of :class:`~nflow_cli.training.chunks.PointChunks`.
    """

    def __init__(self, n_columns: int, *arguments: Any):
        super().__init__(*arguments)
        self.n_columns = n_columns

    def drawn(self, seed: int, index: int) -> np.ndarray:
        """Draw the rows of chunk ``index``, and which of their cells are hidden."""
        rows, rng = super().drawn(seed, index), stream(seed, "hidden", index)
        shape = (self.chunk, 1, self.batch_size)
        share = np.where(rng.random(shape) < HIDING, rng.random(shape), 0.0).astype(np.float32)
        hidden = rng.random((self.chunk, self.n_columns, self.batch_size), np.float32) < share
        return np.concatenate([rows, hidden.astype(np.float32)], axis=1)


def packed(layout: Layout, encoded: Encoded) -> np.ndarray:
    """Return encoded rows as one array ``(n, E)``, float32: codes, centres, half widths.

    A cell of what no training row is counts as unknown: a network learns nothing of it.
    """
    learnt = np.array([layout.outcomes[i].learnt for i in layout.columns])[:, None]
    codes = np.where(encoded.codes < learnt, encoded.codes, UNKNOWN)
    return np.concatenate([codes, encoded.centre, encoded.half], axis=0).T.astype(np.float32)

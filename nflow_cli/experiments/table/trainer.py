"""Training model of a density of cells."""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.backend.programs import compiled
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn
from nflow_cli.densities.cells.density import CellDensity, CellScores, limits_of
from nflow_cli.densities.cells.heads import LogCells, log_cells, log_masses, mixed, with_presence
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.start import StartingWeights
from nflow_cli.densities.cells.weights import CellWeights
from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import PointChunks
from nflow_cli.training.trainer import ChunkTrainer

HIDING = 1 / 7  # of the rows of a batch
FLOOR = 0.01  # weight of the marginals in the loss, which bounds the effect of outliers
LEAST = -1e4  # nats; finite in float32


class FitCells(ChunkTrainer):
    """Networks of a density of cells, side by side.

    Args:
        layout: Of each network.
        columns: Of a row.
        trained: Weights of all networks.
        start: Initial density, to which weight decay pulls, added to the weights, and their units.
        log_present: Log-probabilities ``(D, 1)`` by the marginals that a cell is not missing, given
            that it is not new.
        shift: Nats from the mean log-probability of a row to its log-density in the table's units:
            a density is a mass over the width of its interval.
    """

    terms = ("loss",)

    def __init__(
        self,
        layout: Layout,
        columns: Sequence[CellColumn],
        trained: CellWeights,
        start: StartingWeights,
        log_present: np.ndarray,
        shift: float,
    ):
        super().__init__()
        self.layout, self.trained, self.start, self.shift = layout, trained, start, shift
        self.log_present = log_present.astype(np.float32)
        self.restarts = (trained.count,)
        self.limits = limits_of(columns, layout).astype(np.float32)
        self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """``-mean log q(row)`` in nats ``(R,)`` of packed rows ``(E, batch_size)``.

        ``q`` mixes each cell with its marginal by a fixed weight, which bounds the loss of a cell.
        Of rows with filled gaps the values count, not that they are present.
        """
        network, marginal = self.log_cells(batch), self.marginal_log_cells(batch, ops)
        log_weights = math.log1p(-FLOOR), math.log(FLOOR)
        first, second, presence = mixed(log_weights, network, marginal, ops)
        cells = ops.logaddexp(first, second)
        if (are_filled := self.parts(batch)[-1]).shape[-2]:
            cells = cells - presence * are_filled
        return {"loss": -ops.mean(ops.sum(cells, axis=-2), axis=-1) - self.shift}

    def log_cells(self, packed: Any) -> LogCells:
        """Log-probabilities ``(R, D, n)`` of the cells of packed rows by the networks.

        Args:
            packed: ``(…, E, n)`` of :func:`packed`, optionally followed by rows of 0 and 1, one a
                column: 1 hides a cell from the networks; and one more: 1 of rows with filled gaps.
        """
        layout = self.layout
        codes, units, centre, half, _, hidden, _ = self.parts(packed)
        seen = codes, units
        if hidden.shape[-2]:
            of_numbers = ops.take(hidden, np.array(layout.with_numbers, np.int32), axis=-2)
            seen = ops.where(hidden > 0, -1.0, codes), ops.where(of_numbers > 0, 0.0, seen[1])
        x = network.inputs(layout, *seen, ops)
        arrays = {name: self.start.of(name, array) for name, array in self.trained.arrays.items()}
        weights = network.masked(layout, arrays)
        parameters = network.parameters(layout, weights, self.limits, x, ops)
        first = len(layout.with_numbers) - len(layout.mixed)
        interval = centre[..., first:, :], half[..., first:, :]
        masses = log_masses(layout, parameters, *interval, ops)
        return log_cells(layout, parameters, codes[..., layout.n_given :, :], masses, ops)

    def marginal_log_cells(self, packed: Any, xp: Any) -> LogCells:
        """Log-probabilities ``(…, D, n)`` of the cells of packed rows by the marginals."""
        codes, _, _, _, marginal, *_ = self.parts(packed)
        codes = codes[..., self.layout.n_given :, :]
        return with_presence(self.layout, codes, marginal, self.log_present, xp)

    @cached_property
    def compiled_log_cells(self) -> Callable[[Any], LogCells]:
        """:meth:`log_cells` as a program."""
        return compiled(self.log_cells)

    def parts(self, packed: Any) -> list[Any]:
        """Codes, units, intervals, marginals, hidden cells, and rows with filled gaps."""
        layout = self.layout
        n = len(layout.with_numbers)
        counts = layout.n_columns, n, n, n, len(layout.modelled), layout.n_columns, 1
        ends = np.cumsum([0, *counts])
        return [packed[..., start:end, :] for start, end in itertools.pairwise(ends)]

    def members(self) -> list[dict[str, np.ndarray]]:
        """Weights of each network with their start, float32."""
        return [
            {name: self.start.of(name, array) for name, array in one.items()}
            for one in self.trained.members()
        ]


class CellChunks(PointChunks):
    """Batches of packed rows with randomly hidden cells, of C = ``n_columns``.

    The network so learns each cell given any subset of those before it, for rows with missing
    cells. One row in seven hides its cells, each with a probability that is uniform from row to
    row.
    """

    def __init__(self, n_columns: int, *arguments: Any):
        super().__init__(*arguments)
        self.n_columns = n_columns

    def drawn(self, seed: int, index: int) -> np.ndarray:
        """Draw the rows of chunk ``index`` and their hidden cells."""
        rows, rng = super().drawn(seed, index), stream(seed, "hidden", index)
        shape = (self.chunk, 1, self.batch_size)
        share = np.where(rng.random(shape) < HIDING, rng.random(shape), 0.0).astype(np.float32)
        hidden = rng.random((self.chunk, self.n_columns, self.batch_size), np.float32) < share
        return np.concatenate([rows, hidden.astype(np.float32)], axis=1)


def packed(density: CellDensity, rows: np.ndarray) -> np.ndarray:
    """Rows ``(n, C)`` as one float32 array ``(n, E)`` of training inputs.

    Codes, units, intervals, and log-probabilities by the marginals given that a cell is a level or
    number of training rows; others count as unknown, without a gradient.
    """
    learnt = np.array([column.outcomes.learnt for column in density.cells])[:, None]

    def of_block(block: CellScores) -> tuple[np.ndarray]:
        codes, *numbers = block.encoded
        codes = np.where(codes < learnt, codes, UNKNOWN)
        marginal = block.of_marginals.masses - density.log_learnt[:, None]
        marginal = np.where(codes[density.n_given :] < 0, 0.0, np.maximum(marginal, LEAST))
        return (np.concatenate([codes, *numbers, marginal]).T.astype(np.float32),)

    (found,) = density.by_blocks(of_block, rows)
    return found


def log_present(density: CellDensity) -> np.ndarray:
    """Log-probabilities ``(D, 1)`` of a present cell by the marginals, given that it is not new."""
    return np.array([[one.log_present - one.log_learnt] for one in density.marginals])

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
from nflow_cli.densities.cells.block import Block
from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn
from nflow_cli.densities.cells.density import CellDensity, limits_of
from nflow_cli.densities.cells.gaps import LogCells, with_presence
from nflow_cli.densities.cells.heads import log_cells
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.starting_weights import StartingWeights
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
        marginal_shares: Log-probabilities of outcomes by the marginals, bank by bank, given that a
            cell is not new.
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
        marginal_shares: Sequence[np.ndarray | None],
        shift: float,
    ):
        super().__init__()
        self.layout, self.trained, self.start, self.shift = layout, trained, start, shift
        self.marginal_shares = marginal_shares
        self.restarts = (trained.count,)
        self.limits = limits_of(columns, layout).astype(np.float32)
        self.with_numbers = np.array(
            [layout.columns.index(i) for i in layout.with_numbers], np.int32
        )
        self.intervals = np.array(layout.intervals, np.int32)
        self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """``-mean log q(row)`` in nats ``(R,)`` of packed rows ``(E, batch_size)``.

        ``q`` mixes each cell with its marginal by a fixed weight, which bounds the loss of a cell.
        Of rows with filled gaps the values count, not that they are present.
        """
        network, marginal = self.log_cells(batch), self.marginal_log_cells(batch, ops)
        if network.presence is None:
            mixed = _with_floor(network.masses, marginal.masses)
        else:
            values = [one.masses - one.presence for one in (network, marginal)]
            presence = _with_floor(network.presence, marginal.presence)
            if (are_filled := self.parts(batch)[-1]).shape[-2]:
                presence = presence * (1 - are_filled)
            mixed = presence + _with_floor(*values)
        return {"loss": -ops.mean(ops.sum(mixed, axis=-2), axis=-1) - self.shift}

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
            of_numbers = ops.take(hidden, self.with_numbers, axis=-2)
            seen = ops.where(hidden > 0, -1.0, codes), ops.where(of_numbers > 0, 0.0, seen[1])
        x = network.inputs(layout, *seen, ops)
        arrays = {name: self.start.of(name, array) for name, array in self.trained.arrays.items()}
        weights = network.masked(layout, arrays)
        parameters = network.parameters(layout, weights, self.limits, x, ops)
        mixed = [ops.take(part, self.intervals, axis=-2) for part in (centre, half)]
        masses = log_cells(layout, parameters, codes, *mixed, xp=ops)
        return with_presence(layout, parameters.log_shares, codes, masses, ops)

    def marginal_log_cells(self, packed: Any, xp: Any) -> LogCells:
        """Log-probabilities ``(…, D, n)`` of the cells of packed rows by the marginals."""
        codes, _, _, _, marginal, *_ = self.parts(packed)
        return with_presence(self.layout, self.marginal_shares, codes, marginal, xp)

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


def _with_floor(network: Any, marginal: Any) -> Any:
    log_floor, log_rest = math.log(FLOOR), math.log1p(-FLOOR)
    return ops.logaddexp(log_rest + network, log_floor + marginal)


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
    layout = density.layout
    learnt = np.array([layout.outcomes[i].learnt for i in layout.columns])[:, None]
    modelled = [layout.columns.index(i) for i in layout.modelled]

    def of_block(block: Block) -> tuple[np.ndarray]:
        encoded = block.encoded
        codes = np.where(encoded.codes < learnt, encoded.codes, UNKNOWN)
        learnt_cells = block.log_cells(block.marginals).masses - density.log_learnt[:, None]
        marginal = np.where(codes[modelled] < 0, 0.0, np.maximum(learnt_cells, LEAST))
        parts = codes, *encoded[1:], marginal
        return (np.concatenate(parts, axis=0).T.astype(np.float32),)

    (found,) = density.by_blocks(of_block, rows)
    return found


def learnt_shares(density: CellDensity) -> list[np.ndarray | None]:
    """Log-probabilities of outcomes by the marginals, given that a cell is not new."""
    found, start = [], 0
    for bank, shares in zip(density.layout.banks, density.marginal.log_shares):
        learnt = density.log_learnt[start : start + len(bank.modelled), None, None]
        found.append(shares if shares is None else (shares - learnt).astype(np.float32))
        start += len(bank.modelled)
    return found

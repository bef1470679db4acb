"""Training model of a density of cells, its batches, and the fills of gaps in these.

Gaps are filled by stochastic EM with Metropolis steps. Each gap of a training row keeps its fill,
of each network, which moves by Metropolis steps before each chunk of updates, given the known cells
of the row. A part of each batch is then of these rows, so that a network learns from rows with gaps
how columns depend on each other (Kuhn & Lavielle 2004); the rest, of rows as they are, teaches
where gaps are and cells given them.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from itertools import count, repeat
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from pydantic import BaseModel

from nflow_cli.backend.programs import compiled
from nflow_cli.backend.random_numbers import uniform
from nflow_cli.backend.start import cores
from nflow_cli.config.table import MAX_BLOCKS
from nflow_cli.flows.layer import keep_precision
from nflow_cli.flows.stack import add_initialised_weight
from nflow_cli.random_streams import stream
from nflow_cli.tables.cells import network
from nflow_cli.tables.cells.cell_columns import UNKNOWN, CellColumn
from nflow_cli.tables.cells.cells_density import CellDensity, CellScores, limits_of
from nflow_cli.tables.cells.heads import (
    LogCells,
    log_cells,
    log_masses,
    log_parts,
    with_presence,
)
from nflow_cli.tables.cells.layout import Layout
from nflow_cli.tables.cells.network_start import StartingWeights, starting_parents, starting_weights
from nflow_cli.tables.cells.proposals import metropolis_steps, proposals
from nflow_cli.tables.cells_weights import stacked
from nflow_cli.training.chunks import PointChunks
from nflow_cli.training.observers import Observer, Saved, StateError, checked_state
from nflow_cli.training.trainer import ChunkTrainer

HIDDEN_ROWS = 1 / 7  # share of the rows of a batch, of which cells are hidden
MARGINAL_WEIGHT = 0.01  # of the marginals' mixture in the loss, which bounds the effect of outliers
LEAST_LOG_MARGINAL = -1e4  # nats; finite in float32
LEAST_HALF = 1e-30  # half width of a number's interval, of which the gradient is finite in float32
METROPOLIS_STEPS = 4  # of fills before a chunk: for each row of a batch, and of a row at most
START_ROUNDS = 10  # of filling at the start
START_ROWS = 10_000  # filled in these rounds, at most


class CellWeights(keras.layers.Layer):
    """Network weights of R networks side by side, R first; ``networks``: initial ones, by name."""

    def __init__(self, networks: Sequence[Mapping[str, np.ndarray]], **kwargs: Any):
        super().__init__(**kwargs)
        keep_precision(self)
        self.arrays = {
            name: add_initialised_weight(self, name, array)
            for name, array in stacked(networks).items()
        }
        self.count = len(networks)
        self.built = True

    @property
    def of_all(self) -> dict[str, np.ndarray]:
        """Trained arrays by name, R first, float32."""
        return {name: ops.convert_to_numpy(variable) for name, variable in self.arrays.items()}


class EarlyWeights(Saved, Observer):
    """Network weights after an early ``update`` of a training.

    Of few rows, columns are learnt at different times: their mixtures have the early networks where
    the last ones have overfitted.
    """

    class State(BaseModel):
        """In checkpoints; arrays as of :class:`CellWeights`, none before the update."""

        early_weights: list[Any]

    def __init__(self, update: int):
        self.update = update
        self.early_weights: list[np.ndarray] = []

    def after(self, logs: Mapping[str, float]) -> None:
        """Keep the weights of the update."""
        if int(self.model.optimizer.iterations) == self.update:
            self.early_weights = list(self.model.trained.of_all.values())


class PackedParts(NamedTuple):
    """Arrays ``(…, ., n)`` of the training inputs of n rows, as :func:`packed_rows` joins them.

    Attributes:
        codes: Outcomes of all columns.
        units: Numeric inputs of networks.
        centres: Middles of the intervals of columns with numbers.
        halves: Half widths of these intervals.
        log_marginals: Log-probabilities of the modelled cells by the marginals.
        hidden: 1 for a cell that the networks do not see; no array where none is hidden.
        are_filled: 1 for a row with filled gaps; no array where none is filled.
    """

    codes: Any
    units: Any
    centres: Any
    halves: Any
    log_marginals: Any
    hidden: Any
    are_filled: Any


class FitCells(ChunkTrainer):
    """Networks of a density of cells, side by side.

    Args:
        layout: Of each network.
        columns: Of a row.
        trained: Network weights of all networks.
        start: Network weights of the initial density, to which weight decay pulls: the trained ones
            are added to them, in units of their own.
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
        self.layout = layout
        self.trained = trained
        self.start = start
        self.shift = shift
        self.log_present = log_present.astype(np.float32)
        self.restarts = (trained.count,)
        self.limits = limits_of(columns, layout).astype(np.float32)
        self.seen: np.ndarray | None = None
        self.dropout: list[float] = []
        self.seeds: list[int] = []
        self.built = True

    def vary(self, seen: np.ndarray, dropout: Sequence[float], seeds: Sequence[int]) -> None:
        """Let networks see inputs of their own ``(R, I)``, 0 or 1, and leave out a share of the
        inner units of theirs in each update, by the seed of each.
        """
        if not seen.all():
            self.seen = seen.astype(np.float32)[:, None]
        self.dropout = list(dropout)
        self.seeds = list(seeds)

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """``-mean log q(row)`` in nats ``(R,)`` of packed rows ``(E, batch_size)``."""
        log_q = self.log_probs(batch, partial(self.dropped, update) if any(self.dropout) else None)
        return {"loss": -ops.mean(log_q, axis=-1) - self.shift}

    def dropped(self, update: Any, layer: Any, block: int) -> Any:
        """Inner layer ``(R, H, n)`` of a block in an update, with dropout (Srivastava et al. 2014):
        each unit of a row is 0 with the probability of its network, others are larger in turn.

        The random numbers are those of a network's seed, the block and the update: a resumed
        training has the same.
        """
        layers = []
        for r, (share, seed) in enumerate(zip(self.dropout, self.seeds)):
            of_network = layer[r]
            if share:
                count = ops.cast(update, "int64") * MAX_BLOCKS + block
                are_left_out = uniform(of_network.shape, seed, count) < share
                of_network = ops.where(are_left_out, 0.0, of_network / (1 - share))
            layers.append(of_network)
        return ops.stack(layers)

    def log_probs(self, batch: Any, dropout: network.Dropout | None = None) -> Any:
        """Log-probabilities ``(R, n)`` of packed rows ``(E, n)``, :attr:`shift` below ``log q``, in
        training with ``dropout``.

        ``q`` mixes each cell with its marginal by a fixed mixture weight, which bounds the loss of
        a cell. Of rows with filled gaps the values count, not that they are present.
        """
        log_mixture_weights = (math.log1p(-MARGINAL_WEIGHT), math.log(MARGINAL_WEIGHT))
        by_networks = self.log_cells(batch, dropout)
        by_marginals = self.marginal_log_cells(batch, ops)
        parts, presence = log_parts(log_mixture_weights, [by_networks, by_marginals], ops)
        log_q = ops.logaddexp(*parts)
        are_filled = self.parts(batch).are_filled
        if are_filled.shape[-2]:
            log_q = log_q - presence * are_filled
        return ops.sum(log_q, axis=-2)

    def log_cells(self, packed: Any, dropout: network.Dropout | None = None) -> LogCells:
        """Log-probabilities ``(R, D, n)`` of the cells of packed rows by the networks.

        Args:
            packed: ``(…, E, n)`` of :func:`packed_rows`, optionally followed by lines of 0 and 1,
                one a column: 1 hides a cell from the networks; and one more: 1 of rows with filled
                gaps.
            dropout: Of the inner layers of blocks, in training.
        """
        layout = self.layout
        parts = self.parts(packed)
        codes = parts.codes
        units = parts.units
        if parts.hidden.shape[-2]:
            hidden_units = ops.take(parts.hidden, layout.numeric.astype(np.int32), axis=-2)
            codes = ops.where(parts.hidden > 0, -1.0, codes)
            units = ops.where(hidden_units > 0, 0.0, units)
        x = network.inputs(layout, codes, units, ops)
        arrays = self._network_weights(self.trained.arrays)
        network_weights = network.masked_weights(layout, arrays)
        parameters = network.parameters(layout, network_weights, self.limits, x, ops, dropout)
        n_given_numbers = len(layout.with_numbers) - len(layout.mixed)
        centres = parts.centres[..., n_given_numbers:, :]
        halves = parts.halves[..., n_given_numbers:, :]
        masses = log_masses(layout, parameters, centres, halves, ops)
        return log_cells(layout, parameters, parts.codes[..., layout.n_given :, :], masses, ops)

    def marginal_log_cells(self, packed: Any, xp: Any) -> LogCells:
        """Log-probabilities ``(…, D, n)`` of the cells of packed rows by the marginals."""
        parts = self.parts(packed)
        codes = parts.codes[..., self.layout.n_given :, :]
        return with_presence(self.layout, codes, parts.log_marginals, self.log_present, xp)

    @cached_property
    def compiled_log_cells(self) -> Callable[[Any], LogCells]:
        """:meth:`log_cells` as a program."""
        return compiled(self.log_cells)

    def parts(self, packed: Any) -> PackedParts:
        """Split packed rows ``(…, E, n)`` into their parts; masks may be absent."""
        layout = self.layout
        n_intervals = len(layout.with_numbers)
        counts = [layout.n_columns, len(layout.numeric), n_intervals, n_intervals]
        counts += [len(layout.modelled), layout.n_columns, 1]
        ends = np.cumsum([0, *counts])
        return PackedParts(*(packed[..., start:end, :] for start, end in itertools.pairwise(ends)))

    def networks(self, early: Sequence[np.ndarray] = ()) -> list[dict[str, np.ndarray]]:
        """Network weights of each network by name, their start added, float32: as they are now, or
        ``early`` ones.
        """
        trained = dict(zip(self.trained.arrays, early)) if early else self.trained.of_all
        arrays = self._network_weights(trained)
        return [
            {name: array[r] for name, array in arrays.items()} for r in range(self.trained.count)
        ]

    def _network_weights(self, trained: Mapping[str, Any]) -> dict[str, Any]:
        """Weights of the networks by name, R first, of inputs that each sees, with their start."""
        weights = {}
        for name, array in trained.items():
            if self.seen is not None and name.endswith("inputs_kernel"):
                array = array * self.seen
            elif self.seen is not None and "skip" in name:
                array = array * self.seen[..., : len(self.layout.direct_inputs)]
            weights[name] = self.start.of(name, array)
        return weights


class CellChunks(PointChunks):
    """Batches of packed rows, followed by masks of randomly hidden cells, of C = ``n_columns``.

    The network so learns each cell given any subset of those before it, for rows with missing
    cells. One row in seven hides its cells, each with the same probability, uniform from row to
    row.
    """

    def __init__(self, n_columns: int, *arguments: Any):
        super().__init__(*arguments)
        self.n_columns = n_columns

    def drawn(self, seed: int, index: int) -> np.ndarray:
        """Draw chunk ``index``: rows and their hidden cells, ``(chunk, E + C, batch_size)``."""
        rows = super().drawn(seed, index)
        rng = stream(seed, "hidden", index)
        shape = (self.chunk, 1, self.batch_size)
        shares = np.where(rng.random(shape) < HIDDEN_ROWS, rng.random(shape), 0.0).astype(
            np.float32
        )
        hidden = rng.random((self.chunk, self.n_columns, self.batch_size), np.float32) < shares
        return np.concatenate([rows, hidden.astype(np.float32)], axis=1)


def packed_rows(density: CellDensity, rows: np.ndarray) -> np.ndarray:
    """Rows ``(n, C)`` as one float32 array ``(n, E)`` of training inputs, see :class:`PackedParts`.

    Log-probabilities by the marginals are given that a cell is a level or number of training rows;
    other cells are packed as unknown, without a gradient.
    """
    n_learnt = np.array([column.outcomes.n_learnt for column in density.columns])[:, None]

    def pack_block(block: CellScores) -> tuple[np.ndarray]:
        """Training inputs of a block of rows."""
        codes, units, centres, halves = block.encoded
        codes = np.where(codes < n_learnt, codes, UNKNOWN)
        is_narrow = (halves > 0) & (halves < LEAST_HALF)  # far from the normals of its column
        halves = np.where(is_narrow, LEAST_HALF, halves)
        log_marginals = np.logaddexp(block.marginal_cells.masses, block.log_outliers)
        log_marginals = np.maximum(
            log_marginals - density.log_p_learnt[:, None], LEAST_LOG_MARGINAL
        )
        log_marginals = np.where(codes[density.n_given :] < 0, 0.0, log_marginals)
        parts = np.concatenate([codes, units, centres, halves, log_marginals])
        return (parts.T.astype(np.float32),)

    (inputs,) = density.by_blocks(pack_block, rows)
    return inputs


def log_present(density: CellDensity) -> np.ndarray:
    """Log-probabilities ``(D, 1)`` of a present cell by the marginals, given that it is not new."""
    return np.array(
        [[marginal.log_p_present - marginal.log_p_learnt] for marginal in density.marginals]
    )


class FilledChunks(CellChunks):
    """Batches of packed rows, a ``share`` of them with filled gaps, marked by a last row of 1.

    Attributes:
        filled: Of each seed, all rows ``(E, n)`` with filled gaps.
    """

    ahead = 0

    def __init__(self, share: float, *arguments: Any):
        super().__init__(*arguments)
        self.share = share
        self.filled = {seed: self.points.copy() for seed in self.seeds}

    def drawn(self, seed: int, index: int) -> np.ndarray:
        """Draw chunk ``index``: rows, their hidden cells, and which rows have filled gaps,
        ``(chunk, E + C + 1, batch_size)``.
        """
        rows = super().drawn(seed, index)
        filled = self.filled[seed]
        rng = stream(seed, "filled", index)
        are_filled = rng.random((self.chunk, 1, self.batch_size)) < self.share
        filled_rows = np.moveaxis(filled[:, self._rows(seed, index)], 0, 1)
        inputs = rows[:, : len(filled)]  # a view, but of the mask of hidden cells
        inputs[:] = np.where(are_filled, filled_rows, inputs)
        return np.concatenate([rows, are_filled.astype(np.float32)], axis=1)


class Filling(Saved, Observer):
    """Fills of the gaps of training rows, of each network, moved by Metropolis steps before each
    chunk.

    Args:
        density: Of the rows; its networks do not matter.
        networks: Returns the networks as they are now, one a seed of the chunks.
        rows: Training rows ``(n, C)``.
        filled: The same rows with initial fills.
        chunks: Batches of filled rows, which are updated.

    Attributes:
        places: Which training rows have gaps ``(m,)``.
        gaps: Which of their cells are gaps ``(m, C)``; g in all.
        fills: Values ``(g,)`` of the gaps, of each seed.
        tallies: Numbers of Metropolis proposals and of accepted ones ``(2, C)``, of each seed.
    """

    class State(BaseModel):
        """In checkpoints, one of each a network."""

        fills: list[Any]  # arrays
        tallies: list[list[list[float]]]

    def __init__(
        self,
        density: CellDensity,
        networks: Callable[[], Iterable[network.Weights]],
        rows: np.ndarray,
        filled: np.ndarray,
        chunks: FilledChunks,
    ):
        self.density = density
        self.networks = networks
        self.chunks = chunks
        gaps = gaps_of(density, rows)
        self.places = np.flatnonzero(gaps.any(axis=1))
        self.rows = filled[self.places]
        self.gaps = gaps[self.places]
        self.fills = [self.rows[self.gaps] for _ in chunks.seeds]
        self.tallies = [np.zeros((2, rows.shape[1])) for _ in chunks.seeds]
        self._pack_all()

    def before(self) -> None:
        """Move the fills for the chunk that begins."""
        self.fill(int(self.model.optimizer.iterations) // self.chunks.chunk)

    def fill(self, index: int) -> None:
        """Move the fills of each network for chunk ``index``, networks in parallel."""
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(self._move_fills, count(), self.networks(), repeat(index)))

    def _move_fills(self, r: int, weights: network.Weights, index: int) -> None:
        """Move the fills of network ``r``, for chunk ``index``, in random rows: as many steps as 4
        for each row of a batch, at most 4 of a row.
        """
        if not all(np.isfinite(array).all() for array in weights.values()):
            return  # the network has diverged
        rng = stream(self.chunks.seeds[r], "gaps", index)
        rows = self._filled(r)
        most_steps = METROPOLIS_STEPS * self.chunks.batch_size
        chosen = np.sort(rng.permutation(len(rows))[:most_steps])
        steps = min(most_steps // max(len(chosen), 1), METROPOLIS_STEPS)
        density = self.density.with_one(weights)
        rows[chosen] = metropolis_steps(
            density, rows[chosen], self.gaps[chosen], steps, rng, self.tallies[r]
        )
        self.fills[r] = rows[self.gaps]
        self._pack_rows(r, rows, chosen)

    def _filled(self, r: int) -> np.ndarray:
        """Rows with gaps ``(m, C)``, with the fills of network ``r``."""
        rows = self.rows.copy()
        rows[self.gaps] = self.fills[r]
        return rows

    def _pack_all(self) -> None:
        """Put all filled rows into the chunks of each network."""
        for r in range(len(self.fills)):
            self._pack_rows(r, self._filled(r), np.arange(len(self.rows)))

    def _pack_rows(self, r: int, rows: np.ndarray, chosen: np.ndarray) -> None:
        """Put filled rows, those at ``chosen`` of ``(m, C)``, into the chunks of network ``r``."""
        inputs = self.chunks.filled[self.chunks.seeds[r]]
        inputs[:, self.places[chosen]] = packed_rows(self.density, rows[chosen]).T

    @property
    def acceptance(self) -> dict[str, float]:
        """Share of the Metropolis proposals that were accepted, by column, of all networks."""
        proposed, accepted = np.sum(self.tallies, axis=0)
        names = [column.name for column in self.density.row_columns]
        return {names[j]: float(accepted[j] / proposed[j]) for j in np.flatnonzero(proposed)}

    def state(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"fills": self.fills, "tallies": [tally.tolist() for tally in self.tallies]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back a saved state."""
        saved = checked_state(self.State, state)
        tallies = [np.array(tally) for tally in saved.tallies]
        _expect_gap_shapes("fills", saved.fills, self.fills)
        _expect_gap_shapes("tallies", tallies, self.tallies)
        self.fills = saved.fills
        self.tallies = tallies
        self._pack_all()


def _expect_gap_shapes(name: str, saved: Sequence[Any], expected: Sequence[np.ndarray]) -> None:
    """Check that saved arrays have the shapes that the gaps ask for (``StateError``)."""
    if [np.shape(array) for array in saved] != [array.shape for array in expected]:
        raise StateError(f"{name}: expected others, by the gaps of the training rows")


def gaps_of(density: CellDensity, rows: np.ndarray) -> np.ndarray:
    """Which cells ``(n, C)`` of rows are gaps of modelled or computed columns."""
    gaps = np.isnan(rows)
    gaps[:, : density.n_given] = False
    return gaps


def filled_start(
    density: CellDensity, rows: np.ndarray, row_weights: np.ndarray | None, seed: int
) -> tuple[StartingWeights, np.ndarray]:
    """Starting network weights of rows ``(n, C)`` with gaps, and the rows filled by these.

    Regressions of numbers are of filled rows, by stochastic EM with one normal a column on at most
    ``START_ROWS`` of the rows; shares of outcomes of the rows as they are.
    """
    rng = stream(seed, "start")
    filled = rows.copy()
    tallies = np.zeros((2, rows.shape[1]))  # of proposals, not used
    sample = slice(None, None, -(-len(rows) // START_ROWS))  # rows at equal distances
    sample_weights = None if row_weights is None else row_weights[sample]
    layout = replace(density.layout, width=1, components=1)
    shapes = network.shapes(layout, 0)
    regressions = CellDensity(
        density.columns, layout, density.marginals, computed=density.computed_columns
    )
    codes = np.stack([cells.codes for cells in density.encode(rows[sample])], axis=1)
    parents = starting_parents(density.columns, codes, sample_weights, layout.n_given)

    def start_of(layout: Layout) -> StartingWeights:
        """Starting network weights by the filled rows of the sample."""
        return starting_weights(layout, density.columns, filled[sample], sample_weights, parents)

    def fill(regressions: CellDensity, places: np.ndarray) -> None:
        """Draw the gaps of the rows at ``places`` if they are empty, then move them."""
        fills = filled[places]
        gaps = gaps_of(density, rows[places])
        if np.isnan(fills[gaps]).any():
            fills, _ = proposals(regressions, fills, gaps, rng)
        filled[places] = metropolis_steps(regressions, fills, gaps, METROPOLIS_STEPS, rng, tallies)

    places = np.flatnonzero(gaps_of(density, rows).any(axis=1))
    are_sampled = np.isin(places, np.arange(len(rows))[sample])
    for _ in range(START_ROUNDS):
        start = start_of(layout)
        arrays = {name: start.of(name, np.zeros(shape)) for name, shape in shapes.items()}
        regressions = regressions.with_one(network.masked_weights(layout, arrays))
        fill(regressions, places[are_sampled])
    if not are_sampled.all():
        fill(regressions, places[~are_sampled])
    return start_of(density.layout), filled

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
from functools import cached_property
from itertools import count, repeat
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from pydantic import BaseModel

from nflow_cli.backend.programs import compiled
from nflow_cli.backend.start import cores
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn
from nflow_cli.densities.cells.density import CellDensity, CellScores, Member, limits_of
from nflow_cli.densities.cells.heads import (
    LogCells,
    log_cells,
    log_masses,
    log_parts,
    with_presence,
)
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.proposals import metropolis_steps, proposals
from nflow_cli.densities.cells.start import StartingWeights, starting_parents, starting_weights
from nflow_cli.experiments.table.weights import stacked
from nflow_cli.flows.layer import keep_precision
from nflow_cli.flows.stack import add_initialised_weight
from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import PointChunks
from nflow_cli.training.observers import Observer, Saved, StateError, checked_state
from nflow_cli.training.trainer import ChunkTrainer

HIDDEN_ROWS = 1 / 7  # share of the rows of a batch, of which cells are hidden
MARGINAL_WEIGHT = 0.01  # of the marginals' mixture in the loss, which bounds the effect of outliers
LEAST_LOG_MARGINAL = -1e4  # nats; finite in float32
METROPOLIS_STEPS = 4  # of fills before a chunk: for each row of a batch, and of a row at most
START_ROUNDS = 10  # of filling at the start
START_ROWS = 10_000  # filled in these rounds, at most


class CellWeights(keras.layers.Layer):
    """Network weights of R networks side by side, R first; ``members``: initial ones, by name."""

    def __init__(self, members: Sequence[Mapping[str, np.ndarray]], **kwargs: Any):
        super().__init__(**kwargs)
        keep_precision(self)
        self.arrays = {
            name: add_initialised_weight(self, name, array)
            for name, array in stacked(members).items()
        }
        self.count = len(members)
        self.built = True

    def members(self) -> list[dict[str, np.ndarray]]:
        """Network weights of each network by name, float32."""
        arrays = {
            name: keras.ops.convert_to_numpy(variable) for name, variable in self.arrays.items()
        }
        return [{name: array[r] for name, array in arrays.items()} for r in range(self.count)]


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
        self.built = True

    def objective(self, batch: Any, update: Any) -> dict[str, Any]:
        """``-mean log q(row)`` in nats ``(R,)`` of packed rows ``(E, batch_size)``."""
        return {"loss": -ops.mean(self.log_probs(batch), axis=-1) - self.shift}

    def log_probs(self, batch: Any) -> Any:
        """Log-probabilities ``(R, n)`` of packed rows ``(E, n)``, :attr:`shift` below ``log q``.

        ``q`` mixes each cell with its marginal by a fixed mixture weight, which bounds the loss of
        a cell. Of rows with filled gaps the values count, not that they are present.
        """
        log_mixture_weights = (math.log1p(-MARGINAL_WEIGHT), math.log(MARGINAL_WEIGHT))
        by_networks = self.log_cells(batch)
        by_marginals = self.marginal_log_cells(batch, ops)
        network_parts, marginal_parts, presence = log_parts(
            log_mixture_weights, by_networks, by_marginals, ops
        )
        log_q = ops.logaddexp(network_parts, marginal_parts)
        are_filled = self.parts(batch).are_filled
        if are_filled.shape[-2]:
            log_q = log_q - presence * are_filled
        return ops.sum(log_q, axis=-2)

    def log_cells(self, packed: Any) -> LogCells:
        """Log-probabilities ``(R, D, n)`` of the cells of packed rows by the networks.

        Args:
            packed: ``(…, E, n)`` of :func:`packed_rows`, optionally followed by lines of 0 and 1,
                one a column: 1 hides a cell from the networks; and one more: 1 of rows with filled
                gaps.
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
        arrays = {name: self.start.of(name, array) for name, array in self.trained.arrays.items()}
        network_weights = network.masked_weights(layout, arrays)
        parameters = network.parameters(layout, network_weights, self.limits, x, ops)
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

    def members(self) -> list[dict[str, np.ndarray]]:
        """Network weights of each network by name, their start added, float32."""
        return [
            {name: self.start.of(name, array) for name, array in arrays.items()}
            for arrays in self.trained.members()
        ]


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
        codes, *numbers = block.encoded
        codes = np.where(codes < n_learnt, codes, UNKNOWN)
        log_marginals = np.logaddexp(block.marginal_cells.masses, block.log_outliers)
        log_marginals = np.maximum(
            log_marginals - density.log_p_learnt[:, None], LEAST_LOG_MARGINAL
        )
        log_marginals = np.where(codes[density.n_given :] < 0, 0.0, log_marginals)
        return (np.concatenate([codes, *numbers, log_marginals]).T.astype(np.float32),)

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
        networks: Callable[[], Iterable[Member]],
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

    def _move_fills(self, r: int, member: Member, index: int) -> None:
        """Move the fills of network ``r``, for chunk ``index``, in random rows: as many steps as 4
        for each row of a batch, at most 4 of a row.
        """
        if not all(np.isfinite(array).all() for array in member.weights.values()):
            return  # the network has diverged
        rng = stream(self.chunks.seeds[r], "gaps", index)
        rows = self._filled(r)
        most_steps = METROPOLIS_STEPS * self.chunks.batch_size
        chosen = np.sort(rng.permutation(len(rows))[:most_steps])
        steps = min(most_steps // max(len(chosen), 1), METROPOLIS_STEPS)
        rows[chosen] = metropolis_steps(
            self.density, member, rows[chosen], self.gaps[chosen], steps, rng, self.tallies[r]
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
        density.columns, layout, density.marginals, [], density.computed_columns
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
        member = regressions.networks[0]
        filled[places] = metropolis_steps(
            regressions, member, fills, gaps, METROPOLIS_STEPS, rng, tallies
        )

    places = np.flatnonzero(gaps_of(density, rows).any(axis=1))
    are_sampled = np.isin(places, np.arange(len(rows))[sample])
    for _ in range(START_ROUNDS):
        start = start_of(layout)
        arrays = {name: start.of(name, np.zeros(shape)) for name, shape in shapes.items()}
        masked = network.masked_weights(layout, arrays)
        regressions = regressions.with_networks(
            [Member(masked, np.ones(len(density.modelled_columns)))]
        )
        fill(regressions, places[are_sampled])
    if not are_sampled.all():
        fill(regressions, places[~are_sampled])
    return start_of(density.layout), filled

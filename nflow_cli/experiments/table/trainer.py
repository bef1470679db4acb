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
from typing import Any

import keras
import numpy as np
from keras import ops
from pydantic import BaseModel

from nflow_cli.backend.programs import compiled
from nflow_cli.backend.start import cores
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.columns import UNKNOWN, CellColumn
from nflow_cli.densities.cells.density import CellDensity, CellScores, Member, limits_of
from nflow_cli.densities.cells.heads import LogCells, log_cells, log_masses, mixed, with_presence
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.proposals import moved, proposals
from nflow_cli.densities.cells.start import StartingWeights, starting_parents, starting_weights
from nflow_cli.flows.layer import keep_precision
from nflow_cli.flows.stack import add_initialised_weight
from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import PointChunks
from nflow_cli.training.observers import Observer, Saved, StateError, checked
from nflow_cli.training.trainer import ChunkTrainer

HIDING = 1 / 7  # of the rows of a batch
FLOOR = 0.01  # weight of the marginals in the loss, which bounds the effect of outliers
LEAST = -1e4  # nats; finite in float32
PROPOSALS = 4  # of fills before a chunk, a row of a batch; and most of a row
ROUNDS, ROWS = 10, 10_000  # of filling at the start


class CellWeights(keras.layers.Layer):
    """Weights of R networks side by side, R first; ``members``: initial ones, by name."""

    def __init__(self, members: Sequence[Mapping[str, np.ndarray]], **kwargs: Any):
        super().__init__(**kwargs)
        keep_precision(self)
        self.arrays = {
            name: add_initialised_weight(self, name, np.stack([one[name] for one in members]))
            for name in members[0]
        }
        self.count = len(members)
        self.built = True

    def members(self) -> list[dict[str, np.ndarray]]:
        """Weights of each network, float32."""
        arrays = {
            name: keras.ops.convert_to_numpy(variable) for name, variable in self.arrays.items()
        }
        return [{name: array[r] for name, array in arrays.items()} for r in range(self.count)]


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
        """``-mean log q(row)`` in nats ``(R,)`` of packed rows ``(E, batch_size)``."""
        return {"loss": -ops.mean(self.log_probs(batch), axis=-1) - self.shift}

    def log_probs(self, batch: Any) -> Any:
        """Log-probabilities ``(R, n)`` of packed rows ``(E, n)``, :attr:`shift` below ``log q``.

        ``q`` mixes each cell with its marginal by a fixed weight, which bounds the loss of a cell.
        Of rows with filled gaps the values count, not that they are present.
        """
        network, marginal = self.log_cells(batch), self.marginal_log_cells(batch, ops)
        log_weights = math.log1p(-FLOOR), math.log(FLOOR)
        first, second, presence = mixed(log_weights, network, marginal, ops)
        cells = ops.logaddexp(first, second)
        if (are_filled := self.parts(batch)[-1]).shape[-2]:
            cells = cells - presence * are_filled
        return ops.sum(cells, axis=-2)

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
            of_units = ops.take(hidden, layout.numeric.astype(np.int32), axis=-2)
            seen = ops.where(hidden > 0, -1.0, codes), ops.where(of_units > 0, 0.0, seen[1])
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
        n, units = len(layout.with_numbers), len(layout.numeric)
        counts = layout.n_columns, units, n, n, len(layout.modelled), layout.n_columns, 1
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
        marginal = np.logaddexp(block.of_marginals.masses, block.outliers)
        marginal = marginal - density.log_learnt[:, None]
        marginal = np.where(codes[density.n_given :] < 0, 0.0, np.maximum(marginal, LEAST))
        return (np.concatenate([codes, *numbers, marginal]).T.astype(np.float32),)

    (found,) = density.by_blocks(of_block, rows)
    return found


def log_present(density: CellDensity) -> np.ndarray:
    """Log-probabilities ``(D, 1)`` of a present cell by the marginals, given that it is not new."""
    return np.array([[one.log_present - one.log_learnt] for one in density.marginals])


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
        """Draw the rows of chunk ``index``, their hidden cells, and which are of filled rows."""
        rows, filled = super().drawn(seed, index), self.filled[seed]
        rng = stream(seed, "filled", index)
        is_filled = rng.random((self.chunk, 1, self.batch_size)) < self.share
        same = np.moveaxis(filled[:, self._rows(seed, index)], 0, 1)
        known = rows[:, : len(filled)]
        known[:] = np.where(is_filled, same, known)
        return np.concatenate([rows, is_filled.astype(np.float32)], axis=1)


class Filling(Saved, Observer):
    """Fills of the gaps of training rows, of each network, moved before each chunk.

    Args:
        density: Of the rows; its networks do not matter.
        networks: Returns the networks of now, one a seed of the chunks.
        rows: Training rows ``(n, C)``.
        filled: The same, filled at the start.

    Attributes:
        fills: Values ``(g,)`` of the gaps, of each seed.
        tallies: Proposals of each column, and those accepted ``(2, C)``, of each seed.
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
        self.density, self.networks, self.chunks = density, networks, chunks
        gaps = gaps_of(density, rows)
        self.places = np.flatnonzero(gaps.any(axis=1))
        self.rows, self.gaps = filled[self.places], gaps[self.places]
        self.fills = [self.rows[self.gaps] for _ in chunks.seeds]
        self.tallies = [np.zeros((2, rows.shape[1])) for _ in chunks.seeds]
        self._pack()

    def before(self) -> None:
        """Move the fills for the chunk that begins."""
        self.fill(int(self.model.optimizer.iterations) // self.chunks.chunk)

    def fill(self, index: int) -> None:
        """Move the fills for chunk ``index``: 4 proposals a row of a batch, at most 4 of a row."""
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(self._move, count(), self.networks(), repeat(index)))

    def _move(self, r: int, member: Member, index: int) -> None:
        if not all(np.isfinite(array).all() for array in member.weights.values()):
            return  # of a network that has diverged
        rng, most = stream(self.chunks.seeds[r], "gaps", index), self.chunks.batch_size
        rows = self._filled(r)
        some = np.sort(rng.permutation(len(rows))[: PROPOSALS * most])
        steps = min(PROPOSALS * most // max(len(some), 1), PROPOSALS)
        by = steps, rng, self.tallies[r]
        rows[some] = moved(self.density, member, rows[some], self.gaps[some], *by)
        self.fills[r] = rows[self.gaps]
        self._pack_rows(r, rows, some)

    def _filled(self, r: int) -> np.ndarray:
        rows = self.rows.copy()
        rows[self.gaps] = self.fills[r]
        return rows

    def _pack(self) -> None:
        for r in range(len(self.fills)):
            self._pack_rows(r, self._filled(r), np.arange(len(self.rows)))

    def _pack_rows(self, r: int, rows: np.ndarray, some: np.ndarray) -> None:
        of_seed = self.chunks.filled[self.chunks.seeds[r]]
        of_seed[:, self.places[some]] = packed(self.density, rows[some]).T

    @property
    def acceptance(self) -> dict[str, float]:
        """Share of the proposals that were accepted, of each column with gaps."""
        proposed, accepted = np.sum(self.tallies, axis=0)
        names = [column.name for column in self.density.row]
        return {names[j]: float(accepted[j] / proposed[j]) for j in np.flatnonzero(proposed)}

    def state(self) -> dict[str, Any]:
        """For checkpoints."""
        return {"fills": self.fills, "tallies": [one.tolist() for one in self.tallies]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back a saved state."""
        saved = checked(self.State, state)
        tallies = [np.array(one) for one in saved.tallies]
        for name, found in ("fills", saved.fills), ("tallies", tallies):
            if [np.shape(one) for one in found] != [one.shape for one in getattr(self, name)]:
                raise StateError(f"{name}: expected others, by the gaps of the training rows")
            setattr(self, name, found)
        self._pack()


def gaps_of(density: CellDensity, rows: np.ndarray) -> np.ndarray:
    """Which cells ``(n, C)`` of rows are gaps of modelled or computed columns."""
    gaps = np.isnan(rows)
    gaps[:, : density.n_given] = False
    return gaps


def filled_start(
    density: CellDensity, rows: np.ndarray, weights: np.ndarray | None, seed: int
) -> tuple[StartingWeights, np.ndarray]:
    """Starting weights of rows ``(n, C)`` with gaps, and the rows filled by these.

    Regressions of numbers are of filled rows, by stochastic EM with one normal a column on at most
    ``ROWS`` of the rows; shares of outcomes of the rows as they are.
    """
    few = slice(None, None, -(-len(rows) // ROWS))
    of_few = None if weights is None else weights[few]
    filled, rng, layout = rows.copy(), stream(seed, "start"), density.layout
    layout = replace(layout, width=1, components=1)
    plain = CellDensity(density.cells, layout, density.marginals, [], density.computed)
    shapes, tallies = network.shapes(layout, 0), np.zeros((2, rows.shape[1]))

    codes = np.stack([cells.codes for cells in density.encode(rows[few])], axis=1)
    parents = starting_parents(density.cells, codes, of_few, layout.n_given)

    def started(layout: Layout) -> StartingWeights:
        return starting_weights(layout, density.cells, filled[few], of_few, parents)

    def move(plain: CellDensity, some: np.ndarray) -> None:
        of_some, gaps = filled[some], gaps_of(density, rows[some])
        if np.isnan(of_some[gaps]).any():
            of_some, _ = proposals(plain, of_some, gaps, rng)
        filled[some] = moved(plain, plain.networks[0], of_some, gaps, PROPOSALS, rng, tallies)

    places = np.flatnonzero(gaps_of(density, rows).any(axis=1))
    are_few = np.isin(places, np.arange(len(rows))[few])
    for _ in range(ROUNDS):
        start = started(layout)
        arrays = {name: start.of(name, np.zeros(shape)) for name, shape in shapes.items()}
        masked = network.masked(layout, arrays)
        plain = plain.with_networks([Member(masked, np.ones(len(density.modelled)))])
        move(plain, places[are_few])
    if not are_few.all():
        move(plain, places[~are_few])
    return started(density.layout), filled

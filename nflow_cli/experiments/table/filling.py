"""Training on rows whose gaps are filled: stochastic EM with Metropolis steps.

Each gap of a training row keeps its fill, of each network, which moves by Metropolis steps before
each chunk of updates, given the known cells of the row. A part of each batch is then of these rows,
so that a network learns from rows with gaps how columns depend on each other (Kuhn & Lavielle
2004); the rest, of rows as they are, teaches where gaps are and cells given them.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count, repeat
from typing import Any

import numpy as np
from pydantic import BaseModel

from nflow_cli.backend.start import cores
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.density import CellDensity, Member
from nflow_cli.densities.cells.layout import Layout
from nflow_cli.densities.cells.proposals import moved, proposals
from nflow_cli.densities.cells.start import StartingWeights, starting_weights
from nflow_cli.experiments.table.trainer import CellChunks, packed
from nflow_cli.random_streams import stream
from nflow_cli.training.observers import Observer, Saved, StateError, checked

PROPOSALS = 4  # before a chunk, a row of a batch; and most of a row
ROUNDS, ROWS = 10, 10_000  # of the start


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

    def started(layout: Layout) -> StartingWeights:
        start = starting_weights(layout, density.cells, rows[few], of_few)
        other = starting_weights(layout, density.cells, filled[few], of_few)
        numbers = {name: a for name, a in other.arrays.items() if not name.startswith("logits")}
        return StartingWeights({**start.arrays, **numbers}, other.units)

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

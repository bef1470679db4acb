"""Training on rows whose gaps are filled: stochastic EM.

Before each chunk of updates, the gaps of some training rows are drawn by each network, given the
known cells of their row. A part of each batch is then of these rows, so that a network learns from
rows with gaps how columns depend on each other (Celeux & Diebolt 1985); the rest, of rows as they
are, teaches where gaps are and cells given them.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from itertools import repeat
from typing import Any

import keras
import numpy as np

from nflow_cli.backend.start import cores
from nflow_cli.densities.cells.density import CellDensity, Member
from nflow_cli.densities.cells.proposals import proposals
from nflow_cli.experiments.cells.training import CellChunks, packed
from nflow_cli.random_streams import stream

HIDING = 1 / 2  # of the rows of a batch
TRIES = 8  # draws of a row's gaps, of which one is chosen by importance
BATCHES = 2  # of rows that are filled for a chunk


class FilledChunks(CellChunks):
    """Batches of packed rows, a ``share`` of them with filled gaps, marked by a last row of 1.

    Attributes:
        filled: Of each seed, rows ``(E, m)`` with filled gaps for the next chunk.
    """

    ahead = 0

    def __init__(self, share: float, n_columns: int, *arguments: Any):
        super().__init__(n_columns, *arguments, hiding=HIDING)
        self.share = share
        self.filled = {seed: self.points for seed in self.seeds}

    def drawn(self, seed: int, index: int) -> np.ndarray:
        """Draw the rows of chunk ``index``, their hidden cells, and which are of filled rows."""
        rows, filled = super().drawn(seed, index), self.filled[seed]
        rng = stream(seed, "filled", index)
        is_filled = rng.random((self.chunk, 1, self.batch_size)) < self.share
        which = rng.integers(filled.shape[1], size=(self.chunk, self.batch_size))
        known = rows[:, : len(filled)]
        known[:] = np.where(is_filled, np.moveaxis(filled[:, which], 0, 1), known)
        return np.concatenate([rows, is_filled.astype(np.float32)], axis=1)


class Filling(keras.callbacks.Callback):
    """Fills the gaps of training rows before each chunk, by each network.

    Args:
        density: Of the rows; its networks do not matter.
        networks: Returns the networks of now, one a seed of the chunks.
        rows: Training rows ``(n, C)``.
        weights: Of the rows ``(n,)``, or ``None``.
    """

    def __init__(
        self,
        density: CellDensity,
        networks: Callable[[], Iterable[Member]],
        rows: np.ndarray,
        weights: np.ndarray | None,
        chunks: FilledChunks,
    ):
        super().__init__()
        self.density, self.networks, self.rows, self.chunks = density, networks, rows, chunks
        self.shares = None if weights is None else weights / weights.sum()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Fill rows for the chunk that begins."""
        self.fill(int(self.model.optimizer.iterations) // self.chunks.chunk)

    def fill(self, index: int) -> None:
        """Fill rows for chunk ``index``."""
        with ThreadPoolExecutor(cores()) as pool:
            found = pool.map(self._filled, self.networks(), self.chunks.seeds, repeat(index))
            self.chunks.filled = dict(zip(self.chunks.seeds, found))

    def _filled(self, member: Member, seed: int, index: int) -> np.ndarray:
        if not all(np.isfinite(array).all() for array in member.weights.values()):
            return self.chunks.filled[seed]  # of a network that has diverged
        density, rng = copy(self.density), stream(seed, "gaps", index)
        density.networks = [member]
        n, weighted = len(self.rows), self.shares is not None
        count = BATCHES * self.chunks.batch_size
        some = rng.choice(n, count if weighted else min(count, n), weighted, self.shares)
        rows = with_filled_gaps(density, self.rows[some], rng)
        return np.ascontiguousarray(packed(density, rows).T)


def with_filled_gaps(
    density: CellDensity, rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Rows ``(n, C)``, the gaps of their modelled and computed columns drawn given the other cells.

    By importance resampling of a few draws, each column given those before.
    """
    gaps, found = np.isnan(rows), rows.copy()
    gaps[:, : density.n_given] = False
    some = np.flatnonzero(gaps.any(axis=1))
    if not len(some):
        return found
    at = np.repeat(some, TRIES)
    draws, log_weights = proposals(density, rows[at], gaps[at], rng)
    scores = np.nan_to_num(log_weights, nan=-np.inf).reshape(-1, TRIES)
    scores = np.maximum(scores, -1e9) + rng.gumbel(size=scores.shape)
    chosen = TRIES * np.arange(len(some)) + scores.argmax(axis=1)
    found[some] = draws[chosen]
    return found

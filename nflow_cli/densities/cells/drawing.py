"""Sampling of rows, or of their unknown cells, column by column.

A hidden unit sees the columns up to its degree, so it is computed once, when these are drawn: one
pass through the network in all.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from nflow_cli.arrays import logsumexp, silu
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.mixing import log_mixture
from nflow_cli.densities.cells.network import INPUT_LIMIT, PADDING

if TYPE_CHECKING:
    from nflow_cli.densities.cells.density import CellDensity, Member

Conditional = tuple[Any, Any]  # log-shares (L, n), and a mixture of three arrays (M, n)


class Drawing:
    """Rows ``(n, C)`` being drawn from one member, given columns known.

    With ``with_new`` a cell may be one that no training row has.

    Attributes:
        log_present: After :meth:`completed`, log-probability ``(n,)`` in nats, at the draws before,
            that the drawn cells are not missing.
    """

    def __init__(
        self, density: "CellDensity", member: "Member", rows: np.ndarray, with_new: bool = False
    ):
        self.density, self.layout, self.member = density, density.layout, member
        self.rows, self.n, self.with_new = rows, len(rows), with_new
        self.log_present = np.zeros(len(rows))
        self.x = np.zeros((len(self.layout.inputs), self.n))
        blocks = sum(name.endswith("_in_kernel") for name in member.weights)
        layer = (self.layout.width, self.n)
        self._seen = [np.zeros(layer) for _ in range(blocks)]  # what each block takes
        self._inner = [np.zeros(layer) for _ in range(blocks)]
        self._last = np.zeros(layer)

    def drawn(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the modelled columns; return the rows ``(n, C)``."""
        for j, column in enumerate(self.density.cells):
            self._advance(j)
            if j >= self.density.n_given:
                self.rows[:, j] = column.decode(*self._choose(j, column, rng))
            self._see(j, column)
        return self.rows

    def completed(self, unknown: np.ndarray, rng: np.random.Generator, present: bool) -> np.ndarray:
        """Draw the ``unknown`` cells ``(n, C)`` of modelled columns; return the rows ``(n, C)``.

        Each is drawn given the cells before, those behind it ignored; with ``present`` also given
        that it is not missing.
        """
        for j, column in enumerate(self.density.cells):
            self._advance(j)
            if j >= self.density.n_given and (at := unknown[:, j]).any():
                drawn = column.decode(*self._choose(j, column, rng, at & present))
                self.rows[at, j] = drawn[at]
            self._see(j, column)
        return self.rows

    def _see(self, j: int, column: CellColumn) -> None:
        cells, start = column.encode(self.rows[:, j]), 0
        for bank in self.layout.banks:
            if j in bank.columns:
                first = start + bank.size * bank.columns.index(j)
                self.x[first : first + bank.size] = cells.codes == np.arange(bank.size)[:, None]
            start += bank.size * len(bank.columns)
        if column.has_numbers:
            place = start + self.layout.with_numbers.index(j)
            self.x[place] = np.clip(cells.units, -INPUT_LIMIT, INPUT_LIMIT)

    def _advance(self, j: int) -> None:
        w = self.member.weights
        first, end = np.searchsorted(self.layout.degrees, [j - 1, j])
        if first == end:
            return
        new, seen = slice(first, end), slice(0, end)
        h = w["inputs_kernel"][new] @ self.x + w["inputs_bias"][new]
        for i, (taken, inner) in enumerate(zip(self._seen, self._inner)):
            taken[new] = silu(h, np)
            a, b = (w[f"block_{i}_{half}_kernel"][new, seen] for half in ("in", "out"))
            inner[new] = silu(a @ taken[seen] + w[f"block_{i}_in_bias"][new], np)
            h = h + b @ inner[seen] + w[f"block_{i}_out_bias"][new]
        self._last[new] = silu(h, np)

    def _choose(
        self,
        j: int,
        column: CellColumn,
        rng: np.random.Generator,
        present: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw outcomes and numbers of a column; those ``present`` ``(n,)`` are not missing."""
        share = self.member.shares[self.layout.modelled.index(j)]
        log_new, marginal = self._marginal(j)
        both, is_gap = [self._network(j), marginal], np.zeros(self.n, bool)
        if column.missing is not None:
            both, log_present = zip(*(_without_missing(one, column.missing) for one in both))
            both_present = log_mixture(share, *log_present)
            present = np.zeros(self.n, bool) if present is None else present
            self.log_present += np.where(present, both_present, 0.0)
            is_gap = ~present & (rng.random(self.n) >= np.exp(both_present))
        by_network = rng.random(self.n) < share
        drawn = [drawn_outcomes(one, self.n, rng) for one in both]
        codes, units = (np.where(by_network, *pair) for pair in zip(*drawn))
        codes = codes if column.missing is None else np.where(is_gap, column.missing, codes)
        if self.with_new and column.new is not None:
            is_new = rng.random(self.n) < np.exp(log_new)
            codes = np.where(is_new, column.new, codes)
            units = np.where(is_new, rng.random(self.n), units)
        return codes, units

    def _network(self, j: int) -> Conditional:
        w, layout = self.member.weights, self.layout
        seen = slice(0, int(np.searchsorted(layout.degrees, j)))
        log_shares, mixture = None, None
        of_logits = layout.logits == j
        if of_logits.any():
            logits = w["logits_kernel"][of_logits][:, seen] @ self._last[seen]
            logits += w["logits_bias"][of_logits]
            if "logits_skip_kernel" in w:
                logits += w["logits_skip_kernel"][of_logits] @ self.x
            log_shares = logits[: layout.outcomes[j].learnt]
        if j in layout.mixed:
            place, size = layout.mixed.index(j), 3 * layout.components
            part = slice(place * size, (place + 1) * size)
            raw = w["mixtures_kernel"][part, seen] @ self._last[seen] + w["mixtures_bias"][part]
            shift = w["means_skip_kernel"][[place]] @ self.x
            limits = self.density.limits[:, [place]]
            normals = network.normals(raw, shift, limits, layout.components, np)
            mixture = tuple(array[0] for array in normals)
        return log_shares, mixture

    def _marginal(self, j: int) -> tuple[float, Conditional]:
        layout, (shares, *mixtures) = self.layout, self.density.marginal
        log_new, log_shares, mixture = -np.inf, None, None
        for bank, of_bank in zip(layout.banks, shares):
            if of_bank is not None and j in bank.modelled:
                every, learnt = of_bank[bank.modelled.index(j)], layout.outcomes[j].learnt
                log_shares = every[:learnt]
                log_new = float(every[learnt, 0]) if layout.outcomes[j].has_new else log_new
        if j in layout.mixed:
            mixture = tuple(array[layout.mixed.index(j)] for array in mixtures)
            mixture = mixture if self.with_new else _without_broad(*mixture)
        return log_new, (log_shares, mixture)


def _without_missing(one: Conditional, missing: int) -> tuple[Conditional, np.ndarray]:
    """Conditional without its missing outcome, and the log-probability ``(n,)`` of the others."""
    log_shares, mixture = one
    some = np.where(np.arange(len(log_shares))[:, None] == missing, PADDING, log_shares)
    log_present = logsumexp(some, 0, np) - logsumexp(log_shares, 0, np)
    return (some, mixture), np.minimum(log_present, 0.0)  # of large logits it is rounded


def _without_broad(
    log_weights: np.ndarray, means: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drop the broad normal of a marginal, which is for future outliers."""
    known = log_weights > PADDING / 2
    if known.sum() < 2:
        return log_weights, means, scales
    broad = np.argmax(np.where(known, scales, 0.0))
    is_broad = np.arange(len(scales))[:, None] == broad
    return np.where(is_broad, PADDING, log_weights), means, scales


def drawn_outcomes(
    conditional: Conditional, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw outcomes ``(n,)``, never new, and numbers in column units."""
    log_shares, mixture = conditional
    codes, units = np.zeros(n, np.int64), np.zeros(n)
    if log_shares is not None:
        codes = _categories(log_shares, n, rng)
    if mixture is not None:
        log_weights, means, scales = mixture
        component, rows = _categories(log_weights, n, rng), np.arange(n)
        means, scales = np.broadcast_to([means, scales], (2, len(log_weights), n))
        units = means[component, rows] + scales[component, rows] * rng.standard_normal(n)
    return codes, units


def _categories(log_shares: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    shares = np.exp(log_shares - logsumexp(log_shares, 0, np))
    below = np.cumsum(shares, axis=0)
    return np.minimum((below < rng.random(n) * below[-1]).sum(axis=0), len(below) - 1)

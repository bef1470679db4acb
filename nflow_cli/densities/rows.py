"""The density of a row of a table: numbers and categories, given others."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.config.roles import Roles
from nflow_cli.constants import FAR
from nflow_cli.data.dequantisation import (
    NOISES,
    WITHIN,
    are_multiples,
    nearest_multiples,
    row_noise,
)
from nflow_cli.data.units import ColumnUnits, Units
from nflow_cli.densities.bases import Base
from nflow_cli.densities.pushforward import chunks, each_member, expect_one, mixture
from nflow_cli.densities.row_model import RowModel
from nflow_cli.errors import DataError


class RowDensity:
    """``q(x, c | g)``: of D numbers ``x`` and of categories ``c`` of a row, given others ``g``.

    A model of R members is an equal mixture: tensors have a leading axis of R then.

    ``log q = log q(x | g, c) + Σ_j log p(c_j | g, c_<j)`` in nats, the first by flows whose context
    is ``(g, c)``. Of discrete columns it is a lower bound of a log-probability, the logarithm of
    the mean over :data:`~nflow_cli.data.dequantisation.NOISES` noises of the row.

    Rows are arrays ``(n, C)`` in the order of ``roles.columns``. *Encoded* rows are what flows and
    networks take, float32: numbers in the coordinates of the units, then those that are given, then
    the numbers of levels.

    Args:
        base: ``q0``.
        model: The flows, and the networks of the categories; built.
        roles: Of the columns.
        units: Of the D modelled numbers.
        given_units: Of the numbers that are given.
    """

    def __init__(
        self,
        base: Base,
        model: RowModel,
        roles: Roles,
        units: Units,
        given_units: ColumnUnits,
    ):
        self.base, self.model, self.roles = base, model, roles
        self.units, self.given_units = units, given_units
        self.flow = model.flow
        steps = np.array([roles.steps.get(name, 0.0) for name in roles.numbers])
        self._discrete = np.flatnonzero(steps)
        self._steps = steps[self._discrete]
        # Of levels, as encoded rows have them.
        self._counts = [*map(len, roles.given_categories.values()), *model.levels]

    @property
    def dim(self) -> int:
        """D, of the modelled numbers."""
        return self.roles.dim

    @property
    def numbers_a_row(self) -> int:
        """How many numbers a row takes, by which parts of bounded memory are cut."""
        return (self.dim + self.roles.width) * (NOISES if self.is_discrete else 1)

    @property
    def trained(self) -> RowModel:
        """What training changes."""
        return self.model

    @property
    def members(self) -> int:
        """R, of which ``q`` is the equal mixture; 1 where it is none."""
        return self.model.members

    @property
    def is_discrete(self) -> bool:
        """Whether a column is, so that rows are noisy."""
        return bool(len(self._discrete))

    @property
    def dtype(self) -> np.dtype:
        """The type of rows and log-densities."""
        return np.dtype(np.float64)

    # Encoded rows, as tensors.

    def context(self, encoded: Any) -> Any:
        """Return what flows and networks depend on ``(n, H)``; ``None`` where that is nothing."""
        if not self.roles.width:
            return None
        start = self.dim + len(self.roles.given_numbers)
        codes = ops.cast(encoded[..., start:], "int32")
        levels = [
            ops.one_hot(codes[..., i], count, dtype=encoded.dtype)
            for i, count in enumerate(self._counts)
        ]
        return ops.concatenate([encoded[..., self.dim : start], *levels], axis=-1)

    def parts(self, encoded: Any) -> tuple[Any, Any]:
        """Return the numbers that flows move ``(n, D)``, and what they depend on."""
        return encoded[..., : self.dim], self.context(encoded)

    def pull(self, encoded: Any) -> tuple[Any, Any]:
        """Return latents ``(n, D)`` of encoded rows, and their log-density in nats ``(n,)``.

        That is of numbers in the coordinates of the units.
        """
        z, context = self.parts(encoded)
        z0, log_det = self.flow.inverse_and_log_det(z, context)
        log_q = self.base.log_prob(z0) + log_det
        if self.model.levels:
            log_q = log_q + self.model.categories_log_prob(context)
        return z0, log_q

    # Rows, as arrays.

    def redrawn(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return rows encoded, of discrete columns with noise that ``rng`` draws."""
        return self._encoded(rows, rng.random((len(rows), len(self._discrete))))[0]

    def encodings(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield what :meth:`encoded` gives for each of the noises of rows; once without any."""
        if not self.is_discrete:
            yield self._encoded(rows, np.empty((len(rows), 0)))
            return
        for number in range(NOISES):
            yield self._encoded(rows, row_noise(rows, len(self._discrete), number))

    def encoded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows encoded, and ``log|det dz/dx|`` ``(n,)`` in nats, of cells where discrete.

        Such columns have the first of their noises. The determinant is ``-inf`` where a row has no
        density, as it lies on a bound or outside, is no multiple of a step, or has a level that is
        not known; and NaN where a cell has no value, or an infinite one is given.
        """
        return next(self.encodings(rows))

    def _encoded(self, rows: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows encoded, with ``noise`` in (0, 1) spread over the cells of discrete ones."""
        dim, given = self.dim, self.dim + len(self.roles.categories)
        codes = given + len(self.roles.given_numbers)
        numbers = rows[:, :dim].copy()
        numbers[:, self._discrete] += WITHIN * self._steps * (noise - 0.5)
        z, log_det = self.units.inside_and_log_det(numbers)
        levels = np.column_stack([rows[:, codes:], rows[:, dim:given]])
        parts = [z, self.given_units.inside(rows[:, given:codes]), levels]
        encoded = np.nan_to_num(np.clip(np.column_stack(parts), -FAR, FAR))
        has_density = (np.abs(z) < FAR).all(axis=1) & self._are_known(levels)
        has_density &= are_multiples(rows[:, self._discrete], self._steps).all(axis=1)
        log_det = np.where(has_density, log_det + np.log(self._steps).sum(), -math.inf)
        missing = np.isnan(rows).any(axis=1) | np.isinf(rows[:, given:codes]).any(axis=1)
        log_det = np.where(missing, math.nan, log_det)
        return encoded.astype(self.flow.variable_dtype), log_det

    def _are_known(self, levels: np.ndarray) -> np.ndarray:
        """Return which rows have levels ``(n, m)`` that there are: given ones, then modelled."""
        counts = np.array(self._counts)
        return ((levels >= 0) & (levels < counts) & (levels == np.floor(levels))).all(axis=1)

    def log_prob(self, x: Any) -> np.ndarray:
        """Return ``log q`` in nats ``(n,)`` of rows ``(n, C)``.

        ``-inf`` where it is 0: on or outside a bound, between the multiples of a step, or of a
        level that no training row has; NaN for a row that lacks a value.

        Raises:
            DataError: If ``x`` are not rows of C numbers.
        """
        return mixture(self.member_log_probs(x))

    def member_log_probs(self, x: Any) -> np.ndarray:
        """Return ``log q_r`` in nats of each member ``(R, n)``, as :meth:`log_prob` does.

        Raises:
            DataError: If ``x`` are not rows of C numbers.
        """
        return self._by_parts(self._rows(x), self._member_log_probs)

    def _member_log_probs(self, rows: np.ndarray) -> np.ndarray:
        encoded, log_dets = zip(*self.encodings(rows))
        log_q = self._pulled(np.concatenate(encoded))[1]
        log_qs = log_q.reshape(self.members, len(log_dets), -1) + np.stack(log_dets)
        log_qs = log_qs.swapaxes(0, 1)
        with np.errstate(invalid="ignore"):  # of rows that lack a value
            return np.logaddexp.reduce(log_qs) - math.log(len(log_qs))

    def latent(self, x: Any) -> np.ndarray:
        """Return the latents ``(n, D)`` of rows, of discrete columns with the first noise.

        NaN where a row has no density.

        Raises:
            DataError: If ``x`` are not rows of C numbers, or ``q`` is a mixture.
        """
        expect_one(self.members)
        return self.member_latents(x)[0]

    def member_latents(self, x: Any) -> np.ndarray:
        """Return the latents ``(R, n, D)`` of each member, as :meth:`latent` does."""

        def latents(rows: np.ndarray) -> np.ndarray:
            encoded, log_det = self.encoded(rows)
            return np.where(np.isfinite(log_det)[:, None], self._pulled(encoded)[0], np.nan)

        return self._by_parts(self._rows(x), latents)

    def _pulled(self, encoded: np.ndarray) -> list[np.ndarray]:
        """Return latents ``(R, n, D)`` and log-densities ``(R, n)`` of encoded rows."""
        pulled = self.pull(each_member(self.flow, ops.convert_to_tensor(encoded)))
        shape = (self.members, len(encoded))
        z0, log_q = map(ops.convert_to_numpy, pulled)
        return [z0.reshape(*shape, self.dim), log_q.reshape(shape)]

    def base_log_prob(self, x: Any) -> np.ndarray:
        """Return the log-density ``(n,)`` in nats of the base without flows, of equal shares."""
        rows = self._rows(x)
        z, log_det = self.encoded(rows)
        shares = -sum(math.log(count) for count in self.model.levels)
        return ops.convert_to_numpy(self.base.log_prob(z[:, : self.dim])) + log_det + shares

    def draw(self, rows: Any, rng_of: Callable[[int], np.random.Generator]) -> np.ndarray:
        """Draw what is modelled, given what each of ``rows`` ``(n, C)`` has.

        Args:
            rows: Their modelled cells are ignored.
            rng_of: Returns the generator of each part of them, by its number.

        Returns:
            Rows ``(n, C)`` with other modelled cells.

        Raises:
            DataError: If ``rows`` are not rows of C numbers, or lack a value that is given, or have
                an infinite one or a level there that is not known.
        """
        rows = self._rows(rows).copy()
        given = rows[:, self.dim + len(self.roles.categories) :]
        modelled = np.zeros((len(rows), len(self.roles.categories)))
        levels = np.column_stack([given[:, len(self.roles.given_numbers) :], modelled])
        if not (np.isfinite(given).all() and self._are_known(levels).all()):
            raise DataError("expected a value of every given column, and levels that are known")
        rows[:, : self.dim + len(self.roles.categories)] = 0.0
        drawn = np.empty_like(rows)
        for number, part in enumerate(self.places(len(rows))):
            drawn[part] = self._drawn(rows[part], rng_of(number))
        return drawn

    def _drawn(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        n = len(rows)
        z0 = self.base.sample(rng, (n, self.dim))
        of_one = (rng.integers(self.members, size=n), np.arange(n)) if self.members > 1 else ...
        for j in range(len(self.roles.categories)):
            log_shares = self.model.log_shares(j, self._context_of(rows))
            shares = np.exp(ops.convert_to_numpy(log_shares)[of_one])
            below = np.cumsum(shares.astype(np.float64), axis=1)
            beyond = rng.random((n, 1)) * below[:, -1:] > below
            rows[:, self.dim + j] = np.minimum(beyond.sum(axis=1), shares.shape[1] - 1)
        z0 = each_member(self.flow, ops.convert_to_tensor(z0))
        z, _ = self.flow.forward_and_log_det(z0, self._context_of(rows))
        x = self.units.outside(ops.convert_to_numpy(z)[of_one])
        x[:, self._discrete] = nearest_multiples(x[:, self._discrete], self._steps)
        rows[:, : self.dim] = x
        return rows

    def _context_of(self, rows: np.ndarray) -> Any:
        """Return the context of rows, once for each member."""
        return self.context(each_member(self.flow, ops.convert_to_tensor(self.encoded(rows)[0])))

    def _by_parts(
        self, rows: np.ndarray, compute: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Compute arrays ``(R, n, …)`` of rows, some at a time."""
        if not len(rows):  # which flows do not take
            return compute(np.zeros((1, rows.shape[1])))[:, :0]
        parts = [compute(rows[part]) for part in self.places(len(rows))]
        return np.concatenate(parts, axis=1)

    def places(self, n: int) -> Iterator[slice]:
        """Cut ``n`` rows into as many as are computed at a time, in bounded memory."""
        return chunks(n, self.numbers_a_row)

    def _rows(self, x: Any) -> np.ndarray:
        """Return rows as an array of float64, or refuse them."""
        try:
            rows = np.asarray(x, np.float64)
        except (TypeError, ValueError):
            rows = np.empty(0)
        width = len(self.roles.columns)
        if rows.ndim != 2 or rows.shape[-1] != width:
            raise DataError(
                f"expected rows (n, {width}): {', '.join(self.roles.columns[:20])}. Received: "
                f"shape {np.shape(x)}"
            )
        return rows

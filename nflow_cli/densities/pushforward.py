"""Flow densities: a base distribution pushed forward through flows."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from nflow_cli.arguments import room_for, whole_number
from nflow_cli.arrays import Tensor
from nflow_cli.constants import FAR
from nflow_cli.data.units import IDENTITY, ColumnUnits
from nflow_cli.densities.bases import Base
from nflow_cli.errors import DataError
from nflow_cli.flows.stack import FlowStack
from nflow_cli.random_streams import stream

CHUNK = 100_000  # most points at a time
NUMBERS = 2_000_000  # most coordinates at a time
LATENT = 0  # place among the results of `pull`
LOG_Q = 1
GOLDEN = (math.sqrt(5) - 1) / 2  # steps of it, modulo 1, are spread evenly


class Draw(NamedTuple):
    """Samples with their base points and log-density.

    Attributes:
        start: Number of samples drawn before.
        z0: Base samples ``(m, D)``.
        x: ``(m, G + D)`` in the user's units, given columns first.
        log_q: Log-density in nats ``(m,)``; ``None`` of a mixture, as it takes an inverse of each
            member.
        member: Member that each is of ``(m,)``.
    """

    start: int
    z0: np.ndarray
    x: np.ndarray
    log_q: np.ndarray | None
    member: np.ndarray


class PushforwardDensity:
    """Density ``q`` of ``x = u^-1(f(z0))``, ``z0`` from a base ``q0``, ``f`` the flows.

    ``log q(x) = log q0(z0) - log|det df/dz0| + log|det du/dx|`` in nats (arXiv 1505.05770, eq. 5),
    where ``u`` maps the user's units to the coordinates of the flows.

    :meth:`push` and :meth:`pull` work on tensors in these coordinates; all other methods on arrays
    of any length in the user's units, in bounded memory.

    R members side by side are a mixture, ``q = Σ_r w_r q_r``, with the weights of the stacks if
    they have any, else equal; tensors then have a leading axis R. Flows with a context of G numbers
    give ``log q(x | g)``, of rows ``(..., G + D)``.

    Args:
        base: ``q0``.
        flow: ``f``, built.
        units: ``u``.
        given_units: Of the G given columns.
    """

    def __init__(
        self,
        base: Base,
        flow: FlowStack,
        units: ColumnUnits = IDENTITY,
        given_units: ColumnUnits | None = None,
    ):
        self.base: Base = base
        self.flow: FlowStack = flow
        self.units: ColumnUnits = units
        self.given_units: ColumnUnits = given_units or ColumnUnits([])

    @property
    def dim(self) -> int:
        """D."""
        return self.flow.dim

    @property
    def n_given(self) -> int:
        """G."""
        return len(self.given_units.columns)

    @property
    def numbers_a_row(self) -> int:
        """G + D."""
        return self.n_given + self.dim

    @property
    def trained(self) -> FlowStack:
        """The layer with the trained weights."""
        return self.flow

    @property
    def dtype(self) -> np.dtype:
        """Type of points and log-densities: the flows', or float64 in other units."""
        return np.result_type(self.flow.variable_dtype, self.units.dtype)

    def push(self, z0: Tensor, context: Tensor = None) -> tuple[Tensor, Tensor]:
        """``z = f(z0)`` ``(..., D)`` and ``log q0(z0) - log|det df/dz0|`` ``(...)``."""
        z, log_det = self.flow.forward_and_log_det(z0, context)
        return z, self.base.log_prob(z0) - log_det

    def pull(self, z: Tensor, context: Tensor = None) -> tuple[Tensor, Tensor]:
        """``z0 = f^-1(z)`` ``(..., D)`` and ``log q0(z0) + log|det df^-1/dz|`` ``(...)``."""
        z0, log_det = self.flow.inverse_and_log_det(z, context)
        return z0, self.base.log_prob(z0) + log_det

    def held_log_prob(self, z: Tensor) -> Tensor:
        """``log q(z)`` ``(...)`` with a gradient by ``z`` alone, not by the weights."""
        z0, log_det = self.flow.composition().map_weights(ops.stop_gradient).run(z, inverse=True)
        return self.base.log_prob(z0) + log_det

    def parts(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Split encoded rows ``(..., G + D)`` into points and context."""
        if not self.n_given:
            return encoded, None
        return encoded[..., self.n_given :], encoded[..., : self.n_given]

    def encoded(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows ``(n, G + D)`` in the coordinates of the flows, and ``log|det du/dx|``."""
        given, x = np.split(x, [self.n_given], axis=-1)
        z, log_det = self.units.inside_and_log_det(x)
        if not self.n_given:
            return z, log_det
        context = self.given_units.inside(given)
        log_det = np.where(np.isfinite(context).all(axis=-1), log_det, np.nan)
        return np.concatenate([context, z], axis=-1), log_det

    @property
    def n_members(self) -> int:
        """R."""
        return math.prod(self.flow.members)

    @property
    def member_weights(self) -> np.ndarray:
        """``w`` ``(R,)``, of sum 1."""
        if self.flow.log_weights is None:
            return np.full(self.n_members, 1 / self.n_members)
        weights = np.exp(ops.convert_to_numpy(self.flow.log_weights).astype(np.float64))
        return weights / weights.sum()

    def draw(
        self,
        n: int,
        rng_of: Callable[[int], np.random.Generator],
        given: np.ndarray | None = None,
        even: bool = False,
    ) -> Iterator[Draw]:
        """Draw ``n`` samples at each of m conditions ``given`` ``(m, G)``, in chunks.

        ``rng_of`` returns the generator of a chunk's base samples, by its number; ``even``: members
        in the proportion of their weights, not by chance.
        """
        given = np.zeros((1, 0)) if given is None else given
        for number, part in enumerate(chunks(n * len(given), self.numbers_a_row)):
            conditions = given[np.arange(part.start, part.stop) // n]
            rng = rng_of(number)
            z0 = self.base.sample(rng, (len(conditions), self.dim))
            context = self._rows(self.given_units.inside(conditions)) if self.n_given else None
            member = self._draw_members(rng, len(z0), even)
            z, log_q = self._pushed(member, z0, context)
            x, log_det = self.units.outside_and_log_det(z)
            if self.n_given:
                x = np.concatenate([conditions, x], axis=1)
            if log_q is not None:
                log_q = log_q - log_det
            yield Draw(part.start, z0, x, log_q, member)

    def _pushed(
        self, member: np.ndarray, z0: np.ndarray, context: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Images of base samples, each by a member, and ``log q`` if there is one member."""
        if self.n_members == 1:
            z, log_q = self.push(self.tensor(z0), context)
            return ops.convert_to_numpy(z), ops.convert_to_numpy(log_q)
        z = np.empty_like(z0)
        for part in chunks(len(z0), self.numbers_a_row, self.n_members):
            part_context = None if context is None else context[part]
            z[part] = self._pushed_by(member[part], z0[part], part_context)
        return z, None

    def _pushed_by(
        self, member: np.ndarray, z0: np.ndarray, context: np.ndarray | None
    ) -> np.ndarray:
        """Images of base samples, each by a member; without a context, those of each member
        side by side.
        """
        if context is not None:
            images = self.push(each_member(self.flow, self.tensor(z0)), context)[0]
            return ops.convert_to_numpy(images)[member, np.arange(len(member))]
        order = np.argsort(member, kind="stable")
        counts = np.bincount(member, minlength=self.n_members)
        rank = np.empty(len(member), int)  # of a point among those of its member
        rank[order] = np.arange(len(member)) - np.repeat(np.cumsum(counts) - counts, counts)
        points = np.zeros((self.n_members, counts.max(), self.dim), z0.dtype)
        points[member, rank] = z0
        return ops.convert_to_numpy(self.push(self.tensor(points))[0])[member, rank]

    def _draw_members(self, rng: np.random.Generator, n: int, even: bool) -> np.ndarray:
        """Draw the member of each of n samples."""
        if self.n_members == 1:
            return np.zeros(n, int)
        if even:
            places = (rng.random() + GOLDEN * np.arange(n)) % 1
            return np.searchsorted(np.cumsum(self.member_weights)[:-1], places, side="right")
        if self.flow.log_weights is None:
            return rng.integers(self.n_members, size=n)
        return rng.choice(self.n_members, size=n, p=self.member_weights)

    def batches(
        self, n: int, seed: int = 0, given: np.ndarray | None = None
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield chunks of :meth:`sample`: the number of rows before, rows ``(m, G + D)``, and their
        ``log q`` ``(m,)`` in nats.
        """
        n = whole_number("n", n, error=DataError)
        for draw in self.draw(n, lambda chunk: stream(seed, "samples", chunk), given):
            log_q = self.log_prob(draw.x) if draw.log_q is None else draw.log_q
            yield draw.start, draw.x, log_q

    def sample(
        self, n: int, seed: int = 0, given: np.ndarray | None = None
    ) -> NDArray[np.floating[Any]]:
        """Draw ``n`` points ``(n, D)``, of ``dtype``; a smaller ``n`` gives the first of these.

        With m conditions ``given`` ``(m, G)``: rows ``(m n, G + D)``, n at each. Beyond the memory
        a ``DataError``.
        """
        times = 1 if given is None else len(given)
        points = room_for(n, (self.numbers_a_row,), self.dtype, times=times)
        for draw in self.draw(n, lambda chunk: stream(seed, "samples", chunk), given):
            points[draw.start : draw.start + len(draw.x)] = draw.x
        return points

    def log_prob(self, x: ArrayLike) -> NDArray[np.floating[Any]]:
        """Exact ``log q(x)`` in nats of points ``(..., D)``, or rows ``(..., G + D)``, given
        columns first.

        Returns:
            ``(...)``, of ``dtype``; ``-inf`` where ``q`` is 0: outside the image of a bounded base,
            on or outside a bound of the units, and beyond 1e15; NaN where a number is NaN or a
            given one not finite.
        """
        return mixture(self.member_log_probs(x), self.member_weights)

    def member_log_probs(self, x: ArrayLike) -> np.ndarray:
        """Log-density in nats of each member ``(R, ...)``; see :meth:`log_prob`."""
        points = self._points(x)
        encoded, log_det = self.encoded(points)
        rows = self._rows(encoded)
        log_q = self._pulled(rows, LOG_Q)
        log_q[:, np.abs(rows[:, self.n_given :]).max(axis=-1) >= FAR] = -np.inf
        return log_q.reshape(self.n_members, *points.shape[:-1]) + log_det

    def _pulled(self, rows: np.ndarray, result: int) -> np.ndarray:
        """Latents or log-densities of rows by each member: ``(R, n, …)``."""

        def pull(tensor: Tensor) -> Tensor:
            z, context = self.parts(tensor)
            return self.pull(each_member(self.flow, z), context)[result]

        values = in_parts(pull, rows, self.n_members, len(self.flow.members))
        return values if self.flow.members else values[None]

    def latent(self, x: ArrayLike) -> NDArray[np.floating[Any]]:
        """``f^-1(u(x))`` of points ``x`` ``(..., D)``, the inverse of :meth:`from_latent`.

        NaN on or outside a bound; a ``DataError`` if ``q`` is a mixture.
        """
        expect_one_member(self.n_members)
        return self.member_latents(x)[0]

    def member_latents(self, x: ArrayLike) -> np.ndarray:
        """Latents ``f_r^-1(u(x))`` of each member ``(R, ..., D)``; see :meth:`latent`."""
        points = self._points(x)
        encoded, log_det = self.encoded(points)
        z0 = self._pulled(self._rows(encoded), LATENT)
        z0[:, ~(log_det > -np.inf).ravel()] = np.nan
        return z0.reshape(self.n_members, *points.shape[:-1], self.dim)

    def from_latent(self, z0: ArrayLike) -> NDArray[np.floating[Any]]:
        """``u^-1(f(z0))`` of latents ``(..., D)``: samples of ``q`` from samples of the base.

        Given columns come first, in ``z0`` and in the result. A ``DataError`` if ``q`` is a
        mixture.
        """
        expect_one_member(self.n_members)
        points = self._points(z0)
        given, z = np.split(points, [self.n_given], axis=-1)
        rows = self._rows(np.concatenate([self.given_units.inside(given), z], axis=-1))
        images = in_parts(lambda tensor: self.push(*self.parts(tensor))[0], rows)
        x = self.units.outside(images).reshape(z.shape)
        return np.concatenate([given, x], axis=-1) if self.n_given else x

    def base_log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log-density ``(n,)`` in nats of rows by the base without flows."""
        z, log_det = self.units.inside_and_log_det(x[:, self.n_given :])
        return ops.convert_to_numpy(self.base.log_prob(ops.convert_to_tensor(z))) + log_det

    def _points(self, x: ArrayLike) -> np.ndarray:
        """Points ``(..., G + D)`` in float64, checked."""
        points = None
        try:
            array = np.asarray(x)
            received = f"shape {array.shape}, dtype {array.dtype}"
            if array.dtype.kind in "fiub":
                points = array.astype(np.float64)
        except ValueError:
            received = "rows of different lengths"
        width = self.numbers_a_row
        if points is None or not points.ndim or points.shape[-1] != width:
            raise DataError(
                f"expected points (..., {width}): numbers in rows of {width}. Received: {received}"
            )
        return points

    def _rows(self, z: np.ndarray) -> np.ndarray:
        """Coordinates of the flows as rows ``(n, …)``, clipped, in the type of the flows."""
        return np.clip(z, -FAR, FAR).astype(self.flow.variable_dtype).reshape(-1, z.shape[-1])

    def tensor(self, array: np.ndarray) -> Tensor:
        """Array in the type of the flows."""
        return ops.convert_to_tensor(array, self.flow.variable_dtype)


def each_member(flow: FlowStack, points: Tensor) -> Tensor:
    """Repeat tensors ``(n, …)`` for each member."""
    return ops.broadcast_to(points, (*flow.members, *points.shape)) if flow.members else points


def mixture(log_q: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``log Σ_r w_r q_r`` of log-densities ``(R, ...)``."""
    if len(log_q) == 1:
        return log_q[0]
    with np.errstate(invalid="ignore"):  # of points that lack a value
        if np.ptp(weights) == 0:
            return np.logaddexp.reduce(log_q) - math.log(len(log_q))
        log_weights = np.log(weights).astype(log_q.dtype).reshape(-1, *[1] * (log_q.ndim - 1))
        return np.logaddexp.reduce(log_q + log_weights)


def expect_one_member(members: int) -> None:
    """Refuse latents of a mixture: its members differ."""
    if members > 1:
        raise DataError(
            f"expected one density. Received: a mixture of {members}, which has no one latent"
        )


def in_parts(
    function: Callable[[Tensor], Tensor], rows: np.ndarray, members: int = 1, axis: int = 0
) -> np.ndarray:
    """Values of a function of tensors at rows ``(n, D)``, which are their ``axis``, in bounded
    memory.
    """
    n = len(rows)
    if not n:  # no rows are no batch: the values of one give the shape
        rows = np.zeros((1, rows.shape[-1]), rows.dtype)
    parts = chunks(len(rows), rows.shape[-1], members)
    values = (function(ops.convert_to_tensor(rows[part])) for part in parts)
    joined = np.concatenate([ops.convert_to_numpy(value) for value in values], axis)
    return np.split(joined, [n], axis)[0]


def chunks(n: int, dim: int, members: int = 1) -> Iterator[slice]:
    """Slices of ``n`` rows of R^``dim``, each for all members, in bounded memory."""
    size = max(1, min(CHUNK, NUMBERS // dim) // members)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def values_at(log_prob: Callable[[Tensor], Tensor], points: np.ndarray) -> np.ndarray:
    """Log-density of tensors at points ``(n, D)``, in chunks: ``(n,)``, in its own type."""
    return in_parts(log_prob, points.astype(np.float32))

"""Rational-quadratic splines: map, inverse, and the gradient of both."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.flows.elementwise import Elementwise
from nflow_cli.flows.numerics import softplus


class Bin(NamedTuple):
    """The bin of each point, ``(*lead, N, batch)`` but for the first two.

    Attributes:
        lengths: Widths and heights of all bins above the least, ``(*lead, 2, bins, N, batch)``.
        index: ``(*lead, 1, N, batch)``.
        bottom: The spline at ``left``.
        raw_slopes: At both ends.
    """

    lengths: Tensor
    index: Tensor
    left: Tensor
    bottom: Tensor
    width: Tensor
    height: Tensor
    raw_slopes: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Spline(Elementwise):
    """A rational-quadratic spline of ``[-B, B]`` onto itself, and the identity outside.

    In a bin of width ``w``, height ``h`` and slopes ``d_0``, ``d_1`` at its ends, with ``s = h/w``
    and ``ξ`` the part of its width before the point, ``f = y + h N / (N + M)`` where

        ``N = ξ (s ξ + d_0 (1-ξ))`` and ``M = (1-ξ) (s (1-ξ) + d_1 ξ)``,

        ``f' = s² (d_0 (1-ξ)² + d_1 ξ² + 2 s ξ (1-ξ)) / (N + M)²``.

    Parameters: ``bins`` widths and ``bins`` heights, through a softmax each, and ``bins - 1``
    slopes between bins, through a softplus; at both ends the slope is 1.

    Args:
        bins: Number of bins.
        bound: ``B``.
        least: Least width and height of a bin, as parts of the box, and least slope. Steeper
            splines train less smoothly.

    References:
        Durkan, Bekasov, Murray & Papamakarios, *Neural Spline Flows*, 2019, arXiv 1906.04032, eqs.
        4-8. Here no term is negative, neither of a slope nor of a root.
    """

    bins: int = 8
    bound: float = 5.0
    least: float = 1e-3

    @property
    def size(self) -> int:
        return 3 * self.bins - 1

    @property
    def _room(self) -> float:
        return 2 * self.bound * (1 - self.least * self.bins)

    @property
    def _shift(self) -> float:
        return math.log(math.expm1(1 - self.least))

    def _slope(self, raw: Tensor) -> Tensor:
        return self.least + softplus(raw + self._shift)

    def forward(self, parameters: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._run(parameters, z, inverse=False)

    def inverse(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._run(parameters, x, inverse=True)

    def _run(self, parameters: Tensor, points: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        outside = ops.abs(points) > self.bound  # False for NaN
        inside = ops.where(outside, 0.0, points)
        moved, log_slope = self._inside(parameters, inside, inverse)
        return ops.where(outside, points, moved), ops.where(outside, 0.0, log_slope)

    def _inside(self, parameters: Tensor, points: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        """Own gradient, exact, in few passes: by the chain rule the slope would be a difference,
        and each selection a pass.
        """

        def run(
            raw: Tensor, at: Tensor
        ) -> tuple[tuple[Tensor, Tensor], Callable[..., tuple[Tensor, Tensor]]]:
            here, spot = self._spot(raw, at, inverse)

            def gradient(
                *arguments: Tensor, upstream: Tensor | None = None
            ) -> tuple[Tensor, Tensor]:
                changes = arguments if len(arguments) == 2 else arguments[0]
                return self._gradient(raw, at, inverse, *changes)

            if inverse:
                return (here.left + here.width * spot.part, -spot.log_slope()), gradient
            return (here.bottom + here.height * spot.part_of_height(), spot.log_slope()), gradient

        if keras.config.backend() == "torch":  # Keras has no custom gradient of two outputs there
            return run(parameters, points)[0]
        return ops.custom_gradient(run)(parameters, points)

    def _bin(self, raw: Tensor, at: Tensor, inverse: bool) -> Bin:
        bins, least = self.bins, 2 * self.bound * self.least
        shape = (*raw.shape[:-3], 2, bins, *raw.shape[-2:])
        sizes = ops.reshape(raw[..., : 2 * bins, :, :], shape)
        weights = ops.exp(sizes - ops.stop_gradient(ops.max(sizes, axis=-3, keepdims=True)))
        lengths = self._room * weights / ops.sum(weights, axis=-3, keepdims=True)
        cut = lengths[..., int(inverse), :, :, :]
        knot, index = -self.bound, 0.0
        for j in range(bins - 1):
            # No product: a compiler may fuse it with the sum in one place and not in another, which
            # puts a point at a knot into different bins.
            knot = knot + (least + cut[..., j, :, :])
            index = index + ops.cast(at >= knot, at.dtype)
        index = ops.expand_dims(ops.stop_gradient(index), -3)
        is_here, is_below = self._masks(index)
        here = ops.sum(ops.where(is_here[..., None, :, :, :], lengths, 0.0), axis=-3)
        below = ops.sum(ops.where(is_below[..., None, :, :, :], lengths, 0.0), axis=-3)
        starts = below + least * index - self.bound
        here = here + least
        slopes = raw[..., 2 * bins :, :, :]
        start, end = (
            ops.sum(ops.where(mask, slopes, 0.0), axis=-3) for mask in self._masks_of_ends(index)
        )
        left, bottom = starts[..., 0, :, :], starts[..., 1, :, :]
        width, height = here[..., 0, :, :], here[..., 1, :, :]
        return Bin(lengths, index, left, bottom, width, height, (start, end))

    def _masks(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The point's bin, and those below it, ``(*lead, bins, N, batch)``."""
        numbers = ops.cast(np.arange(self.bins)[:, None, None], index.dtype)
        return numbers == index, numbers < index

    def _masks_of_ends(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inner knots at the ends of the point's bin."""
        numbers = ops.cast(np.arange(self.bins - 1)[:, None, None], index.dtype)
        return numbers + 1 == index, numbers == index

    def _spot(self, raw: Tensor, at: Tensor, inverse: bool) -> tuple[Bin, "Spot"]:
        here = self._bin(raw, at, inverse)
        start, end = map(self._slope, here.raw_slopes)
        s = here.height / here.width
        begin, length = (here.bottom, here.height) if inverse else (here.left, here.width)
        part = ops.clip((at - begin) / length, 0.0, 1.0)  # exceeds only by rounding
        return here, Spot(_root(s, start, end, part) if inverse else part, s, start, end)

    def _gradient(
        self, raw: Tensor, at: Tensor, inverse: bool, of_moved: Tensor, of_log_slope: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradient by parameters and points.

        The inverse moves ``x`` to ``z`` with ``f(z; θ) = x``, so ``dz = (dx - f_θ dθ) / f'``, and
        its log-slope is ``-log f'(z; θ)``.
        """
        here, spot = self._spot(raw, at, inverse)
        if inverse:
            of_log_slope = -of_log_slope
            bend = of_log_slope * spot.bend() / here.width
            of_points = (of_moved + bend) / spot.slope()
            of_moved = -of_points
        else:
            bend = of_log_slope * spot.bend() / here.width
            of_points = of_moved * spot.slope() + bend
        of_left = -(of_moved * spot.slope() + bend)
        of_s, *of_slopes = spot.gradient(of_moved * here.height, of_log_slope)
        of_width = spot.part * of_left - of_s * spot.s / here.width
        of_height = of_moved * spot.part_of_height() + of_s / here.width
        of_raw = self._handed_out(here, (of_left, of_moved), (of_width, of_height), of_slopes)
        return of_raw, of_points

    def _handed_out(
        self,
        here: Bin,
        of_starts: tuple[Tensor, Tensor],
        of_lengths: tuple[Tensor, Tensor],
        of_slopes: Sequence[Tensor],
    ) -> Tensor:
        is_here, is_below = (mask[..., None, :, :, :] for mask in self._masks(here.index))
        of_starts, of_lengths = (
            ops.expand_dims(ops.stack(pair, axis=-3), -3) for pair in (of_starts, of_lengths)
        )
        of_each = ops.where(is_here, of_lengths, ops.where(is_below, of_starts, 0.0))
        mean = ops.sum(here.lengths * of_each, axis=-3, keepdims=True) / self._room
        of_sizes = here.lengths * (of_each - mean)
        is_start, is_end = self._masks_of_ends(here.index)
        of_start, of_end = (
            ops.expand_dims(value * ops.sigmoid(raw + self._shift), -3)
            for value, raw in zip(of_slopes, here.raw_slopes)
        )
        of_ends = ops.where(is_start, of_start, ops.where(is_end, of_end, 0.0))
        shape = (*of_ends.shape[:-3], 2 * self.bins, *of_ends.shape[-2:])
        return ops.concatenate([ops.reshape(of_sizes, shape), of_ends], axis=-3)


@dataclass(frozen=True)
class Splined:
    """Scalar maps are :class:`Spline`, with the same arguments."""

    bins: int = 8
    bound: float = 5.0
    least: float = 1e-3

    @property
    def scalar_maps(self) -> Elementwise:
        return Spline(self.bins, self.bound, self.least)


class Spot(NamedTuple):
    """Position of a point in its bin: ``ξ``, height over width, the slopes ``d_0`` and ``d_1``."""

    part: Tensor
    s: Tensor
    start: Tensor
    end: Tensor

    @property
    def rest(self) -> Tensor:
        """``1 - ξ``."""
        return 1 - self.part

    def _sides(self) -> tuple[Tensor, Tensor]:
        """``N`` and ``M``."""
        part, rest = self.part, self.rest
        return part * (self.s * part + self.start * rest), rest * (self.s * rest + self.end * part)

    def _steepness(self) -> Tensor:
        """``d_0 (1-ξ)² + d_1 ξ² + 2 s ξ (1-ξ)``."""
        part, rest = self.part, self.rest
        return self.start * rest * rest + self.end * part * part + 2 * self.s * part * rest

    def part_of_height(self) -> Tensor:
        """``η = N / (N + M)``."""
        n, m = self._sides()
        return n / (n + m)

    def slope(self) -> Tensor:
        """``f'``."""
        ratio = self.s / sum(self._sides())
        return ratio * ratio * self._steepness()

    def log_slope(self) -> Tensor:
        """``log f'``."""
        return ops.log(self.slope())

    def bend(self) -> Tensor:
        """Derivative of ``log f'`` by ``ξ``."""
        part, rest, s = self.part, self.rest, self.s
        of_steepness = 2 * (self.end * part - self.start * rest + s * (rest - part))
        of_whole = (rest - part) * (self.start + self.end - 2 * s)
        return of_steepness / self._steepness() - 2 * of_whole / sum(self._sides())

    def gradient(
        self, of_part_of_height: Tensor, of_log_slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient by ``s``, ``d_0`` and ``d_1`` at constant ``ξ``."""
        part, rest, (n, m) = self.part, self.rest, self._sides()
        both, whole = part * rest, n + m
        share = of_part_of_height * both / (whole * whole)
        of_whole, of_steepness = -2 * of_log_slope / whole, of_log_slope / self._steepness()
        of_s = share * (self.end * part * part - self.start * rest * rest)
        of_s = of_s + of_whole * (part * part + rest * rest)
        of_s = of_s + 2 * (of_log_slope / self.s + of_steepness * both)
        of_start = share * m + of_whole * both + of_steepness * rest * rest
        return of_s, of_start, of_whole * both + of_steepness * part * part - share * n


def _root(s: Tensor, start: Tensor, end: Tensor, part: Tensor) -> Tensor:
    """Part of the bin's width below the part ``η`` of its height.

    With ``e = d_0 (1-η) - d_1 η`` and ``r = √(e² + 4 s² η (1-η))`` the quadratic's root is
    ``2 s η / (e + r + 2 s η)``; for ``e < 0``, ``e + r`` is ``4 s² η (1-η) / (r - e)``.
    """
    rest = 1 - part
    before, after = 2 * s * part, 2 * s * rest
    e = start * rest - end * part
    far = ops.sqrt(e * e + before * after) + ops.abs(e)
    falls = e < 0
    return ops.where(falls, far, before) / (far + ops.where(falls, after, before))

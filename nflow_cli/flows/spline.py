"""Rational-quadratic splines: map, inverse, and the gradient of both."""

import math
from collections.abc import Callable
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
        """Slope at a knot, of its raw parameter."""
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
            raw: Tensor, given: Tensor
        ) -> tuple[tuple[Tensor, Tensor], Callable[..., tuple[Tensor, Tensor]]]:
            here, spot = self._spot(raw, given, inverse)

            def gradient(
                *arguments: Tensor, upstream: Tensor | None = None
            ) -> tuple[Tensor, Tensor]:
                changes = arguments if len(arguments) == 2 else arguments[0]
                return self._gradient(raw, given, inverse, *changes)

            if inverse:
                moved = here.left + here.width * spot.part
                log_slope = -spot.log_slope()
            else:
                moved = here.bottom + here.height * spot.part_of_height()
                log_slope = spot.log_slope()
            return (moved, log_slope), gradient

        if keras.config.backend() == "torch":  # Keras has no custom gradient of two outputs there
            return run(parameters, points)[0]
        return ops.custom_gradient(run)(parameters, points)

    def _bin(self, raw: Tensor, points: Tensor, inverse: bool) -> Bin:
        """The bin of points, or of their images where ``inverse``."""
        least = 2 * self.bound * self.least
        sizes = raw[..., : 2 * self.bins, :, :]
        sizes = ops.reshape(sizes, (*raw.shape[:-3], 2, self.bins, *raw.shape[-2:]))
        weights = ops.exp(sizes - ops.stop_gradient(ops.max(sizes, axis=-3, keepdims=True)))
        lengths = self._room * weights / ops.sum(weights, axis=-3, keepdims=True)
        cut = lengths[..., int(inverse), :, :, :]
        knot = -self.bound
        index = 0.0
        for j in range(self.bins - 1):
            # No product: a compiler may fuse it with the sum in one place and not in another, which
            # puts a point at a knot into different bins.
            knot = knot + (least + cut[..., j, :, :])
            index = index + ops.cast(points >= knot, points.dtype)
        index = ops.expand_dims(ops.stop_gradient(index), -3)
        is_here, is_below = self._masks(index)
        here = ops.sum(ops.where(is_here[..., None, :, :, :], lengths, 0.0), axis=-3)
        below = ops.sum(ops.where(is_below[..., None, :, :, :], lengths, 0.0), axis=-3)
        starts = below + least * index - self.bound
        here = here + least
        slopes = raw[..., 2 * self.bins :, :, :]
        is_start, is_end = self._masks_of_ends(index)
        start = ops.sum(ops.where(is_start, slopes, 0.0), axis=-3)
        end = ops.sum(ops.where(is_end, slopes, 0.0), axis=-3)
        return Bin(
            lengths=lengths,
            index=index,
            left=starts[..., 0, :, :],
            bottom=starts[..., 1, :, :],
            width=here[..., 0, :, :],
            height=here[..., 1, :, :],
            raw_slopes=(start, end),
        )

    def _masks(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The point's bin, and those below it, ``(*lead, bins, N, batch)``."""
        numbers = ops.cast(np.arange(self.bins)[:, None, None], index.dtype)
        return numbers == index, numbers < index

    def _masks_of_ends(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Inner knots at the ends of the point's bin."""
        numbers = ops.cast(np.arange(self.bins - 1)[:, None, None], index.dtype)
        return numbers + 1 == index, numbers == index

    def _spot(self, raw: Tensor, points: Tensor, inverse: bool) -> tuple[Bin, "Spot"]:
        """The bin of points, or of their images where ``inverse``, and the position in it."""
        here = self._bin(raw, points, inverse)
        raw_start, raw_end = here.raw_slopes
        start = self._slope(raw_start)
        end = self._slope(raw_end)
        s = here.height / here.width
        # Clipped, as rounding may exceed the bin.
        if inverse:
            part_of_height = ops.clip((points - here.bottom) / here.height, 0.0, 1.0)
            part = _root(s, start, end, part_of_height)
        else:
            part = ops.clip((points - here.left) / here.width, 0.0, 1.0)
        return here, Spot(part, s, start, end)

    def _gradient(
        self, raw: Tensor, points: Tensor, inverse: bool, of_moved: Tensor, of_log_slope: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradient by parameters and points.

        The inverse moves ``x`` to ``z`` with ``f(z; θ) = x``, so ``dz = (dx - f_θ dθ) / f'``, and
        its log-slope is ``-log f'(z; θ)``.
        """
        here, spot = self._spot(raw, points, inverse)
        if inverse:
            of_log_slope = -of_log_slope
            bend = of_log_slope * spot.bend() / here.width
            of_points = (of_moved + bend) / spot.slope()
            of_moved = -of_points
        else:
            bend = of_log_slope * spot.bend() / here.width
            of_points = of_moved * spot.slope() + bend
        of_left = -(of_moved * spot.slope() + bend)
        of_s, of_start, of_end = spot.gradient(of_moved * here.height, of_log_slope)
        of_width = spot.part * of_left - of_s * spot.s / here.width
        of_height = of_moved * spot.part_of_height() + of_s / here.width
        of_raw = self._raw_gradient(
            here, (of_left, of_moved), (of_width, of_height), (of_start, of_end)
        )
        return of_raw, of_points

    def _raw_gradient(
        self,
        here: Bin,
        of_corner: tuple[Tensor, Tensor],
        of_size: tuple[Tensor, Tensor],
        of_slopes: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Gradient by raw parameters, from those by the bin's corner, size and slopes."""
        is_here, is_below = self._masks(here.index)
        is_here = is_here[..., None, :, :, :]
        is_below = is_below[..., None, :, :, :]
        of_start = ops.expand_dims(ops.stack(of_corner, axis=-3), -3)
        of_length = ops.expand_dims(ops.stack(of_size, axis=-3), -3)
        of_lengths = ops.where(is_here, of_length, ops.where(is_below, of_start, 0.0))
        mean = ops.sum(here.lengths * of_lengths, axis=-3, keepdims=True) / self._room
        of_sizes = here.lengths * (of_lengths - mean)
        is_first, is_last = self._masks_of_ends(here.index)
        of_ends = []
        for of_slope, raw in zip(of_slopes, here.raw_slopes):
            of_end = of_slope * ops.sigmoid(raw + self._shift)
            of_ends.append(ops.expand_dims(of_end, -3))
        of_knots = ops.where(is_first, of_ends[0], ops.where(is_last, of_ends[1], 0.0))
        shape = (*of_knots.shape[:-3], 2 * self.bins, *of_knots.shape[-2:])
        return ops.concatenate([ops.reshape(of_sizes, shape), of_knots], axis=-3)


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
        part = self.part
        rest = self.rest
        n = part * (self.s * part + self.start * rest)
        m = rest * (self.s * rest + self.end * part)
        return n, m

    def _steepness(self) -> Tensor:
        """``d_0 (1-ξ)² + d_1 ξ² + 2 s ξ (1-ξ)``."""
        part = self.part
        rest = self.rest
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
        part = self.part
        rest = self.rest
        s = self.s
        of_steepness = 2 * (self.end * part - self.start * rest + s * (rest - part))
        of_sum = (rest - part) * (self.start + self.end - 2 * s)
        return of_steepness / self._steepness() - 2 * of_sum / sum(self._sides())

    def gradient(
        self, of_part_of_height: Tensor, of_log_slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient by ``s``, ``d_0`` and ``d_1`` at constant ``ξ``."""
        part = self.part
        rest = self.rest
        n, m = self._sides()
        product = part * rest
        total = n + m
        scaled = of_part_of_height * product / (total * total)
        of_total = -2 * of_log_slope / total
        of_steepness = of_log_slope / self._steepness()
        of_s = scaled * (self.end * part * part - self.start * rest * rest)
        of_s = of_s + of_total * (part * part + rest * rest)
        of_s = of_s + 2 * (of_log_slope / self.s + of_steepness * product)
        of_start = scaled * m + of_total * product + of_steepness * rest * rest
        of_end = of_total * product + of_steepness * part * part - scaled * n
        return of_s, of_start, of_end


def _root(s: Tensor, start: Tensor, end: Tensor, part_of_height: Tensor) -> Tensor:
    """Part of the bin's width below the part ``η`` of its height.

    With ``e = d_0 (1-η) - d_1 η`` and ``r = √(e² + 4 s² η (1-η))`` the quadratic's root is
    ``2 s η / (e + r + 2 s η)``; for ``e < 0``, ``e + r`` is ``4 s² η (1-η) / (r - e)``.
    """
    rest = 1 - part_of_height
    before = 2 * s * part_of_height
    after = 2 * s * rest
    e = start * rest - end * part_of_height
    far = ops.sqrt(e * e + before * after) + ops.abs(e)
    is_negative = e < 0
    numerator = ops.where(is_negative, far, before)
    return numerator / (far + ops.where(is_negative, after, before))

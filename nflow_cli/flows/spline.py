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
    """The bin of each point; arrays are ``(*lead, N, batch)`` but for the first two.

    Attributes:
        lengths: What widths and heights of all bins exceed the least one by,
            ``(*lead, 2, bins, N, batch)``.
        index: Number of the point's bin ``(*lead, 1, N, batch)``.
        left: Its left end.
        bottom: The spline at ``left``.
        width: Its width.
        height: Its height.
        raw_slopes: Parameters of the slopes at both ends.
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
    def _free_length(self) -> float:
        """Side of the box that is left for bins beyond their least widths or heights."""
        return 2 * self.bound * (1 - self.least * self.bins)

    @property
    def _slope_shift(self) -> float:
        """Number by which a parameter is shifted, so that 0 is a slope of 1."""
        return math.log(math.expm1(1 - self.least))

    def _slope(self, raw: Tensor) -> Tensor:
        """Slopes at knots, by their parameters."""
        return self.least + softplus(raw + self._slope_shift)

    def forward(self, parameters: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._values_and_log_slopes(parameters, z, inverse=False)

    def inverse(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._values_and_log_slopes(parameters, x, inverse=True)

    def _values_and_log_slopes(
        self, parameters: Tensor, points: Tensor, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        """Values of the map or its inverse, and the logs of its slopes, ``(*lead, N, batch)``."""
        outside = ops.abs(points) > self.bound  # False for NaN
        inside = ops.where(outside, 0.0, points)
        values, log_slope = self._inside_box(parameters, inside, inverse)
        return ops.where(outside, points, values), ops.where(outside, 0.0, log_slope)

    def _inside_box(
        self, parameters: Tensor, points: Tensor, inverse: bool
    ) -> tuple[Tensor, Tensor]:
        """Values and log-slopes at points in ``[-B, B]``, with a gradient of their own.

        By the chain rule slopes would be differences, and each selection of a bin a pass.
        """

        def run(
            raw: Tensor, points: Tensor
        ) -> tuple[tuple[Tensor, Tensor], Callable[..., tuple[Tensor, Tensor]]]:
            """Values and log-slopes, and the function of their gradients, for Keras."""
            point_bin, position = self._bin_and_position(raw, points, inverse)

            def gradient(
                *arguments: Tensor, upstream: Tensor | None = None
            ) -> tuple[Tensor, Tensor]:
                # Backends pass the gradients by values and by log-slopes apart or as a pair.
                upstream_pair = arguments if len(arguments) == 2 else arguments[0]
                return self._gradient(raw, points, inverse, *upstream_pair)

            if inverse:
                values = point_bin.left + point_bin.width * position.part
                log_slope = -position.log_slope()
            else:
                values = point_bin.bottom + point_bin.height * position.part_of_height()
                log_slope = position.log_slope()
            return (values, log_slope), gradient

        if keras.config.backend() == "torch":  # Keras has no custom gradient of two outputs there
            return run(parameters, points)[0]
        return ops.custom_gradient(run)(parameters, points)

    def _bin_of_points(self, raw: Tensor, points: Tensor, inverse: bool) -> Bin:
        """The bin of each point ``z``, or ``inverse`` of each image ``x``, by raw parameters
        ``(*lead, size, N, batch)``.
        """
        least = 2 * self.bound * self.least
        sizes = raw[..., : 2 * self.bins, :, :]
        sizes = ops.reshape(sizes, (*raw.shape[:-3], 2, self.bins, *raw.shape[-2:]))
        powers = ops.exp(sizes - ops.stop_gradient(ops.max(sizes, axis=-3, keepdims=True)))
        lengths = self._free_length * powers / ops.sum(powers, axis=-3, keepdims=True)  # softmax
        searched = lengths[..., int(inverse), :, :, :]  # widths, or heights
        knot = -self.bound
        index = 0.0
        for j in range(self.bins - 1):
            # No product: a compiler may fuse it with the sum in one place and not in another, which
            # puts a point at a knot into different bins.
            knot = knot + (least + searched[..., j, :, :])
            index = index + ops.cast(points >= knot, points.dtype)
        index = ops.expand_dims(ops.stop_gradient(index), -3)
        is_in_bin, is_below = self._bin_masks(index)
        # Of each point the width and height of its bin, and its corner.
        sides = ops.sum(ops.where(is_in_bin[..., None, :, :, :], lengths, 0.0), axis=-3)
        below = ops.sum(ops.where(is_below[..., None, :, :, :], lengths, 0.0), axis=-3)
        corner = below + least * index - self.bound
        sides = sides + least
        slopes = raw[..., 2 * self.bins :, :, :]
        is_start, is_end = self._knot_masks(index)
        start = ops.sum(ops.where(is_start, slopes, 0.0), axis=-3)
        end = ops.sum(ops.where(is_end, slopes, 0.0), axis=-3)
        return Bin(
            lengths=lengths,
            index=index,
            left=corner[..., 0, :, :],
            bottom=corner[..., 1, :, :],
            width=sides[..., 0, :, :],
            height=sides[..., 1, :, :],
            raw_slopes=(start, end),
        )

    def _bin_masks(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Which bins are a point's, and which are below it, ``(*lead, bins, N, batch)``.

        ``index`` ``(*lead, 1, N, batch)``: number of the point's bin.
        """
        numbers = ops.cast(np.arange(self.bins)[:, None, None], index.dtype)
        return numbers == index, numbers < index

    def _knot_masks(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Which inner knots are the left and the right end of a point's bin, both
        ``(*lead, bins - 1, N, batch)``; ``index`` as above.
        """
        numbers = ops.cast(np.arange(self.bins - 1)[:, None, None], index.dtype)
        return numbers + 1 == index, numbers == index

    def _bin_and_position(
        self, raw: Tensor, points: Tensor, inverse: bool
    ) -> tuple[Bin, "BinPosition"]:
        """The bin of each point ``z``, or ``inverse`` of each image ``x``, and the position of
        ``z`` in it: the part ``ξ`` of its width, with ``s``, its height over its width, and the
        slopes at both ends; by raw parameters ``(*lead, size, N, batch)``.
        """
        point_bin = self._bin_of_points(raw, points, inverse)
        raw_start, raw_end = point_bin.raw_slopes
        start = self._slope(raw_start)
        end = self._slope(raw_end)
        s = point_bin.height / point_bin.width
        # Clipped, as rounding may exceed the bin.
        if inverse:
            part_of_height = ops.clip((points - point_bin.bottom) / point_bin.height, 0.0, 1.0)
            part = _part_of_width(s, start, end, part_of_height)
        else:
            part = ops.clip((points - point_bin.left) / point_bin.width, 0.0, 1.0)
        return point_bin, BinPosition(part, s, start, end)

    def _gradient(
        self, raw: Tensor, points: Tensor, inverse: bool, of_moved: Tensor, of_log_slope: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradient of a loss by raw parameters and points, from those by values, ``of_moved``, and
        by log-slopes; ``of_width`` is that by the width, and so on.

        The inverse moves ``x`` to ``z`` with ``f(z; θ) = x``, so ``dz = (dx - f_θ dθ) / f'``, and
        its log-slope is ``-log f'(z; θ)``.
        """
        point_bin, position = self._bin_and_position(raw, points, inverse)
        if inverse:
            of_log_slope = -of_log_slope
            bend = of_log_slope * position.bend() / point_bin.width
            of_points = (of_moved + bend) / position.slope()
            of_moved = -of_points
        else:
            bend = of_log_slope * position.bend() / point_bin.width
            of_points = of_moved * position.slope() + bend
        of_left = -(of_moved * position.slope() + bend)
        of_s, of_start, of_end = position.gradient(of_moved * point_bin.height, of_log_slope)
        of_width = position.part * of_left - of_s * position.s / point_bin.width
        of_height = of_moved * position.part_of_height() + of_s / point_bin.width
        of_raw = self._raw_gradient(
            point_bin, (of_left, of_moved), (of_width, of_height), (of_start, of_end)
        )
        return of_raw, of_points

    def _raw_gradient(
        self,
        point_bin: Bin,
        of_corner: tuple[Tensor, Tensor],
        of_size: tuple[Tensor, Tensor],
        of_slopes: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Gradient by raw parameters ``(*lead, size, N, batch)``, from those by the left and bottom
        of each point's bin, its width and height, and the slopes at its ends.
        """
        is_in_bin, is_below = self._bin_masks(point_bin.index)
        is_in_bin = is_in_bin[..., None, :, :, :]
        is_below = is_below[..., None, :, :, :]
        of_start = ops.expand_dims(ops.stack(of_corner, axis=-3), -3)
        of_length = ops.expand_dims(ops.stack(of_size, axis=-3), -3)
        of_lengths = ops.where(is_in_bin, of_length, ops.where(is_below, of_start, 0.0))
        mean = ops.sum(point_bin.lengths * of_lengths, axis=-3, keepdims=True) / self._free_length
        of_sizes = point_bin.lengths * (of_lengths - mean)  # by those of the softmax
        is_start, is_end = self._knot_masks(point_bin.index)
        of_ends = []
        for of_slope, raw in zip(of_slopes, point_bin.raw_slopes):
            of_end = of_slope * ops.sigmoid(raw + self._slope_shift)
            of_ends.append(ops.expand_dims(of_end, -3))
        of_knots = ops.where(is_start, of_ends[0], ops.where(is_end, of_ends[1], 0.0))
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


class BinPosition(NamedTuple):
    """Position of a point in its bin, as tensors ``(*lead, N, batch)``.

    Attributes:
        part: ``ξ``, part of the width left of the point.
        s: Height over width.
        start: Slope ``d_0`` at the left end.
        end: Slope ``d_1`` at the right end.
    """

    part: Tensor
    s: Tensor
    start: Tensor
    end: Tensor

    @property
    def rest(self) -> Tensor:
        """``1 - ξ``."""
        return 1 - self.part

    def _terms(self) -> tuple[Tensor, Tensor]:
        """``N`` and ``M`` of :class:`Spline`."""
        part = self.part
        rest = self.rest
        n = part * (self.s * part + self.start * rest)
        m = rest * (self.s * rest + self.end * part)
        return n, m

    def _slope_term(self) -> Tensor:
        """``d_0 (1-ξ)² + d_1 ξ² + 2 s ξ (1-ξ)``, a factor of the slope."""
        part = self.part
        rest = self.rest
        return self.start * rest * rest + self.end * part * part + 2 * self.s * part * rest

    def part_of_height(self) -> Tensor:
        """Part of the bin's height below the image: ``η = N / (N + M)``."""
        n, m = self._terms()
        return n / (n + m)

    def slope(self) -> Tensor:
        """Slope ``f'`` of the spline at the point."""
        ratio = self.s / sum(self._terms())
        return ratio * ratio * self._slope_term()

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
        return of_steepness / self._slope_term() - 2 * of_sum / sum(self._terms())

    def gradient(
        self, of_part_of_height: Tensor, of_log_slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient of a loss by ``s``, ``d_0`` and ``d_1`` at constant ``ξ``, from those by ``η``
        and by ``log f'``.
        """
        part = self.part
        rest = self.rest
        n, m = self._terms()
        product = part * rest
        total = n + m
        scaled = of_part_of_height * product / (total * total)
        of_total = -2 * of_log_slope / total
        of_steepness = of_log_slope / self._slope_term()
        of_s = scaled * (self.end * part * part - self.start * rest * rest)
        of_s = of_s + of_total * (part * part + rest * rest)
        of_s = of_s + 2 * (of_log_slope / self.s + of_steepness * product)
        of_start = scaled * m + of_total * product + of_steepness * rest * rest
        of_end = of_total * product + of_steepness * part * part - scaled * n
        return of_s, of_start, of_end


def _part_of_width(s: Tensor, start: Tensor, end: Tensor, part_of_height: Tensor) -> Tensor:
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

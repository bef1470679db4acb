"""Transformations of one column, with exact log-slopes, over NumPy or ``keras.ops``."""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np

from nflow_cli.arrays import dtype_of, log_ndtr, ndtri_exp
from nflow_cli.constants import LOG_2PI
from nflow_cli.registry import COLUMN_MAPS, resolve

Side = Literal["above", "below"]  # of a bound
NEWTON_STEPS = 3  # from the first guess of Lambert's W to rounding
MAX_ASINH = 350.0  # the square of its sinh is finite
LOG_HALF_PI = math.log(math.pi / 2)
LEAST_LOG = -20.0  # tan x is x to rounding below its exponential
FARTHEST = 1e3  # z, beyond which its exponential is infinite
LEAST_ROOT = math.exp(-40)  # of W's argument: below, W is negligible beside 1 in float64


@dataclass(frozen=True)
class ColumnMap(ABC):
    """Increasing map from a column's values ``x`` to ``z`` in R, for arrays of any shape.

    On a bound or beyond ``log|dz/dx| = -inf`` (density 0) and ``z`` is finite; NaN stays NaN.
    Arguments must be finite, a scale positive (ValueError).
    """

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is float:
                object.__setattr__(self, field.name, _finite(field.name, value))
            if field.name == "scale" and value <= 0:
                raise ValueError("expected a positive scale")

    @abstractmethod
    def inside(self, x: Any, xp: Any = np) -> tuple[Any, Any]:
        """``z`` and ``log|dz/dx|`` in nats, of the shape of ``x``."""

    @abstractmethod
    def outside(self, z: Any, xp: Any = np) -> tuple[Any, Any]:
        """``x``, within the open bounds and finite for any finite ``z``, and ``log|dx/dz|`` in
        nats.
        """

    @property
    def support(self) -> tuple[float, float]:
        """Open interval of the values that have a density."""
        return -math.inf, math.inf

    def record(self) -> dict[str, Any]:
        place = f"{type(self).__module__}:{type(self).__qualname__}"
        name = next(name for name, known in COLUMN_MAPS.items() if known == place)
        return {"name": name, **asdict(self)}


def records_of(units: Mapping[str, Sequence[ColumnMap]]) -> dict[str, list[dict[str, Any]]]:
    """Records of the maps of columns, by name."""
    return {name: [column_map.record() for column_map in maps] for name, maps in units.items()}


def bound_maps(
    low: float | None, high: float | None, scale: float | None = None
) -> list[ColumnMap]:
    """Maps of bounded values to R: log of the distance from one bound, logit between two; with the
    ``scale`` of values that may be at the lower bound a :class:`Tangent`.
    """
    if low is not None and scale is not None:
        return [Tangent(low, "above", scale)]
    if low is not None and high is not None:
        return [Logit(low, high)]
    if low is not None:
        return [Log(low, "above")]
    return [] if high is None else [Log(high, "below")]


def recorded_map(record: Any) -> ColumnMap:
    """Map of a record; ValueError if it is invalid."""
    if not isinstance(record, Mapping) or record.get("name") not in list(COLUMN_MAPS):
        raise ValueError(f"expected the name of a map, one of {', '.join(COLUMN_MAPS)}")
    arguments = {key: value for key, value in record.items() if key != "name"}
    column_map = resolve(COLUMN_MAPS[record["name"]])
    names = {field.name for field in fields(column_map)}
    if set(arguments) != names:
        raise ValueError(f"expected {', '.join(sorted(names))}")
    return column_map(**arguments)


@dataclass(frozen=True)
class Scale(ColumnMap):
    """``z = (x - centre) / scale``, ``scale > 0``."""

    centre: float
    scale: float

    @np.errstate(over="ignore")  # infinite for such values
    def inside(self, x: Any, xp: Any = np) -> tuple[Any, Any]:
        return (x - self.centre) / self.scale, xp.zeros_like(x) - math.log(self.scale)

    @np.errstate(over="ignore")
    def outside(self, z: Any, xp: Any = np) -> tuple[Any, Any]:
        x = _within(self.centre + self.scale * z, -math.inf, math.inf, xp)
        return x, xp.zeros_like(z) + math.log(self.scale)


@dataclass(frozen=True)
class _OneSided(ColumnMap):
    """``z = f(d)`` above a bound and ``-f(d)`` below it, of the distance ``d > 0``."""

    bound: float
    side: Side

    def __post_init__(self):
        super().__post_init__()
        if self.side not in ("above", "below"):
            raise ValueError('expected a side: "above" or "below"')

    @property
    def support(self) -> tuple[float, float]:
        return (self.bound, math.inf) if self.side == "above" else (-math.inf, self.bound)

    @property
    def _sign(self) -> int:
        return 1 if self.side == "above" else -1

    @np.errstate(over="ignore")
    def inside(self, x: Any, xp: Any = np) -> tuple[Any, Any]:
        distance = self._sign * (x - self.bound)
        beyond = distance <= 0
        z, log_det = self._of_distance(xp.where(beyond, 1.0, distance), xp)
        return self._sign * z, xp.where(beyond, -math.inf, log_det)

    @np.errstate(over="ignore", under="ignore")
    def outside(self, z: Any, xp: Any = np) -> tuple[Any, Any]:
        distance, log_det = self._distance(self._sign * z, xp)
        return _within(self.bound + self._sign * distance, *self.support, xp), log_det

    @abstractmethod
    def _of_distance(self, distance: Any, xp: Any) -> tuple[Any, Any]:
        """``f`` and ``log f'``."""

    @abstractmethod
    def _distance(self, z: Any, xp: Any) -> tuple[Any, Any]:
        """``f^-1`` and its log-slope."""


@dataclass(frozen=True)
class Log(_OneSided):
    """``z = log d`` of the distance ``d`` from a bound, ``-log d`` below it."""

    def _of_distance(self, distance: Any, xp: Any) -> tuple[Any, Any]:
        z = xp.log(distance)
        return z, -z

    def _distance(self, z: Any, xp: Any) -> tuple[Any, Any]:
        return xp.exp(z), z


@dataclass(frozen=True)
class Softplus(_OneSided):
    """``z = log(e^y - 1)``, ``y = d / scale`` of the distance ``d`` from a bound; ``-z`` below it.

    Logarithmic near the bound, linear far from it.
    """

    scale: float

    def _of_distance(self, distance: Any, xp: Any) -> tuple[Any, Any]:
        y = xp.maximum(distance / self.scale, float(np.finfo(dtype_of(distance)).tiny))
        log_slope = -xp.log(-xp.expm1(-y))
        return y - log_slope, log_slope - math.log(self.scale)

    def _distance(self, z: Any, xp: Any) -> tuple[Any, Any]:
        return self.scale * _softplus(z, xp), math.log(self.scale) - _softplus(-z, xp)


@dataclass(frozen=True)
class Tangent(_OneSided):
    """``d = scale tan(π/2 Φ(z))`` of the distance ``d`` from a bound, ``-z`` below it.

    A density that is finite at the bound has a normal tail in ``z``, where under a logarithm it is
    exponential; so has one that is heavy far from it. A half-Cauchy of that scale is N(0, 1).
    """

    scale: float

    def _of_distance(self, distance: Any, xp: Any) -> tuple[Any, Any]:
        log_y = xp.log(distance) - math.log(self.scale)
        log_t = xp.where(log_y < 0, log_y, -log_y)
        log_x = xp.log(xp.arctan(xp.exp(xp.maximum(log_t, LEAST_LOG))))
        log_x = xp.where(log_t < LEAST_LOG, log_t, log_x)
        below = ndtri_exp(log_x - LOG_HALF_PI, xp)
        z = xp.where(log_y < 0, below, -below)
        return z, -self._log_slope(z, log_y, log_t, xp)

    def _distance(self, z: Any, xp: Any) -> tuple[Any, Any]:
        below = xp.maximum(xp.where(z < 0, z, -z), -FARTHEST)
        log_x = log_ndtr(below, xp) + LOG_HALF_PI
        log_t = xp.log(xp.tan(xp.exp(xp.maximum(log_x, LEAST_LOG))))
        log_t = xp.where(log_x < LEAST_LOG, log_x, log_t)
        log_y = xp.where(z < 0, log_t, -log_t)
        # Beyond the largest number of the type, where x stays, a density would rise without end.
        _, flattest = self._of_distance(np.float64(np.finfo(dtype_of(z)).max), np)
        log_slope = xp.minimum(self._log_slope(z, log_y, log_t, xp), -float(flattest))
        return self.scale * xp.exp(log_y), log_slope

    def _log_slope(self, z: Any, log_y: Any, log_t: Any, xp: Any) -> Any:
        """``log(scale π/2) + log φ(z) + log(1 + y²)``; ``t`` is the lesser of ``y`` and ``1/y``."""
        level = math.log(self.scale) + LOG_HALF_PI - LOG_2PI / 2
        z = xp.minimum(xp.abs(z), FARTHEST)
        return level - z * z / 2 + xp.log1p(xp.exp(2 * log_t)) + 2 * xp.maximum(log_y, 0.0)


@dataclass(frozen=True)
class Logit(ColumnMap):
    """``z = log((x - low) / (high - x))``."""

    low: float
    high: float

    def __post_init__(self):
        super().__post_init__()
        width = _finite("high - low", self.high - self.low)
        if width <= 0 or not np.nextafter(self.low, self.high) < self.high:
            raise ValueError("expected low < high")

    @property
    def support(self) -> tuple[float, float]:
        return self.low, self.high

    @property
    def _log_width(self) -> float:
        return math.log(self.high - self.low)

    @np.errstate(over="ignore")
    def inside(self, x: Any, xp: Any = np) -> tuple[Any, Any]:
        """``z`` and ``log((high - low) / ((x - low) (high - x)))``."""
        below = x - self.low
        above = self.high - x
        beyond = xp.minimum(below, above) <= 0
        log_below = xp.log(xp.where(beyond, 1.0, below))
        log_above = xp.log(xp.where(beyond, 1.0, above))
        log_det = self._log_width - log_below - log_above
        return log_below - log_above, xp.where(beyond, -math.inf, log_det)

    @np.errstate(under="ignore")
    def outside(self, z: Any, xp: Any = np) -> tuple[Any, Any]:
        """``x``, computed from the nearer bound."""
        width = self.high - self.low
        log_below = _softplus(-z, xp)
        log_above = _softplus(z, xp)
        from_low = self.low + width * xp.exp(-log_below)
        from_high = self.high - width * xp.exp(-log_above)
        x = xp.where(z < 0, from_low, from_high)
        return _within(x, self.low, self.high, xp), self._log_width - log_below - log_above


@dataclass(frozen=True)
class Asinh(ColumnMap):
    """``z = asinh y``, ``y = (x - centre) / scale``, continued linearly beyond two ends.

    ``z = asinh c + (y - c) / sqrt(1 + c²)``, ``c`` the nearest to ``y`` between ``sinh low`` and
    ``sinh high``. With a :class:`Scale` after it, Johnson's S_U is N(0, 1): heavier-tailed than
    normal and, with a centre beside the values, skewed.

    References:
        Johnson, *Systems of frequency curves generated by methods of translation*, 1949.
    """

    centre: float
    scale: float
    low: float
    high: float

    def __post_init__(self):
        super().__post_init__()
        if not -MAX_ASINH <= self.low < self.high <= MAX_ASINH:
            raise ValueError(f"expected low < high, both within {MAX_ASINH:g} of 0")

    @np.errstate(over="ignore")
    def inside(self, x: Any, xp: Any = np) -> tuple[Any, Any]:
        """``z`` and ``-log scale - log(1 + c²) / 2``."""
        y = (x - self.centre) / self.scale
        c = xp.minimum(xp.maximum(y, math.sinh(self.low)), math.sinh(self.high))
        square = c * c
        z = xp.arcsinh(c) + (y - c) / xp.sqrt(1 + square)
        return z, -xp.log1p(square) / 2 - math.log(self.scale)

    @np.errstate(over="ignore")
    def outside(self, z: Any, xp: Any = np) -> tuple[Any, Any]:
        """``x`` and ``log scale + log cosh c``, ``c`` the nearest to ``z`` between ends."""
        c = xp.minimum(xp.maximum(z, self.low), self.high)
        y = xp.sinh(c) + (z - c) * xp.cosh(c)
        most = float(np.finfo(dtype_of(z)).max) / 4
        y = xp.minimum(xp.maximum(y, -most), most)
        away = xp.abs(c)
        log_cosh = away + xp.log1p(xp.exp(-2 * away)) - math.log(2)
        x = _within(self.centre + self.scale * y, -math.inf, math.inf, xp)
        return x, log_cosh + math.log(self.scale)


@dataclass(frozen=True)
class TukeyH(ColumnMap):
    """``x = z exp(h z²/2)``, ``h >= 0``: heavier tails, of index ``1/h``; ``h = 0`` is the
    identity.

    ``dx/dz = exp(h z²/2) (1 + h z²)``, and ``z = sign(x) sqrt(W(h x²) / h)`` with Lambert's ``W``.

    References:
        Goerg, *The Lambert way to Gaussianize heavy-tailed data*, 2015, arXiv 1010.2265.
    """

    h: float

    def __post_init__(self):
        super().__post_init__()
        if self.h < 0:
            raise ValueError("expected h of 0 or more")

    @np.errstate(over="ignore", under="ignore")
    def inside(self, x: Any, xp: Any = np) -> tuple[Any, Any]:
        """``z`` and ``-(W/2 + log(1 + W))``."""
        if self.h == 0:
            return x, xp.zeros_like(x)
        away = xp.abs(x)
        w = _lambert_w_of_square(math.sqrt(self.h) * away, xp)
        # The first is inaccurate for large W, the second for small W.
        z = xp.where(w < 1, x * xp.exp(-w / 2), xp.sign(x) * xp.sqrt(w / self.h))
        return xp.where(away == math.inf, x, z), -(w / 2 + xp.log1p(w))

    @np.errstate(over="ignore", under="ignore")
    def outside(self, z: Any, xp: Any = np) -> tuple[Any, Any]:
        """``x`` and ``h z²/2 + log(1 + h z²)``."""
        w = self.h * z * z
        stretch = xp.exp(xp.minimum(w / 2, math.log(np.finfo(dtype_of(z)).max) - 1))
        return _within(z * stretch, -math.inf, math.inf, xp), w / 2 + xp.log1p(w)


def _lambert_w_of_square(root: Any, xp: Any) -> Any:
    """Lambert's ``W(root²)``, the ``w`` of ``w e^w = root²``, for ``root >= 0``.

    Newton's method on ``w + log w = log root²``, which cannot overflow, from a guess of relative
    error 1 % (Iacono & Boyd, *New approximations to the principal real-valued branch of the Lambert
    W-function*, 2017, eqs. 12 and 19).
    """
    most = float(np.finfo(dtype_of(root)).max)
    log_square = 2 * xp.log(xp.minimum(xp.maximum(root, LEAST_ROOT), most))
    guess = _softplus(log_square, xp)
    w = guess * (1 - xp.log1p(guess) / (2 + guess))
    for _ in range(NEWTON_STEPS):
        w = w / (1 + w) * (1 + log_square - xp.log(w))
    return w


def _softplus(x: Any, xp: Any) -> Any:
    """``log(1 + e^x)``, of slope 1/2 at 0 on any backend, unlike a maximum."""
    away = xp.abs(x)
    return (x / 2 + away / 2) + xp.log1p(xp.exp(-away))


def _within(x: Any, low: float, high: float, xp: Any) -> Any:
    """``x`` rounded into an open interval, never to a denormal number."""
    dtype = dtype_of(x).type
    tiny = np.finfo(dtype).tiny  # compiled loops flush smaller numbers to 0
    least = np.nextafter(dtype(low), dtype(high))
    if abs(least) < tiny:
        least = tiny
    most = np.nextafter(dtype(high), dtype(low))
    if abs(most) < tiny:
        most = -tiny
    return xp.minimum(xp.maximum(x, least), most)


def _finite(name: str, value: Any) -> float:
    real = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
    if not real or not abs(value) <= sys.float_info.max:
        raise ValueError(f"expected {name}: a finite number")
    return float(value)

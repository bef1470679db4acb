"""Elementwise maps: one scalar map per coordinate."""

from collections.abc import Callable
from typing import TypeAlias

from keras import ops

from nflow_cli.arrays import Tensor
from nflow_cli.flows.numerics import tanh

# Moved points and log-slopes, by parameters and points: a direction of an elementwise map.
Move: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

MOST_LOG_SCALE = 3.0  # bound of the affine map's |s|


class Elementwise:
    """Increasing maps of R, one for each of ``N`` coordinates.

    Points are ``(*lead, N, batch)``, parameters ``(*lead, size, N, batch)``, free in R; 0 is the
    identity.
    """

    @property
    def size(self) -> int:
        """Parameters per coordinate."""
        raise NotImplementedError

    def forward(self, parameters: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """``f(z)`` and ``log f'(z)``."""
        raise NotImplementedError

    def inverse(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """``f^-1(x)`` and the log of its slope."""
        raise NotImplementedError


class ScaleAndShift(Elementwise):
    """``f(z) = e^s z + m``, with ``s = 3 tanh(a / 3)``, bounded so that it stays invertible."""

    @property
    def size(self) -> int:
        return 2

    def forward(self, parameters: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """``e^s z + m`` and ``s``."""
        shift, log_scale = _bounded(parameters)
        return ops.exp(log_scale) * z + shift, log_scale + ops.zeros_like(z)

    def inverse(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """``e^-s (x - m)`` and ``-s``."""
        shift, log_scale = _bounded(parameters)
        return ops.exp(-log_scale) * (x - shift), ops.zeros_like(x) - log_scale


class Scaling:
    """Scalar maps are :class:`ScaleAndShift`."""

    @property
    def scalar_maps(self) -> Elementwise:
        return ScaleAndShift()


def _bounded(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """``m`` and ``s``, bounded."""
    shift = parameters[..., 0, :, :]
    log_scale = parameters[..., 1, :, :]
    return shift, MOST_LOG_SCALE * tanh(log_scale / MOST_LOG_SCALE)

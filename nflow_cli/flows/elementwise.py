"""Maps of D coordinates, each by a scalar map with parameters of its own."""

from typing import Any

from keras import ops

from nflow_cli.flows.numerics import tanh

MOST_LOG_SCALE = 3.0  # of the affine one, either way


class Elementwise:
    """Increasing maps of R, one for each of ``N`` coordinates.

    Points are ``(*lead, N, batch)``. Parameters are free in R, ``(*lead, size, N, batch)``; where
    all are 0, the map is the identity.
    """

    @property
    def size(self) -> int:
        """How many parameters a coordinate has."""
        raise NotImplementedError

    def forward(self, parameters: Any, z: Any) -> tuple[Any, Any]:
        """Return ``f(z)`` and ``log f'(z)``."""
        raise NotImplementedError

    def inverse(self, parameters: Any, x: Any) -> tuple[Any, Any]:
        """Return ``f^-1(x)`` and the logarithm of its slope."""
        raise NotImplementedError


class ScaleAndShift(Elementwise):
    """``f(z) = e^s z + m``, with ``s = 3 tanh(a / 3)``: scales that ran to 0 would not invert."""

    @property
    def size(self) -> int:
        """How many parameters a coordinate has."""
        return 2

    def forward(self, parameters: Any, z: Any) -> tuple[Any, Any]:
        """Return ``e^s z + m`` and ``s``."""
        shift, log_scale = _bounded(parameters)
        return ops.exp(log_scale) * z + shift, log_scale + ops.zeros_like(z)

    def inverse(self, parameters: Any, x: Any) -> tuple[Any, Any]:
        """Return ``e^-s (x - m)`` and ``-s``."""
        shift, log_scale = _bounded(parameters)
        return ops.exp(-log_scale) * (x - shift), ops.zeros_like(x) - log_scale


class Scaling:
    """What moves its coordinates by :class:`ScaleAndShift`."""

    @property
    def scalar_maps(self) -> Elementwise:
        """What moves a coordinate."""
        return ScaleAndShift()


def _bounded(parameters: Any) -> tuple[Any, Any]:
    """Return the shift and the logarithm of the scale."""
    shift, log_scale = parameters[..., 0, :, :], parameters[..., 1, :, :]
    return shift, MOST_LOG_SCALE * tanh(log_scale / MOST_LOG_SCALE)

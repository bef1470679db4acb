"""Coordinates of a model: the elements of its variables, with their bounds."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Bounds = dict[str, list[float | None]]
REFUSED = "write its log-density over unconstrained coordinates as a function"


class Variable(NamedTuple):
    """Continuous variable of a model, with bounds of that shape or a number, infinite without one.

    ``labels``: of each axis; ``None``: positions.
    """

    name: str
    shape: tuple[int, ...]
    low: Any = -np.inf
    high: Any = np.inf
    labels: Sequence[Sequence[str] | None] | None = None


class Coordinates(NamedTuple):
    """Names and bounds of the D coordinates of a model, as a config has them."""

    names: list[str]
    bounds: Bounds


class Model(NamedTuple):
    """Model as a function of points ``(n, D)`` that returns ``log p`` and its gradient."""

    function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    coordinates: Coordinates


def coordinates_of(variables: Sequence[Variable]) -> Coordinates:
    """Coordinates of variables in order, such as ``mu``, ``theta[0]`` or ``L[0, 1]``."""
    names, bounds = [], {}
    for variable in variables:
        ends = [np.broadcast_to(end, variable.shape) for end in (variable.low, variable.high)]
        for place in np.ndindex(variable.shape):
            names.append(_element(variable, place))
            low, high = (float(end[place]) if np.isfinite(end[place]) else None for end in ends)
            if low is not None or high is not None:
                bounds[names[-1]] = [low, high]
    return Coordinates(names, bounds)


def _element(variable: Variable, place: tuple[int, ...]) -> str:
    if not place:
        return variable.name
    labels = variable.labels or [None] * len(place)
    parts = [str(i) if some is None else str(some[i]) for i, some in zip(place, labels)]
    return f"{variable.name}[{', '.join(parts)}]"

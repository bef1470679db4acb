"""Checks of a flow stack against what defines it, in float64: Jacobian, inverse, margins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.flows.compose import run_flows
from nflow_cli.registry import FLOWS, resolve

# Of the finite differences, of fourth order. With the first, truncation and rounding are 1e-10 for
# most flows; steep ones need a shorter step.
STEPS = (1e-4, 1e-5, 1e-6)
LOG_DET_TOLERANCE = 1e-6  # nats
ROUND_TRIP_TOLERANCE = 1e-8  # times 1 + |x|
SINGLE_TOLERANCE = 1e-3  # the same two, of the float32 model that was saved
Verdict = tuple[bool, str]


@dataclass(frozen=True)
class Flows:
    """K flows with given weights, of one stack or of one image each.

    Attributes:
        pattern: Names of flows.
        k: How many.
        parameters: Raw weights, as :func:`~nflow_cli.flows.compose.run_flows` takes them.
        points: Base samples ``(..., D)`` to check them at.
    """

    pattern: Sequence[str]
    k: int
    parameters: Sequence[dict[str, Any]]
    points: np.ndarray

    def run(self, points: Any, inverse: bool = False, dtype: str = "float64") -> Any:
        """Run the flows in ``dtype``; return the points and log-determinants as float64 arrays."""
        kinds = [resolve(FLOWS[name]) for name in self.pattern]
        weights = [
            {name: ops.convert_to_tensor(value, dtype) for name, value in own.items()}
            for own in self.parameters
        ]
        moved = run_flows(kinds, weights, self.k, ops.convert_to_tensor(points, dtype), inverse)
        return [ops.convert_to_numpy(array).astype(np.float64) for array in moved]


def as_arrays(parameters: Sequence[dict[str, Any]]) -> list[dict[str, np.ndarray]]:
    """Return raw weights as float64 arrays."""
    return [
        {name: ops.convert_to_numpy(value).astype(np.float64) for name, value in own.items()}
        for own in parameters
    ]


def check_log_det(flows: Flows) -> Verdict:
    """Compare the log-determinant with that of a dense Jacobian, by finite differences."""
    _, log_det = flows.run(flows.points)
    found = [
        np.linalg.slogdet(jacobian(lambda z: flows.run(z)[0], flows.points, step)) for step in STEPS
    ]
    signs, all_dense = (np.stack(part) for part in zip(*found))
    # At each point the step that agrees best: no step agrees with a wrong log-determinant.
    best = np.abs(log_det - all_dense).argmin(axis=0)[None]
    sign, dense = (np.take_along_axis(part, best, axis=0)[0] for part in (signs, all_dense))
    error = np.abs(log_det - dense).max()
    single = np.abs(flows.run(flows.points, dtype="float32")[1] - dense).max()
    passed = error <= LOG_DET_TOLERANCE and single <= SINGLE_TOLERANCE and (sign > 0).all()
    text = f"off by {error:.0e} nats at most in float64, {single:.0e} as saved"
    return bool(passed), f"{text}; {dense.size} points"


def jacobian(
    function: Callable[[np.ndarray], np.ndarray], points: np.ndarray, step: float = STEPS[0]
) -> np.ndarray:
    """Return ``∂f/∂z`` ``(..., D, D)`` at points ``(..., D)``, a column for each coordinate."""
    columns = []
    for axis in step * np.eye(points.shape[-1]):
        near = function(points + axis) - function(points - axis)
        far = function(points + 2 * axis) - function(points - 2 * axis)
        columns.append((8 * near - far) / (12 * step))
    return np.stack(columns, axis=-1)


def check_round_trip(flows: Flows) -> Verdict:
    """Run the flows forward and back, and back and forward."""
    z0 = flows.points
    x, log_det = flows.run(z0)
    back, inverse_log_det = flows.run(x, inverse=True)
    wide = 2 * z0  # points that need not be samples
    errors = [
        _distance(back, z0),
        _distance(flows.run(flows.run(wide, inverse=True)[0])[0], wide),
        np.abs(log_det + inverse_log_det).max(),
    ]
    single = flows.run(flows.run(x, inverse=True, dtype="float32")[0], dtype="float32")[0]
    worst, rough = float(np.max(errors)), _distance(single, x)
    passed = worst <= ROUND_TRIP_TOLERANCE and rough <= SINGLE_TOLERANCE
    return bool(passed), f"off by {worst:.0e} at most in float64, {rough:.0e} as saved"


def _distance(received: np.ndarray, expected: np.ndarray) -> float:
    return float((np.abs(received - expected) / (1 + np.abs(expected))).max())


def check_margin(flows: Flows) -> Verdict:
    """Report how far the flow nearest to it is from not being a bijection."""
    least = []
    for name, weights in zip(flows.pattern, flows.parameters):
        if name not in MARGINS:
            continue
        what, margin = MARGINS[name]
        least.append((name, what, float(margin(weights).min())))
    if not least:
        return True, "no flow that has a margin"
    texts = [f"{name}: least {what} is {value:.2g}" for name, what, value in least]
    return all(value > 0 for _, _, value in least), ", ".join(texts)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# By flow: what must be positive for a bijection, from its raw weights.
MARGINS: dict[str, tuple[str, Callable[[dict[str, np.ndarray]], np.ndarray]]] = {
    "planar": ("1 + w.û", lambda raw: _softplus(np.sum(raw["w"] * raw["u"], axis=-1))),
    "radial": ("α + β̂", lambda raw: _softplus(raw["beta"])),
}

"""Checks of flows in float64, log-determinant, inverse and invertibility margin; and of a mass."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.evaluation.estimates import with_error
from nflow_cli.evaluation.mass import mass_of
from nflow_cli.experiments.comparison import Outcome, Verdict, agreement, differences, passed
from nflow_cli.experiments.run_checks import CheckedRun, Checks, Weights
from nflow_cli.flows.composition import Composition
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import SUMMARY
from nflow_cli.runs.model_file import weights_sha256

POINTS = 256  # base samples at which a stack is checked
MASS_TOLERANCE = 1e-3
BOUNDED_MASS_TOLERANCE = 5e-3  # a density that jumps is harder to sum
# Steps of the finite differences, of fourth order. For most flows truncation and rounding are 1e-10
# with the first; steep flows need a shorter one.
STEPS = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
NUMBERS = 1_000_000  # coordinates moved at a time for them
LOG_DET_TOLERANCE = 1e-6  # nats
ROUND_TRIP_TOLERANCE = 1e-8  # times 1 + |x|
SINGLE_TOLERANCE = 1e-3  # of both, for the float32 model as saved
ROUNDINGS = 10  # size of the noise that stands for rounding, in roundings
SHAKES = 4  # repeats with such noise
BEYOND = 10  # tolerated error over the effect of the noise


@dataclass(frozen=True)
class Flows:
    """Maps with given weights, of one stack or of one per image.

    Attributes:
        maps: With raw weights as float64 arrays.
        points: Base samples ``(..., D)``.
    """

    maps: Composition
    points: np.ndarray

    def run(
        self, points: np.ndarray, inverse: bool = False, dtype: str = "float64"
    ) -> list[np.ndarray]:
        """Points and log-determinants by the maps in ``dtype``, as float64 arrays."""
        maps = self.maps.map_weights(lambda weight: ops.convert_to_tensor(weight, dtype))
        moved = maps.run(ops.convert_to_tensor(points, dtype), inverse)
        return [ops.convert_to_numpy(array).astype(np.float64) for array in moved]

    def shaken(
        self, points: np.ndarray, size: np.ndarray, inverse: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Run in float64 with noise before each map: ``size`` times ``1 + |points|``."""
        rng = stream(0, "rounding")
        log_det = np.zeros(points.shape[:-1])
        steps = list(self.maps.map_weights(ops.convert_to_tensor).steps())
        if inverse:
            steps.reverse()
        for step in steps:
            noise = size * rng.uniform(-1, 1, points.shape) * (1 + np.abs(points))
            moved, change = step.run(ops.convert_to_tensor(points + noise), inverse)
            points = ops.convert_to_numpy(moved)
            log_det = log_det + ops.convert_to_numpy(change)
        return points, log_det


def as_arrays(maps: Composition) -> Composition:
    """Maps with raw weights as float64 arrays."""
    return maps.map_weights(lambda weight: ops.convert_to_numpy(weight).astype(np.float64))


def check_log_det(flows: Flows) -> Verdict:
    """Compare the log-determinant with that of a Jacobian by finite differences.

    Their rounding error is eps ``|x|`` / step, times the norm of the inverse Jacobian.
    """
    x, log_det = flows.run(flows.points)
    by_step = []  # signs, log-determinants and rounding errors
    for step in STEPS:
        dense_jacobian = jacobian(lambda z: flows.run(z)[0], flows.points, step)
        least = np.linalg.svd(np.nan_to_num(dense_jacobian), compute_uv=False)[..., -1]
        rounding = np.finfo(float).eps * np.abs(x).max(axis=-1) / (step * least)
        by_step.append([*np.linalg.slogdet(dense_jacobian), rounding])
    steps = np.array(by_step)
    # At each point the step of best agreement: none agrees with a wrong log-determinant.
    best = np.abs(log_det - steps[:, 1]).argmin(axis=0)[None, None]
    sign, expected, rounding = np.take_along_axis(steps, best, axis=0)[0]
    errors = np.abs(log_det - expected)
    single = np.abs(flows.run(flows.points, dtype="float32")[1] - log_det).max()
    right = np.all(errors <= LOG_DET_TOLERANCE + rounding) and single <= SINGLE_TOLERANCE
    exact = rounding <= LOG_DET_TOLERANCE
    worst = errors.max(where=exact, initial=0.0)
    text = f"largest error {worst:.0e} nats in float64, {single:.0e} as saved"
    text += f"; tested at {np.sum(exact)} of {exact.size} points"
    if not exact.all():
        text += " (at the others rounding exceeds the tolerance)"
    return passed(right and (sign > 0).all()), text


def jacobian(
    function: Callable[[np.ndarray], np.ndarray], points: np.ndarray, step: float = STEPS[0]
) -> np.ndarray:
    """Jacobian ``∂f/∂z`` ``(..., D, D)`` at points ``(..., D)``, by central differences of fourth
    order.

    ``function`` takes points with one more leading axis.
    """
    dim = points.shape[-1]
    offsets = step * np.concatenate([multiple * np.eye(dim) for multiple in (1, -1, 2, -2)])
    offsets = offsets.reshape(-1, *[1] * (points.ndim - 1), dim)
    count = max(1, NUMBERS // points.size)
    parts = (offsets[start : start + count] for start in range(0, len(offsets), count))
    moved = np.concatenate([function(points + part) for part in parts])
    right, left, far_right, far_left = moved.reshape(4, dim, *points.shape)
    columns = (8 * (right - left) - (far_right - far_left)) / (12 * step)
    return np.moveaxis(columns, 0, -1)


def check_round_trip(flows: Flows) -> Verdict:
    """Run forward and back, and back and forward, in float64 and as saved.

    Where flows amplify rounding, the tolerance is that of coarser rounding.
    """
    z0 = flows.points
    wide = 2 * z0  # points that need not be samples
    forward, forward_rounding = _trip(flows, z0, "float64")
    inverse, inverse_rounding = _trip(flows, wide, "float64", inverse=True)
    errors = np.concatenate([forward, inverse])
    rounding = np.concatenate([forward_rounding, inverse_rounding])
    single, single_rounding = _trip(flows, flows.run(z0)[0], "float32", inverse=True)
    right = np.all(errors <= ROUND_TRIP_TOLERANCE + rounding)
    right &= np.all(single <= SINGLE_TOLERANCE + single_rounding)
    exact = rounding <= ROUND_TRIP_TOLERANCE
    worst = errors.max(where=exact, initial=0.0)
    text = f"largest error {worst:.0e} in float64, {single.max():.0e} as saved"
    if not exact.all():
        text += f"; rounding exceeds the tolerance at {np.sum(~exact)} of {exact.size} points"
    return passed(right), text


def _trip(
    flows: Flows, points: np.ndarray, dtype: str, inverse: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Run forward and back, or with ``inverse`` back and forward.

    Returns:
        Error of each point, or of the sum of its two log-determinants, ``(n,)``, and its share by
        rounding.
    """
    moved, log_det = flows.run(points, inverse, dtype)
    returned, log_det_back = flows.run(moved, not inverse, dtype)
    size = ROUNDINGS * np.finfo(dtype).eps * np.array([0] + SHAKES * [1])  # none, then noise
    size = size.reshape(-1, *[1] * points.ndim)
    shaken, shaken_log_det = flows.shaken(points + 0 * size, size, inverse)
    shaken, shaken_back = flows.shaken(shaken, size, not inverse)
    shaken_total = shaken_log_det + shaken_back
    scale = 1 + np.abs(points)

    def worst(points_off: np.ndarray, log_det_off: np.ndarray) -> np.ndarray:
        return np.maximum((np.abs(points_off) / scale).max(axis=-1), np.abs(log_det_off))

    error = worst(returned - points, log_det + log_det_back)
    rounding = worst(shaken - shaken[0], shaken_total - shaken_total[0])
    return error.ravel(), BEYOND * rounding.max(axis=0).ravel()


def check_margin(flows: Flows) -> Verdict:
    """Report the least invertibility margin of each kind of flow."""
    least = {}
    for name, flow, weights in flows.maps.parts():
        if weights and (margin := flow.margin(**weights)) is not None:
            formula, values = margin
            least[name, formula] = float(np.min(values))
    if not least:
        return Outcome.OK, "no flow with a margin"
    texts = [
        f"{name}: minimum of {formula} is {value:.4g}" for (name, formula), value in least.items()
    ]
    return passed(all(value > 0 for value in least.values())), ", ".join(texts)


OF_FLOWS: Checks = {
    "invertibility": lambda run: check_margin(run.flows),
    "log-det": lambda run: check_log_det(run.flows),
    "round trip": lambda run: check_round_trip(run.flows),
}


class CheckedFlows(CheckedRun):
    """Run whose model is of Keras, with flows."""

    @property
    def checks(self) -> Checks:
        """Checks of the flows, by name."""
        return OF_FLOWS

    @property
    def model(self) -> Any:
        """Keras layer or model that was saved."""
        return self.trained.trained

    @cached_property
    def weights(self) -> Weights:
        """Weights of :attr:`model`."""
        return weights_of(self.model)


def weights_of(model: Any) -> Weights:
    """Weights of a Keras layer or model."""
    arrays = len(model.weights)
    return Weights(type(model).__name__, arrays, model.count_params(), weights_sha256(model))


class CheckedDensity(CheckedFlows):
    """Run whose model is a density of flows."""

    config: Any

    @cached_property
    def flows(self) -> Flows:
        """Flows in float64, and points to check them at."""
        return flows_of(self.trained, self.config.seed)


def flows_of(density: Any, seed: int) -> Flows:
    """Flows of a density in float64, and points to check them at."""
    flow = density.flow
    rng = stream(seed, "check")
    points = density.base.sample(rng, (*flow.members, POINTS, density.dim))
    context = None  # of flows that take one, any will do
    if flow.takes_context:
        context = rng.standard_normal((POINTS, flow.context_width), np.float32)
    return Flows(as_arrays(flow.composition(context)), points.astype(np.float64))


def check_mass(run: CheckedRun) -> Verdict:
    """Integrate ``q`` around its samples; an unresolved mass is no failure."""
    bounded = run.trained.base.bounded
    tolerance = BOUNDED_MASS_TOLERANCE if bounded else MASS_TOLERANCE
    mass, error = mass_of(run.trained, run.config.seed)
    wrong = differences(SUMMARY, {"mass": mass, "mass_error": error}, run.facts)
    if not abs(mass - 1) <= tolerance + error:
        wrong.append(f"expected 1, received {with_error(mass, error)}")
    return agreement(wrong, f"mass {with_error(mass, error)} from the same draws")

"""Trial of a user's log-density before training: shapes, values, gradient, compilation."""

import math
import textwrap
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from nflow_cli.backend.start import start_keras

start_keras()  # before any module imports Keras: silences native code

import tensorflow as tf
from keras import ops

from nflow_cli.data.units import ColumnUnits, units_of
from nflow_cli.densities.pushforward import values_at
from nflow_cli.errors import ConfigError, TargetError, one_line
from nflow_cli.inference.infer_config import InferConfig
from nflow_cli.inference.log_density import ArrayDensity, LogDensity, TensorDensity, checked_pair
from nflow_cli.inference.reverse_kl import step_of, user_log_prob
from nflow_cli.inference.reverse_kl_data import Subject
from nflow_cli.inference.reverse_kl_report import LARGEST_ROUNDING, ROUNDING_REMEDY
from nflow_cli.inference.reverse_kl_trainer import SUPPORT_REMEDY, compiling, point_text
from nflow_cli.inference.user_code import (
    MOST_LETTERS,
    UserFunction,
    load_function,
)
from nflow_cli.random_streams import stream
from nflow_cli.training.trainer import with_gradient

POINTS = 3
MOST_DIRECTIONS = 20  # of the gradient comparison, at each point
# Of finite differences, largest first: at one of them rounding and curvature are both small.
STEPS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
TOLERANCE = 0.02  # of a slope, relative
ROUNDING = 8.0  # times the rounding of a value in float32, over the largest step
WITHIN_BOUNDS = "give a smaller support by --bounds"


def user_subject(config: InferConfig, user: UserFunction) -> Subject:
    """Try a user's function or model and return it."""
    names = config.density.columns
    if user.coordinates and not user.coordinates.agree_with(names, config.density.bounds):
        raise ConfigError(
            f"{user.name}: expected the names and bounds of the run. Received: others; the model's "
            "data may have changed"
        )
    target = density_of(user, names, units_of(names, config.density.bounds))
    expect_compiled(target, config.train.compile)
    recorded = {"name": user.name, "path": user.path, "sha256": user.sha256}
    return Subject(lambda: target, recorded, rounding_notes(target))


def subject_again(config: InferConfig, place: str) -> Subject:
    """Load the user's function of a run again; its file must be unchanged."""
    if config.is_built_in:
        raise ConfigError(f"--density: expected none: the run is of the built-in {config.subject}")
    density = config.density
    user = load_function(place, density.name, density.sha256)
    if density.sha256 is not None and user.name != density.name:
        raise ConfigError(
            f"--density: expected {density.name}, as in the run. Received: {user.name}"
        )
    return user_subject(config, user)


def density_of(user: UserFunction, names: list[str], units: ColumnUnits) -> LogDensity:
    """Log-density of a user's function, after a trial at three points.

    The function is called with a NumPy array ``(3, D)``, and returns log-density and gradient as
    arrays; else with a tensor, and returns one.
    """
    dim = len(names)
    x = units.outside(_trial_points(dim))
    tried = user._replace(function=_with_shape(user.function, dim))
    pair = _pair(tried, x)
    if pair:
        density: LogDensity = ArrayDensity(user.function, dim, units, user.name, names)
        values, slopes = checked_pair(user.name, pair, x)
    else:
        density = TensorDensity(user.function, dim, units, user.name, names)
        values, slopes = _values_and_slopes(tried, x, names)
    remedy = WITHIN_BOUNDS if density.is_bounded else SUPPORT_REMEDY
    _expect_finite("log-density", values, x, names, remedy)
    _expect_finite("gradient", slopes, x, names, remedy)
    _expect_gradient(density, tried, values, slopes, x, names)
    return density


def rounding_notes(density: LogDensity) -> tuple[str, ...]:
    """Note if values at the trial's points are rounded."""
    step = step_of(values_at(user_log_prob(density), _trial_points(density.dim)))
    if not step / math.sqrt(12) > LARGEST_ROUNDING:
        return ()
    return (
        f"log p has steps of {step:.2g} nats at the trial points, as float32 rounds "
        f"it; if it also has where its mass is, {ROUNDING_REMEDY}",
    )


def _trial_points(dim: int) -> np.ndarray:
    return stream(0, "trial").standard_normal((POINTS, dim))


def _with_shape(function: Callable[[Any], Any], dim: int) -> Callable[[Any], Any]:
    """Function with the expected shape in its errors: many users write it for one point."""

    def call(x: Any) -> Any:
        try:
            return function(x)
        except TargetError as error:
            raise TargetError(f"{error}; it receives points (n, {dim})") from None

    return call


def _pair(user: UserFunction, x: np.ndarray) -> Sequence[Any] | None:
    """What a function returns of arrays, ``None`` if it is one of tensors."""
    result = None
    refusal = None
    try:
        result = user.function(x.copy())
    except TargetError as error:  # it may take tensors alone
        refusal = error
    if isinstance(result, tuple | list):
        return result
    with suppress(TargetError):  # arithmetic alone returns what it is given
        if ops.is_tensor(result) or ops.is_tensor(user.function(_tensor(x))):
            return None
    raise refusal or TargetError(
        f"{user.name}: expected log_p (n,) with its gradient (n, {x.shape[1]}), or a tensor by "
        f"keras.ops. Received: {textwrap.shorten(repr(result), MOST_LETTERS)}"
    )


def _tensor(x: np.ndarray) -> tf.Tensor:
    return ops.convert_to_tensor(x, "float32")


def _values_and_slopes(
    user: UserFunction, x: np.ndarray, names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Values ``(3,)`` of a function of tensors, and its gradient ``(3, D)``."""
    points = _tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(points)
        values = user.function(points)
    if not ops.is_tensor(values) or tuple(values.shape) != (POINTS,):
        received = f"shape {tuple(values.shape)}" if ops.is_tensor(values) else f"{values!r:.60}"
        raise TargetError(
            f"{user.name}: expected log_p of shape ({POINTS},) for points ({POINTS}, "
            f"{len(names)}). Received: {received}"
        )
    try:
        slopes = tape.gradient(values, points)
    except Exception as error:  # of an operation that has none, or of a user's own
        message = textwrap.shorten(one_line(error), MOST_LETTERS)
        name = type(error).__name__
        raise TargetError(f"{user.name}: its gradient: {name}: {message}") from None
    if slopes is None:
        raise TargetError(
            f"{user.name}: expected a gradient. Received: None; its value is constant, piecewise "
            "constant, or computed outside of Keras and TensorFlow"
        )
    return np.asarray(values, np.float64), np.asarray(ops.convert_to_tensor(slopes), np.float64)


def _expect_finite(
    quantity: str, values: np.ndarray, x: np.ndarray, names: list[str], remedy: str
) -> None:
    """Refuse values ``(3, …)`` at the trial's points ``x`` that are not finite."""
    wrong = np.flatnonzero(~np.isfinite(values.reshape(POINTS, -1)).all(axis=1))
    if not len(wrong):
        return
    received = np.array2string(values[wrong[0]], threshold=4, precision=4)
    if np.isnan(values).reshape(POINTS, -1).any(axis=1).all():
        received += ", as at every trial point"
        remedy = f"correct the function, or {remedy}"
    point = point_text(x[wrong[0]], names)
    raise TargetError(f"expected a finite {quantity} at {point}. Received: {received}; {remedy}")


def _expect_gradient(
    density: LogDensity,
    user: UserFunction,
    values: np.ndarray,
    slopes: np.ndarray,
    x: np.ndarray,
    names: list[str],
) -> None:
    """Compare slopes ``(3, D)`` with finite differences, by one call of the function."""
    directions, words = _directions(names)
    sizes = np.outer(STEPS, np.maximum(np.abs(x).mean(axis=1), 1.0))[..., None]  # (5, 3, 1)
    moves = sizes[..., None] * directions
    up, down = _values(density, user, x[:, None] + np.stack([moves, -moves]))
    expected = slopes @ directions.T
    rounded = np.maximum(np.finfo(np.float32).eps * (1 + np.abs(values[:, None])), step_of(values))
    with np.errstate(all="ignore"):  # beyond where the density ends
        differences = (up - down) / (2 * sizes)
        allowed = TOLERANCE * np.maximum(np.abs(expected), np.abs(differences))
        allowed += ROUNDING * rounded / STEPS[0]
        errors = np.abs(differences - expected) / allowed
    errors = np.where(np.isfinite(errors), errors, np.inf)
    least = errors.min(axis=0)  # over the steps
    if least.max() <= 1:
        return
    point, direction = np.unravel_index(least.argmax(), least.shape)
    step = errors[:, point, direction].argmin()
    raise TargetError(
        f"{user.name}: wrong gradient {words[direction]} at {point_text(x[point], names)}: "
        f"expected {differences[step, point, direction]:.6g}, by finite differences. Received: "
        f"{expected[point, direction]:.6g}"
    )


def _directions(names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Directions ``(d, D)`` of differences, in words: the coordinates, or random ones of many."""
    dim = len(names)
    if dim <= MOST_DIRECTIONS:
        return np.eye(dim), [f"by {name}" for name in names]
    normal = stream(0, "directions").standard_normal((dim, MOST_DIRECTIONS))
    return np.linalg.qr(normal).Q.T, ["along a direction"] * MOST_DIRECTIONS


def _values(density: LogDensity, user: UserFunction, x: np.ndarray) -> np.ndarray:
    flat = x.reshape(-1, x.shape[-1])
    if density.takes_arrays:
        values, _ = checked_pair(user.name, user.function(flat), flat)
    else:
        values = np.asarray(ops.convert_to_numpy(user.function(_tensor(flat))), np.float64)
    if values.shape != flat.shape[:1]:
        raise TargetError(
            f"{user.name}: expected log_p of shape {flat.shape[:1]} for points {flat.shape}. "
            f"Received: shape {values.shape}"
        )
    return values.reshape(x.shape[:-1])


def expect_compiled(density: LogDensity, compiles: bool) -> None:
    """Check that a log-density of tensors can be compiled, if ``compiles``."""
    if not density.takes_arrays:
        with compiling(compiles):
            with_gradient(density.log_prob, compiles)(ops.zeros((POINTS, density.dim)))

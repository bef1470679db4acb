"""Models of NumPyro and PyMC, imported only by a user's code: coordinates, log p, gradient."""

import importlib
import inspect
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.errors import TargetError

# Objects of NumPyro, JAX, PyMC and PyTensor are Any: none of these packages need be installed.
Bounds = dict[str, list[float | None]]
ValuesAndGradients = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
REMEDY = "write its log-density over unconstrained coordinates as a function"
POINTS_AT_ONCE = 512  # at which JAX evaluates a NumPyro model together
# Lower and upper bound by the name of the transform that PyMC chose; None: no transform.
TRANSFORM_BOUNDS = {
    None: (-math.inf, math.inf),
    "log": (0.0, math.inf),
    "logodds": (0.0, 1.0),
    "circular": (-math.pi, math.pi),
}
FAR_SCALES = 1e4  # scales from a bound: a tail lighter than a power is 0 there in float64


class Variable(NamedTuple):
    """Continuous variable of a model.

    ``low``, ``high``: bounds of the variable's shape, or a number; infinite if unbounded.
    ``scale``: :func:`tail_scale`, NaN if there is none. ``labels``: of the positions in each axis;
    ``None``: numbers.
    """

    name: str
    shape: tuple[int, ...]
    low: np.ndarray | float = -np.inf
    high: np.ndarray | float = np.inf
    scale: np.ndarray | float = np.nan
    labels: Sequence[Sequence[str] | None] | None = None


class Coordinates(NamedTuple):
    """Names and bounds of the D coordinates of a model, as a config has them."""

    names: list[str]
    bounds: Bounds

    def agree_with(self, names: Sequence[str], bounds: Bounds) -> bool:
        """Whether names and bounds are those of a run; scales may differ."""
        ends = {name: extent[:2] for name, extent in self.bounds.items()}
        ends_of_run = {name: extent[:2] for name, extent in bounds.items()}
        return self.names == list(names) and ends == ends_of_run


class Model(NamedTuple):
    """Model as a function of points ``(n, D)`` that returns ``log p`` and its gradient."""

    function: ValuesAndGradients
    coordinates: Coordinates


def coordinates_of(variables: Sequence[Variable]) -> Coordinates:
    """Coordinates of variables in order, an element each, such as ``mu`` or ``theta[0]``.

    Bounds: ``[low, high]``, ``None`` if infinite, with the tail's scale as a third if there is one.
    """
    names = []
    bounds: Bounds = {}
    for variable in variables:
        lows = np.broadcast_to(variable.low, variable.shape)
        highs = np.broadcast_to(variable.high, variable.shape)
        scales = np.broadcast_to(variable.scale, variable.shape)
        for index in np.ndindex(variable.shape):
            name = _element_name(variable, index)
            names.append(name)
            low = float(lows[index]) if np.isfinite(lows[index]) else None
            high = float(highs[index]) if np.isfinite(highs[index]) else None
            if low is not None or high is not None:
                bounds[name] = [low, high]
            if np.isfinite(scales[index]):
                bounds[name].append(float(f"{scales[index]:.6g}"))
    return Coordinates(names, bounds)


def tail_scale(
    log_p: Callable[[Any], Any], low: np.ndarray, high: np.ndarray | float, xp: ModuleType = np
) -> Any:
    """Scale of the half-Cauchy that has the height of a density at its lower bound; NaN unless that
    height is finite and the tail is a power. Both tails of the logarithm are exponential then.

    ``log_p``: log-density of values of the shape of ``low``; ``xp``: NumPy, or PyTensor's
    ``tensor``, whose arrays ``log_p`` takes and returns.
    """
    above = np.maximum(np.nextafter(low, np.inf), low + np.finfo(np.float64).tiny)
    with warnings.catch_warnings(action="ignore"):  # NumPyro's, out of the support
        height = xp.exp(log_p(above))
        scale = 2 / (math.pi * height)
        near = xp.exp(log_p(low + 1 / FAR_SCALES * scale))
        tail = xp.exp(log_p(low + FAR_SCALES * scale))
    has_height = (near > height / 2) & (near < height * 2)
    return xp.where(has_height & (tail > 0) & (tail < near) & np.isinf(high), scale, math.nan)


def _scale_if_constant(scale: np.ndarray | float, redrawn: np.ndarray | float) -> np.ndarray:
    """Scales, NaN where they depend on other variables: ``redrawn``: with these drawn again."""
    return np.where(scale == redrawn, scale, math.nan)


def _element_name(variable: Variable, index: tuple[int, ...]) -> str:
    """Name of an element of a variable, with labels or positions, such as ``L[0, 1]``."""
    if not index:
        return variable.name
    labels = variable.labels or [None] * len(index)
    parts = []
    for i, axis in zip(index, labels):
        parts.append(str(i) if axis is None else str(axis[i]))
    return f"{variable.name}[{', '.join(parts)}]"


def numpyro_model(value: Any, data: Any = None) -> Model | None:
    """Model of a function with sample sites; ``None`` of anything else.

    ``log p`` is the joint log-density of the sites in their own, constrained space, in float64.

    Args:
        value: Function of keyword arguments or none.
        data: Function that returns the keyword arguments, or ``None``.
    """
    if "numpyro" not in sys.modules or not callable(value):
        return None
    arguments = next(
        (choice for choice in _argument_choices(data) if _accepts(value, choice)), None
    )
    if arguments is None:
        return None
    with _float64():
        sites = _free_sites(value, arguments, seed=0)
        if not sites:
            return None
        drawn = [_variable_of_site(site) for site in sites]
        redrawn = [_variable_of_site(site) for site in _free_sites(value, arguments, seed=1)]
    variables = []
    for variable, redraw in zip(drawn, redrawn):
        is_low_constant = np.array_equal(variable.low, redraw.low)
        if not (is_low_constant and np.array_equal(variable.high, redraw.high)):
            raise TargetError(
                f"site {variable.name}: expected bounds that are constant. Received: bounds that "
                f"depend on other sites; {REMEDY}"
            )
        scale = _scale_if_constant(variable.scale, redraw.scale)
        variables.append(variable._replace(scale=scale))
    return Model(_numpyro_function(value, arguments, variables), coordinates_of(variables))


def _argument_choices(data: Any) -> list[Mapping[str, Any]]:
    """Keyword arguments with which a model may be called: what ``data`` returns, or none."""
    if not callable(data):
        return [{}]
    arguments = data()
    if not isinstance(arguments, Mapping):
        raise TargetError(
            "data: expected a dict of the model's keyword arguments. Received: "
            f"{type(arguments).__name__}"
        )
    return [arguments, {}]


def _accepts(value: Any, arguments: Mapping[str, Any]) -> bool:
    """Whether a function can be called with these keyword arguments."""
    try:
        inspect.signature(value).bind(**arguments)
    except (TypeError, ValueError):
        return False
    return True


def _free_sites(
    model: Callable[..., Any], arguments: Mapping[str, Any], seed: int
) -> list[Mapping[str, Any]]:
    """Unobserved sample sites of a NumPyro model, in order, with values drawn by a seed.

    Raises a TargetError of a parameter, which has no prior, and of a subsample of rows.
    """
    handlers = sys.modules["numpyro"].handlers
    sites = handlers.trace(handlers.seed(model, seed)).get_trace(**arguments).values()
    for site in sites:
        if site["type"] == "param":
            raise TargetError(f"site {site['name']}: expected no param: it has no prior")
        if site["type"] == "plate" and len(site["value"]) != site["args"][0]:
            raise TargetError(f"plate {site['name']}: expected all of its rows, no subsample")
    return [site for site in sites if site["type"] == "sample" and not site["is_observed"]]


def _variable_of_site(site: Mapping[str, Any]) -> Variable:
    """Variable of a sample site; raise a TargetError unless its support is real or an interval."""
    distributions = sys.modules["numpyro"].distributions
    name = site["name"]
    shape = tuple(np.shape(site["value"]))
    support = site["fn"].support
    while hasattr(support, "base_constraint"):  # independent in some axes
        support = support.base_constraint
    low = getattr(support, "lower_bound", None)
    high = getattr(support, "upper_bound", None)
    is_real = isinstance(support, type(distributions.constraints.real))
    is_interval = low is not None or high is not None
    if support.is_discrete or support.event_dim or not (is_real or is_interval):
        kind = "discrete" if support.is_discrete else str(support)
        raise TargetError(
            f"site {name}: expected real values, or values between bounds. Received: "
            f"{kind:.60}; {REMEDY}"
        )
    low = -math.inf if low is None else np.asarray(low)
    high = math.inf if high is None else np.asarray(high)
    if not np.isfinite(low).any():
        return Variable(name, shape, low, high)
    distribution = site["fn"]
    while isinstance(distribution, distributions.Independent):  # whose log-density is a sum
        distribution = distribution.base_dist

    def log_p(x: np.ndarray) -> np.ndarray:
        """Log-density of the site, element by element."""
        return np.asarray(distribution.log_prob(x), np.float64)

    scale = tail_scale(log_p, np.broadcast_to(low, shape), high)
    return Variable(name, shape, low, high, scale)


def _numpyro_function(
    model: Callable[..., Any], arguments: Mapping[str, Any], variables: Sequence[Variable]
) -> ValuesAndGradients:
    """Compiled function of points ``(n, D)``: ``log p`` ``(n,)`` and gradients ``(n, D)``."""
    jax = sys.modules["jax"]
    log_density = sys.modules["numpyro"].infer.util.log_density
    ends = np.cumsum([math.prod(variable.shape) for variable in variables])[:-1]

    def log_p(point: Any) -> Any:
        """Joint log-density at one point ``(D,)``."""
        values = {}
        for variable, part in zip(variables, jax.numpy.split(point, ends)):
            values[variable.name] = part.reshape(variable.shape)
        return log_density(model, (), dict(arguments), values)[0]

    with_gradient = jax.value_and_grad(log_p)
    compiled = jax.jit(lambda x: jax.lax.map(with_gradient, x, batch_size=POINTS_AT_ONCE))

    def log_p_and_gradient(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The compiled function in float64, as NumPy arrays."""
        with _float64():
            values, gradients = compiled(x)
            return np.asarray(values), np.asarray(gradients)

    return log_p_and_gradient


def _float64() -> AbstractContextManager[None]:
    """Context in which JAX computes in float64."""
    jax = sys.modules["jax"]
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return importlib.import_module("jax.experimental").enable_x64()


def pymc_model(value: Any) -> Model | None:
    """Model of a ``pymc.Model``; ``None`` of anything else.

    ``log p`` is the joint log-density of the free variables in their own, constrained space.
    """
    pymc = sys.modules.get("pymc")
    if pymc is None or not isinstance(value, pymc.Model):
        return None
    if not value.free_RVs:
        raise TargetError("expected a model with a free variable. Received: one without")
    bounds = [_bounds_of_variable(pymc, value, variable) for variable in value.free_RVs]
    # In it variables have their own, constrained space.
    untransformed = pymc.model.transform.conditioning.remove_value_transforms(value)
    inputs = [
        untransformed.rvs_to_values[untransformed[variable.name]] for variable in value.free_RVs
    ]
    initial = untransformed.initial_point()
    variables = []
    for variable, symbol, (low, high) in zip(value.free_RVs, inputs, bounds):
        shape = np.shape(initial[symbol.name])
        scale = _tail_scale_of_variable(pymc, variable, np.broadcast_to(low, shape), high)
        labels = _axis_labels(value, variable.name)
        variables.append(Variable(variable.name, shape, low, high, scale, labels))
    return Model(_pymc_function(untransformed, inputs), coordinates_of(variables))


def _bounds_of_variable(
    pymc: ModuleType, model: Any, variable: Any
) -> Sequence[np.ndarray | float]:
    """Lower and upper bound of a free variable of a PyMC model, infinite if unbounded; raise a
    TargetError if it is discrete or no interval.
    """
    transform = model.rvs_to_transforms[variable]
    kind = getattr(transform, "name", None)
    is_discrete = "float" not in variable.dtype
    if is_discrete or (kind not in TRANSFORM_BOUNDS and kind != "interval"):
        received = "discrete" if is_discrete else kind
        raise TargetError(
            f"{variable.name}: expected real values, or values between bounds. Received: "
            f"{received}; {REMEDY}"
        )
    if kind != "interval":
        return TRANSFORM_BOUNDS[kind]
    bounds = zip(transform.args_fn(*variable.owner.inputs), TRANSFORM_BOUNDS[None])
    return [_constant_bound(pymc, variable.name, bound, infinite) for bound, infinite in bounds]


def _constant_bound(pymc: ModuleType, name: str, bound: Any, infinite: float) -> np.ndarray | float:
    """Value of a bound of the PyMC variable ``name``; ``infinite`` if it is ``None``.

    Raises a TargetError if it depends on other variables, which differ in two draws.
    """
    if bound is None:
        return infinite
    drawn = np.asarray(pymc.draw(bound, random_seed=0))
    redrawn = np.asarray(pymc.draw(bound, random_seed=1))
    if not np.array_equal(drawn, redrawn):
        raise TargetError(
            f"{name}: expected bounds that are constant. Received: bounds that depend on other "
            f"variables; {REMEDY}"
        )
    return drawn


def _tail_scale_of_variable(
    pymc: ModuleType, variable: Any, low: np.ndarray, high: np.ndarray | float
) -> np.ndarray | float:
    """:func:`tail_scale` of a PyMC variable; NaN where it depends on other variables."""
    if not np.isfinite(low).any():
        return math.nan

    def log_p(x: Any) -> Any:
        """Log-density of the variable, element by element."""
        return pymc.logp(variable, x, warn_rvs=False)

    scale = tail_scale(log_p, low, high, sys.modules["pytensor"].tensor)
    with warnings.catch_warnings(action="ignore"):  # NumPy's, of infinities
        return _scale_if_constant(*pymc.draw(scale, draws=2, random_seed=0, mode="FAST_COMPILE"))


def _axis_labels(model: Any, name: str) -> list[Sequence[str] | None] | None:
    dims = model.named_vars_to_dims.get(name)
    return None if dims is None else [model.coords.get(dim) for dim in dims]


def _pymc_function(model: Any, inputs: Sequence[Any]) -> ValuesAndGradients:
    """Function of points ``(n, D)``: ``log p`` ``(n,)`` and gradients ``(n, D)``, row by row;
    ``inputs``: the symbols of the coordinates.
    """
    function = model.logp_dlogp_function(grad_vars=inputs, ravel_inputs=True)
    function.set_extra_values({})

    def log_p_and_gradient(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pairs = [function(row) for row in x]
        return np.array([log_p for log_p, _ in pairs]), np.array([slope for _, slope in pairs])

    return log_p_and_gradient

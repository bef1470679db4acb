"""Models of NumPyro and PyMC, imported only by a user's code: coordinates, log p, gradient."""

import importlib
import inspect
import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.errors import TargetError

Bounds = dict[str, list[float | None]]
REFUSED = "write its log-density over unconstrained coordinates as a function"
AT_ONCE = 512  # points of a NumPyro model
# Bounds by the name of the transform that PyMC chose.
ENDS = {"log": (0.0, math.inf), "logodds": (0.0, 1.0), "circular": (-math.pi, math.pi)}
FAR = 1e4  # scales: where a density whose tail is lighter than a power is 0 in float64


class Variable(NamedTuple):
    """Continuous variable of a model, with bounds of that shape or a number, infinite without one.

    ``scale``: as of :func:`tail_scale`; ``labels``: of each axis; ``None``: positions.
    """

    name: str
    shape: tuple[int, ...]
    low: Any = -np.inf
    high: Any = np.inf
    scale: Any = np.nan
    labels: Sequence[Sequence[str] | None] | None = None


class Coordinates(NamedTuple):
    """Names and bounds of the D coordinates of a model, as a config has them."""

    names: list[str]
    bounds: Bounds

    def are_of(self, names: Sequence[str], bounds: Bounds) -> bool:
        """Whether they are those of a run, which may have been fitted with other scales."""
        own, others = (
            {name: extent[:2] for name, extent in each.items()} for each in (self.bounds, bounds)
        )
        return self.names == list(names) and own == others


class Model(NamedTuple):
    """Model as a function of points ``(n, D)`` that returns ``log p`` and its gradient."""

    function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    coordinates: Coordinates


def coordinates_of(variables: Sequence[Variable]) -> Coordinates:
    """Coordinates of variables in order, such as ``mu``, ``theta[0]`` or ``L[0, 1]``."""
    names, bounds = [], {}
    for variable in variables:
        ends = [np.broadcast_to(end, variable.shape) for end in (variable.low, variable.high)]
        scales = np.broadcast_to(variable.scale, variable.shape)
        for place in np.ndindex(variable.shape):
            names.append(_element(variable, place))
            low, high = (float(end[place]) if np.isfinite(end[place]) else None for end in ends)
            if low is not None or high is not None:
                bounds[names[-1]] = [low, high]
            if np.isfinite(scales[place]):
                bounds[names[-1]].append(float(f"{scales[place]:.6g}"))
    return Coordinates(names, bounds)


def tail_scale(log_p: Callable[[Any], Any], low: np.ndarray, high: Any, xp: Any = np) -> Any:
    """Scale of the half-Cauchy that has the height of a density at its lower bound; NaN unless that
    is finite and the tail is a power. Both tails of the logarithm are exponential then.

    ``log_p``: of values of the shape of ``low``; ``xp``: NumPy, or PyTensor's ``tensor``.
    """
    above = np.maximum(np.nextafter(low, np.inf), low + np.finfo(np.float64).tiny)
    with warnings.catch_warnings(action="ignore"):  # NumPyro's, out of the support
        height = xp.exp(log_p(above))
        scale = 2 / (math.pi * height)
        near, tail = (xp.exp(log_p(low + away * scale)) for away in (1 / FAR, FAR))
    has_height = (near > height / 2) & (near < height * 2)
    return xp.where(has_height & (tail > 0) & (tail < near) & np.isinf(high), scale, math.nan)


def _equal(once: Any, again: Any) -> Any:
    """Scales, NaN where they depend on other variables."""
    return np.where(once == again, once, math.nan)


def _element(variable: Variable, place: tuple[int, ...]) -> str:
    if not place:
        return variable.name
    labels = variable.labels or [None] * len(place)
    parts = [str(i) if some is None else str(some[i]) for i, some in zip(place, labels)]
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
    arguments = next((a for a in _choices(data) if _takes(value, a)), None)
    if arguments is None:
        return None
    with _float64():
        traces = [_trace(value, arguments, seed) for seed in (0, 1)]
        if not traces[0]:
            return None
        variables = [[_variable(site) for site in trace] for trace in traces]
    for one, other in zip(*variables):
        if not (np.array_equal(one.low, other.low) and np.array_equal(one.high, other.high)):
            raise TargetError(
                f"site {one.name}: expected bounds that are constant. Received: bounds that depend "
                f"on other sites; {REFUSED}"
            )
    free = [one._replace(scale=_equal(one.scale, other.scale)) for one, other in zip(*variables)]
    return Model(_numpyro_pair(value, arguments, free), coordinates_of(free))


def _choices(data: Any) -> list[Mapping[str, Any]]:
    if not callable(data):
        return [{}]
    arguments = data()
    if not isinstance(arguments, Mapping):
        raise TargetError(
            "data: expected a dict of the model's keyword arguments. Received: "
            f"{type(arguments).__name__}"
        )
    return [arguments, {}]


def _takes(value: Any, arguments: Mapping[str, Any]) -> bool:
    try:
        inspect.signature(value).bind(**arguments)
    except (TypeError, ValueError):
        return False
    return True


def _trace(model: Any, arguments: Mapping[str, Any], seed: int) -> list[Any]:
    """Unobserved sample sites, in order."""
    handlers = sys.modules["numpyro"].handlers
    sites = handlers.trace(handlers.seed(model, seed)).get_trace(**arguments).values()
    for site in sites:
        if site["type"] == "param":
            raise TargetError(f"site {site['name']}: expected no param: it has no prior")
        if site["type"] == "plate" and len(site["value"]) != site["args"][0]:
            raise TargetError(f"plate {site['name']}: expected all of its rows, no subsample")
    return [site for site in sites if site["type"] == "sample" and not site["is_observed"]]


def _variable(site: Mapping[str, Any]) -> Variable:
    real, support = sys.modules["numpyro"].distributions.constraints.real, site["fn"].support
    while hasattr(support, "base_constraint"):  # independent in some axes
        support = support.base_constraint
    ends = [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]
    is_real = isinstance(support, type(real))
    if (
        support.is_discrete
        or support.event_dim
        or not (is_real or any(e is not None for e in ends))
    ):
        kind = "discrete" if support.is_discrete else str(support)
        raise TargetError(
            f"site {site['name']}: expected real values, or values between bounds. Received: "
            f"{kind:.60}; {REFUSED}"
        )
    low, high = (
        end if given is None else np.asarray(given)
        for given, end in zip(ends, (-math.inf, math.inf))
    )
    shape = tuple(np.shape(site["value"]))
    if not np.isfinite(low).any():
        return Variable(site["name"], shape, low, high)
    fn, independent = site["fn"], sys.modules["numpyro"].distributions.Independent
    while isinstance(fn, independent):  # whose log-density is a sum
        fn = fn.base_dist
    start = np.broadcast_to(low, shape)
    scale = tail_scale(lambda x: np.asarray(fn.log_prob(x), np.float64), start, high)
    return Variable(site["name"], shape, low, high, scale)


def _numpyro_pair(
    model: Any, arguments: Mapping[str, Any], variables: Sequence[Variable]
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    jax, log_density = sys.modules["jax"], sys.modules["numpyro"].infer.util.log_density
    ends = np.cumsum([math.prod(variable.shape) for variable in variables])[:-1]

    def of_one(x: Any) -> Any:
        parts = zip(variables, jax.numpy.split(x, ends))
        values = {variable.name: part.reshape(variable.shape) for variable, part in parts}
        return log_density(model, (), dict(arguments), values)[0]

    both = jax.value_and_grad(of_one)
    compiled = jax.jit(lambda x: jax.lax.map(both, x, batch_size=AT_ONCE))

    def log_p(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with _float64():
            values, gradients = compiled(x)
            return np.asarray(values), np.asarray(gradients)

    return log_p


def _float64() -> Any:
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
    ends = [_ends(pymc, value, variable) for variable in value.free_RVs]
    plain = pymc.model.transform.conditioning.remove_value_transforms(value)
    values = [plain.rvs_to_values[plain[variable.name]] for variable in value.free_RVs]
    shapes = [np.shape(plain.initial_point()[v.name]) for v in values]
    variables = [
        Variable(
            variable.name,
            shape,
            low,
            high,
            _scale(pymc, variable, np.broadcast_to(low, shape), high),
            _labels(value, variable.name),
        )
        for variable, shape, (low, high) in zip(value.free_RVs, shapes, ends)
    ]
    return Model(_pymc_pair(plain, values), coordinates_of(variables))


def _ends(pymc: Any, model: Any, variable: Any) -> Sequence[Any]:
    transform = model.rvs_to_transforms[variable]
    kind = getattr(transform, "name", None)
    if "float" not in variable.dtype or (kind not in ENDS and kind not in (None, "interval")):
        received = "discrete" if "float" not in variable.dtype else kind
        raise TargetError(
            f"{variable.name}: expected real values, or values between bounds. Received: "
            f"{received}; {REFUSED}"
        )
    if kind != "interval":
        return ENDS.get(kind or "", (-math.inf, math.inf))
    found = transform.args_fn(*variable.owner.inputs)
    return [
        default if end is None else _constant(pymc, variable.name, end)
        for end, default in zip(found, (-math.inf, math.inf))
    ]


def _constant(pymc: Any, name: str, end: Any) -> np.ndarray:
    """Value of a bound, which must not depend on other variables."""
    once, again = (np.asarray(pymc.draw(end, random_seed=seed)) for seed in (0, 1))
    if not np.array_equal(once, again):
        raise TargetError(
            f"{name}: expected bounds that are constant. Received: bounds that depend on other "
            f"variables; {REFUSED}"
        )
    return once


def _scale(pymc: Any, variable: Any, low: np.ndarray, high: Any) -> Any:
    if not np.isfinite(low).any():
        return math.nan

    def log_p(x: Any) -> Any:
        return pymc.logp(variable, x, warn_rvs=False)

    scale = tail_scale(log_p, low, high, sys.modules["pytensor"].tensor)
    with warnings.catch_warnings(action="ignore"):  # NumPy's, of infinities
        return _equal(*pymc.draw(scale, draws=2, random_seed=0, mode="FAST_COMPILE"))


def _labels(model: Any, name: str) -> list[Sequence[str] | None] | None:
    dims = model.named_vars_to_dims.get(name)
    return None if dims is None else [model.coords.get(dim) for dim in dims]


def _pymc_pair(
    model: Any, values: Sequence[Any]
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    function = model.logp_dlogp_function(grad_vars=values, ravel_inputs=True)
    function.set_extra_values({})

    def log_p(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pairs = [function(row) for row in x]
        return np.array([value for value, _ in pairs]), np.array([slope for _, slope in pairs])

    return log_p

"""Models of NumPyro, imported only by a user's code: sites as coordinates, log p by JAX."""

import importlib
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nflow_cli.errors import TargetError
from nflow_cli.experiments.reverse_kl.coordinates import REFUSED, Model, Variable, coordinates_of

AT_ONCE = 512  # points


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
    return Model(_pair(value, arguments, variables[0]), coordinates_of(variables[0]))


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
    handlers = importlib.import_module("numpyro.handlers")
    sites = handlers.trace(handlers.seed(model, seed)).get_trace(**arguments).values()
    for site in sites:
        if site["type"] == "param":
            raise TargetError(f"site {site['name']}: expected no param: it has no prior")
        if site["type"] == "plate" and len(site["value"]) != site["args"][0]:
            raise TargetError(f"plate {site['name']}: expected all of its rows, no subsample")
    return [site for site in sites if site["type"] == "sample" and not site["is_observed"]]


def _variable(site: Mapping[str, Any]) -> Variable:
    constraints = importlib.import_module("numpyro.distributions.constraints")
    support = site["fn"].support
    while hasattr(support, "base_constraint"):  # independent in some axes
        support = support.base_constraint
    ends = [getattr(support, name, None) for name in ("lower_bound", "upper_bound")]
    is_real = isinstance(support, type(constraints.real))
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
    return Variable(site["name"], tuple(np.shape(site["value"])), low, high)


def _pair(
    model: Any, arguments: Mapping[str, Any], variables: Sequence[Variable]
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    jax = importlib.import_module("jax")
    log_density = importlib.import_module("numpyro.infer.util").log_density
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
    jax = importlib.import_module("jax")
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return importlib.import_module("jax.experimental").enable_x64()

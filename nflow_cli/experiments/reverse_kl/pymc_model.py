"""Models of PyMC, imported only by a user's code: free variables as coordinates."""

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nflow_cli.errors import TargetError
from nflow_cli.experiments.reverse_kl.coordinates import REFUSED, Model, Variable, coordinates_of

# Bounds by the name of the transform that PyMC chose.
ENDS = {"log": (0.0, math.inf), "logodds": (0.0, 1.0), "circular": (-math.pi, math.pi)}


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
    conditioning = importlib.import_module("pymc.model.transform.conditioning")
    plain = conditioning.remove_value_transforms(value)
    values = [plain.rvs_to_values[plain[variable.name]] for variable in value.free_RVs]
    shapes = [np.shape(plain.initial_point()[v.name]) for v in values]
    variables = [
        Variable(variable.name, shape, low, high, _labels(value, variable.name))
        for variable, shape, (low, high) in zip(value.free_RVs, shapes, ends)
    ]
    return Model(_pair(plain, values), coordinates_of(variables))


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


def _labels(model: Any, name: str) -> list[Sequence[str] | None] | None:
    dims = model.named_vars_to_dims.get(name)
    return None if dims is None else [model.coords.get(dim) for dim in dims]


def _pair(
    model: Any, values: Sequence[Any]
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    function = model.logp_dlogp_function(grad_vars=values, ravel_inputs=True)
    function.set_extra_values({})

    def log_p(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pairs = [function(row) for row in x]
        return np.array([value for value, _ in pairs]), np.array([slope for _, slope in pairs])

    return log_p

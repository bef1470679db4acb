"""Every flow under test, and what their tests share. A new flow is one more line."""

from functools import cache, lru_cache, partial

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import truth
from hypothesis.extra.numpy import arrays
from keras import ops
from truth import to_numpy

from nflow_cli.backend import programs
from nflow_cli.flows.composition import run_maps
from nflow_cli.flows.planar import PlanarFlow
from nflow_cli.flows.radial import RadialFlow
from nflow_cli.flows.stack import FlowStack

FULL = {"affine": {"full": True}}
# Few units and bins: a difference across the bend of a unit, or across a knot, is no derivative.
AFFINE_COUPLING = {"affine-coupling": {"hidden": [6, 5]}}
SPLINE_COUPLING = {"spline-coupling": {"hidden": [6], "bins": 3}}
MASKED = [
    {"affine-autoregressive": {"hidden": [6, 5]}},
    {"inverse-autoregressive": {"hidden": [6]}},
]
MASKED_SPLINE = {"spline-autoregressive": {"hidden": [6], "bins": 3}}
MIXTURE_COUPLING = {"mixture-coupling": {"hidden": [6], "components": 3}}
MASKED_MIXTURE = {"mixture-autoregressive": {"hidden": [6], "components": 3}}
SYLVESTER, WIDER = ({"sylvester": {"width": width, "reflections": 2}} for width in (2, 3))
OF_A_CONTEXT = {  # as a function of which they have their weights
    "mixed stack of a context": partial(FlowStack, ["planar", "radial"], 3),
    "affine stack of a context": partial(FlowStack, ["affine", FULL], 3, affine="full"),
    "spline stack of a context": partial(FlowStack, [SPLINE_COUPLING], 2),
    "masked spline stack of a context": partial(FlowStack, [MASKED_SPLINE], 1),
    "sylvester stack of a context": partial(FlowStack, [SYLVESTER], 2),
}
CATALOGUE = {
    "planar": PlanarFlow,
    "radial": RadialFlow,
    "diagonal affine": partial(FlowStack, ["affine"], 1),
    "full affine": partial(FlowStack, [FULL], 1),
    "planar stack": partial(FlowStack, ["planar"], 3),
    "radial stack": partial(FlowStack, ["radial"], 3),
    "mixed stack": partial(FlowStack, ["planar", "radial"], 5),
    "planar and affine stack": partial(FlowStack, ["planar", FULL], 3),
    "planar stack with a diagonal end": partial(FlowStack, ["planar"], 1, affine="diagonal"),
    "planar stack with a full end": partial(FlowStack, ["planar"], 1, affine="full"),
    "empty stack": partial(FlowStack, ["planar"], 0),
    "affine coupling stack": partial(FlowStack, [AFFINE_COUPLING], 2),
    "spline and permutation stack": partial(FlowStack, [SPLINE_COUPLING, "permutation"], 3),
    "mixture coupling stack": partial(FlowStack, [MIXTURE_COUPLING], 1),
    "masked mixture stack": partial(FlowStack, [MASKED_MIXTURE], 1),
    "masked stack": partial(FlowStack, MASKED, 2),
    "sylvester": partial(FlowStack, [WIDER], 1),
    **OF_A_CONTEXT,
}
# Networks, of which a point bends some units and is in one bin: it has no part in other weights.
PIECEWISE = {n for n in CATALOGUE if any(word in n for word in ("coupling", "spline", "masked"))}
# Their maps, and what stands around them, are in others: they are slow.
REPEATED = {
    *("diagonal affine", "planar stack", "radial stack", "planar and affine stack"),
    *("planar stack with a diagonal end", "spline stack of a context"),
    *("sylvester stack of a context", "masked mixture stack"),
}
# JAX compiles for each flow and each shape: it is asked for what another backend may do otherwise.
ON_JAX = keras.config.backend() == "jax"
ALIKE = REPEATED | {"affine stack of a context", "affine coupling stack", "masked stack"}
NAMES = [name for name in CATALOGUE if not (ON_JAX and name in ALIKE)]


def over(names, *slow):
    """Return the mark that runs a test over flows by their names, some of which are slow."""
    marks = {name: pytest.mark.slow for name in (*REPEATED, *slow)}
    return pytest.mark.parametrize("name", [pytest.param(n, marks=marks.get(n, ())) for n in names])


WIDTH = 4  # of a context
STEP = 2e-5
central_differences = partial(truth.central_differences, step=STEP)
DTYPES = ("float64", "float32")
DIMS = (1, 5) if ON_JAX else (1, 2, 5, 40)
on_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="only TensorFlow's loop has its own gradient"
)
slow_by_xla = pytest.param(True, marks=[pytest.mark.slow, pytest.mark.xla])
either_way = pytest.mark.parametrize("xla", [False, slow_by_xla])
DIRECTIONS = ("forward_and_log_det", "inverse_and_log_det")
# What a round trip may lose, relative to the Lipschitz constant and the size of the points.
ROUND_TRIP = {"float64": 1e-12, "float32": 1e-6}
# What a log-determinant may lose beyond its own conditioning; float32 has only its conditioning.
LOG_DET = {"float64": 1e-9, "float32": 0.0}


def eps_of(dtype):
    return float(np.finfo(dtype).eps)


@cache
def make(name, dim, dtype="float64", seed=0):
    """Build a flow and move its weights away from their start, still within moderate reach."""
    return build(name, dim, dtype, seed)


def build(name, dim, dtype, seed):
    layer = built(CATALOGUE[name](seed=seed, dtype=dtype), name, dim)
    rng = np.random.default_rng(seed)
    # Networks of larger weights are chaotic: each coupling would stretch tenfold or more.
    spread = 0.2 if name in PIECEWISE else 0.5
    for variable in layer.trainable_weights:
        start = to_numpy(variable.value)
        variable.assign(start + spread * rng.standard_normal(start.shape).astype(dtype))
    return layer


def built(layer, name, dim):
    """Build the layer of this name, and return it."""
    layer.build((None, dim), *([(None, WIDTH)] if name in OF_A_CONTEXT else []))
    return layer


def points_for(dim, dtype="float64", leading=(6,), seed=0):
    points = np.random.default_rng([seed, dim]).standard_normal((*leading, dim))
    return (1.5 * points).astype(dtype)


def inputs_for(name, dim, dtype="float64", batch=6):
    """Return what the layer of this name is called on: points, and the context if it has one."""
    return [points_for(dim, dtype, (batch,)), *context_for(name, dtype, batch)]


def context_for(name, dtype="float64", batch=6):
    """Return the context that the layer of this name is called on, in a list, or none."""
    context = 0.5 * np.random.default_rng(batch).standard_normal((batch, WIDTH))
    return [context.astype(dtype)] if name in OF_A_CONTEXT else []


def evaluate(layer, direction, inputs, weights=None):
    """Run a layer on its weights or on others; return arrays."""
    if weights is None:
        weights = [variable.value for variable in layer.trainable_variables]
    return [to_numpy(tensor) for tensor in _runner(layer, direction)(inputs, weights)]


def apply(layer, direction, inputs, weights):
    """Run a layer on the weights given."""
    with keras.StatelessScope(state_mapping=list(zip(layer.trainable_variables, weights))):
        return getattr(layer, direction)(*inputs)


@cache
def _runner(layer, direction):
    return compiled(partial(apply, layer, direction))


def run_one(flow, raw, points, inverse=False):
    """Run one map with a set of raw weights for each row of ``points``; return arrays."""
    return [to_numpy(tensor) for tensor in _runner_of_one(flow, inverse)(raw, points)]


@cache
def _runner_of_one(flow, inverse):
    return compiled(partial(run_rows, flow, inverse=inverse))


def run_rows(flow, raw, points, inverse=False):
    """Run one map with raw weights ``(rows, *shape)`` on points ``(rows, D)``."""
    weights = {name: ops.moveaxis(value, 0, -1)[None] for name, value in raw.items()}
    return run_maps([flow], [weights], 1, points, inverse)


@st.composite
def drawn_rows(draw, flow, dtype):
    """Draw raw weights of four rows of a map, and their points."""
    dim = draw(st.sampled_from(DIMS))
    width = 64 if dtype == "float64" else 32
    numbers = st.floats(-30, 30, width=width, allow_subnormal=False)
    shapes = {**flow.shapes(dim), "points": (dim,)}
    rows = {n: draw(arrays(dtype, (4, *s), elements=numbers)) for n, s in shapes.items()}
    points = rows.pop("points")
    return rows, points


def compiled(function):
    # JAX compiles the loop over the flows at every eager call, and once for each shape in a jit.
    if not ON_JAX:
        return function
    import jax

    return jax.jit(function)


def gradients(function, *arrays):
    """Return the gradient of a scalar function of tensors with respect to each, as arrays."""
    backend = keras.config.backend()
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        result = tape.gradient(value, tensors, unconnected_gradients="zero")
    elif backend == "jax":
        result = _gradient_on_jax(function, len(tensors))(*tensors)
    else:
        import torch

        tensors = [tensor.requires_grad_() for tensor in tensors]
        result = torch.autograd.grad(
            function(*tensors), tensors, allow_unused=True, materialize_grads=True
        )
    return [to_numpy(gradient) for gradient in result]


@lru_cache(maxsize=1)
def _gradient_on_jax(function, count):
    import jax

    return jax.jit(jax.grad(function, argnums=tuple(range(count))))


def curvatures(function, ways, *arrays):
    """Return the product of the Hessian of a scalar function of tensors and ``ways``, as arrays."""
    backend = keras.config.backend()
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    ways = [ops.convert_to_tensor(way) for way in ways]

    def along(slopes):
        return sum(ops.sum(slope * way) for slope, way in zip(slopes, ways))

    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as outer:
            outer.watch(tensors)
            with tf.GradientTape() as inner:
                inner.watch(tensors)
                value = function(*tensors)
            slope = along(inner.gradient(value, tensors, unconnected_gradients="zero"))
        result = outer.gradient(slope, tensors, unconnected_gradients="zero")
    elif backend == "jax":
        import jax

        every = tuple(range(len(tensors)))
        slopes = jax.grad(function, argnums=every)
        result = jax.jit(jax.grad(lambda *given: along(slopes(*given)), argnums=every))(*tensors)
    else:
        import torch

        tensors = [tensor.requires_grad_() for tensor in tensors]
        every = {"allow_unused": True, "materialize_grads": True}
        slopes = torch.autograd.grad(function(*tensors), tensors, create_graph=True, **every)
        slope = along(slopes)
        if not slope.requires_grad:  # of a linear function
            return [np.zeros(tensor.shape) for tensor in tensors]
        result = torch.autograd.grad(slope, tensors, **every)
    return [to_numpy(curvature) for curvature in result]


def weighted_sum(stack, direction, count):
    """Return a scalar function of ``count`` inputs and the weights that has all outputs in it."""

    def value(*arrays):
        moved, log_det = apply(stack, direction, arrays[:count], arrays[count:])
        together = ops.concatenate([moved, ops.expand_dims(log_det, -1)], axis=-1)
        on_outputs = np.random.default_rng(2).standard_normal(tuple(together.shape))
        return ops.sum(together * ops.convert_to_tensor(on_outputs))

    return value


def recorded(function, *arrays):
    """Return a function's value and gradient on TensorFlow: ``None`` in what it does not reach."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(arrays)
        value = function(*arrays)
    return value, *tape.gradient(value, arrays)


def recorded_twice(function, ways, *arrays):
    """Return a function's gradient on TensorFlow, and its Hessian's product with ``ways``."""
    import tensorflow as tf

    with tf.GradientTape() as outer:
        outer.watch(arrays)
        _, *slopes = recorded(function, *arrays)
        along = sum(tf.reduce_sum(slope * way) for slope, way in zip(slopes, ways))
    return *slopes, *outer.gradient(along, arrays, unconnected_gradients="zero")


def assert_equal_compiled(function, arrays, xla=True):
    """Check a function of TensorFlow's tensors in one program against itself run eagerly."""
    given = tensors(arrays)
    # Eagerly the maps run one after the other, and TensorFlow differentiates them.
    for got, expected in zip(programs.compiled(function, xla)(*given), function(*given)):
        size = max(1, np.max(np.abs(expected)))
        np.testing.assert_allclose(got, expected, 1e-11, 1e-11 * size)


def tensors(arrays):
    return [ops.convert_to_tensor(array) for array in arrays]


def dense_jacobian(function, points):
    """Return ``d function / d points`` ``(batch, D, D)`` by central differences."""
    dim = points.shape[-1]
    steps = STEP * np.array([1, -1, 2, -2])
    # All shifts of all points go through the flow in one call, ``(4, batch * D, D)``.
    rows = points[:, None, :] + steps[:, None, None, None] * np.eye(dim)
    shifted = dict(zip(steps.tolist(), function(rows.reshape(4, -1, dim)).reshape(rows.shape)))
    return np.swapaxes(central_differences(shifted.get), 1, 2)


def norm(vectors):
    return np.sqrt(np.sum(np.asarray(vectors, "float64") ** 2, -1))

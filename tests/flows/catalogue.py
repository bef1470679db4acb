"""Every flow under test, and what their tests share. A new flow is one more line."""

from functools import cache, partial

import keras
import numpy as np
from keras import ops
from nflow_cli.flows.compose import run_flows

from nflow_cli.flows import FlowStack, PlanarFlow, RadialFlow

CATALOGUE = {
    "planar": PlanarFlow,
    "radial": RadialFlow,
    "planar stack": partial(FlowStack, ["planar"], 3),
    "radial stack": partial(FlowStack, ["radial"], 3),
    "mixed stack": partial(FlowStack, ["planar", "radial"], 5),
    "empty stack": partial(FlowStack, ["planar"], 0),
}
DTYPES = ("float64", "float32")
DIMS = (1, 2, 5, 40)
DIRECTIONS = ("forward_and_log_det", "inverse_and_log_det")
# What a round trip may lose, relative to the Lipschitz constant and the size of the points.
ROUND_TRIP = {"float64": 1e-12, "float32": 1e-6}
# What a log-determinant may lose beyond its own conditioning; float32 has only its conditioning.
LOG_DET = {"float64": 1e-9, "float32": 0.0}


def eps_of(dtype):
    return float(np.finfo(dtype).eps)


def to_numpy(tensor):
    # Keras's own conversion of a torch tensor, or of a TensorFlow variable, warns under NumPy 2.
    tensor = ops.convert_to_tensor(tensor)
    return np.asarray(tensor.detach() if hasattr(tensor, "detach") else tensor)


@cache
def make(name, dim, dtype="float64", seed=0):
    """Build a flow and move its weights away from their start, still within moderate reach."""
    return build(name, dim, dtype, seed)


def build(name, dim, dtype, seed):
    layer = CATALOGUE[name](seed=seed, dtype=dtype)
    layer.build((None, dim))
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        start = to_numpy(variable.value)
        variable.assign(start + 0.5 * rng.standard_normal(start.shape).astype(dtype))
    return layer


def points_for(dim, dtype="float64", leading=(6,), seed=0):
    points = np.random.default_rng([seed, dim]).standard_normal((*leading, dim))
    return (1.5 * points).astype(dtype)


def evaluate(layer, direction, points, weights=None):
    """Run a layer on its weights or on others; return arrays."""
    if weights is None:
        weights = [variable.value for variable in layer.trainable_variables]
    return [to_numpy(tensor) for tensor in _runner(layer, direction)(points, *weights)]


def apply(layer, direction, points, *weights):
    """Run a layer on the weights given."""
    with keras.StatelessScope(state_mapping=list(zip(layer.trainable_variables, weights))):
        return getattr(layer, direction)(points)


@cache
def _runner(layer, direction):
    return compiled(partial(apply, layer, direction))


def run_one(kind, parameters, points, inverse=False):
    """Run one flow with a set of parameters for each row of ``points``; return arrays."""
    return [to_numpy(tensor) for tensor in _runner_of_one(kind, inverse)(parameters, points)]


@cache
def _runner_of_one(kind, inverse):
    def run(parameters, points):
        repeated = {name: value[None] for name, value in parameters.items()}
        return run_flows([kind], [repeated], 1, points, inverse=inverse)

    return compiled(run)


def compiled(function):
    # JAX compiles the loop over the flows at every eager call, and once for each shape in a jit.
    if keras.config.backend() != "jax":
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
        import jax

        result = jax.jit(jax.grad(function, argnums=tuple(range(len(tensors)))))(*tensors)
    else:
        import torch

        tensors = [tensor.requires_grad_() for tensor in tensors]
        result = torch.autograd.grad(
            function(*tensors), tensors, allow_unused=True, materialize_grads=True
        )
    return [to_numpy(gradient) for gradient in result]


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


def norm(vectors):
    return np.sqrt(np.sum(np.asarray(vectors, "float64") ** 2, -1))

import keras
import numpy as np
import pytest
from catalogue import (
    CATALOGUE,
    DIRECTIONS,
    NAMES,
    OF_A_CONTEXT,
    ON_JAX,
    PIECEWISE,
    WIDTH,
    built,
    eps_of,
    inputs_for,
    over,
    to_numpy,
)

from nflow_cli.errors import ConfigError
from nflow_cli.flows.layer import Flow
from nflow_cli.flows.planar import PlanarFlow

# What Keras asks of a layer is a matter of the base class; on JAX each call compiles it anew.
KINDS = ("mixed stack", "spline and permutation stack", "mixed stack of a context")
every_flow = over(KINDS if ON_JAX else NAMES, *set(NAMES).difference(KINDS))

DIM = 3
SHAPES = {
    "planar": [(DIM,), (DIM,), ()],
    "radial": [(DIM,), (), ()],
    "diagonal affine": [(1, DIM), (1, DIM)],
    "full affine": [(1, DIM), (1, DIM), (1, 3)],
    "planar stack": [(3, DIM), (3, DIM), (3,)],
    "radial stack": [(3, DIM), (3,), (3,)],
    "mixed stack": [(3, DIM), (3, DIM), (3,), (2, DIM), (2,), (2,)],
    "planar and affine stack": [(2, DIM), (2, DIM), (2,), (1, DIM), (1, DIM), (1, 3)],
    "planar stack with a diagonal end": [(1, DIM), (1, DIM), (1,), (DIM,), (DIM,)],
    "planar stack with a full end": [(1, DIM), (1, DIM), (1,), (DIM,), (DIM,), (3,)],
    "empty stack": [],
    "mixed stack of a context": [
        *[(2, DIM), (2, DIM), (2,), (1, DIM), (1,), (1,)],
        *[(2, DIM, WIDTH), (2, DIM, WIDTH), (2, WIDTH), (1, DIM, WIDTH), (1, WIDTH), (1, WIDTH)],
    ],
    "affine stack of a context": [
        *[(2, DIM), (2, DIM), (1, DIM), (1, DIM), (1, 3)],
        *[(DIM,), (DIM,), (3,)],
        *[(2, DIM, WIDTH), (2, DIM, WIDTH), (1, DIM, WIDTH), (1, DIM, WIDTH), (1, 3, WIDTH)],
        (DIM, WIDTH),
    ],
}


class Within(keras.layers.Layer):
    """Calls a method of a flow, as a model of one's own does."""

    def __init__(self, method, **options):
        super().__init__(**options)
        self.method = method

    def call(self, *inputs):
        return self.method(*inputs)


class Tripling(Flow):
    """x = 3 z; its weight, log 3, is no number of half precision."""

    def build(self, shape):
        third = keras.initializers.Constant(np.log(3))
        self.log_scale = self.add_weight(shape=(shape[-1],), initializer=third, name="log_scale")

    def forward_and_log_det(self, z, context=None):
        return z * keras.ops.exp(self.log_scale), keras.ops.sum(self.log_scale)

    def inverse_and_log_det(self, x, context=None):
        return x * keras.ops.exp(-self.log_scale), -keras.ops.sum(self.log_scale)


def inputs_of(name, dtype="float32", batch=16):
    return inputs_for(name, DIM, dtype, batch)


def outputs(layer, inputs):
    return [to_numpy(tensor) for tensor in layer(*inputs)]


def outputs_of_model(model, inputs):
    return [to_numpy(tensor) for tensor in model(inputs)]


def functional(name, layer, front=None):
    """Return a model of the layer; a layer in ``front`` of it sees the points first."""
    points, *context = [keras.Input((DIM,)), keras.Input((WIDTH,))][: 1 + (name in OF_A_CONTEXT)]
    return keras.Model([points, *context], layer(front(points) if front else points, *context))


def assert_equal(some, others):
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


@every_flow
def test_the_config_rebuilds_the_layer_with_its_initial_weights_by_keras_too(name):
    layer = CATALOGUE[name](name="it")
    by_keras = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    weights = built(layer, name, DIM).weights
    for again in (type(layer).from_config(layer.get_config()), by_keras):
        assert type(again) is type(layer)
        assert again.get_config() == layer.get_config()
        for one, other in zip(weights, built(again, name, DIM).weights, strict=True):
            assert one.path == other.path
            np.testing.assert_array_equal(to_numpy(one.value), to_numpy(other.value))


@every_flow
def test_a_layer_and_a_model_of_it_load_from_keras_files_with_equal_outputs(name, tmp_path):
    layer, inputs = CATALOGUE[name](seed=3), inputs_of(name)
    model = functional(name, layer)
    for weight in layer.trainable_weights:
        weight.assign(to_numpy(weight.value) + 0.5)
    for of_inputs, of_layer in ((outputs_of_model, model), (outputs, layer)):
        keras.saving.save_model(of_layer, tmp_path / "saved.keras")
        again = keras.saving.load_model(tmp_path / "saved.keras")
        assert type(again) is type(of_layer)
        assert_equal(of_inputs(again, inputs), of_inputs(of_layer, inputs))
        (tmp_path / "saved.keras").unlink()


@pytest.mark.parametrize("name", SHAPES)
def test_every_weight_is_trainable_and_has_its_shape(name):
    layer = CATALOGUE[name](seed=3)
    layer(*inputs_of(name))
    assert layer.dim == DIM
    assert [tuple(weight.shape) for weight in layer.trainable_weights] == SHAPES[name]
    assert not layer.non_trainable_weights
    assert len({weight.path for weight in layer.weights}) == len(layer.weights)


@every_flow
def test_symbolic_outputs_have_the_shapes_and_types_of_eager_ones(name):
    for policy in ("float32", "float64", "mixed_float16"):
        layer = CATALOGUE[name](seed=3, dtype=policy)
        inputs = inputs_of(name, layer.variable_dtype)
        symbolic = layer(*(keras.KerasTensor(array.shape, array.dtype) for array in inputs))
        eager = outputs(layer, inputs)
        assert [tuple(tensor.shape) for tensor in symbolic] == [array.shape for array in eager]
        assert [tensor.dtype for tensor in symbolic] == [str(array.dtype) for array in eager]
        assert layer.compute_output_shape((None, 7, DIM)) == ((None, 7, DIM), (None, 7))


@over(
    ["empty stack", *KINDS, "planar", "radial", "full affine", "planar stack with a full end"],
    *("empty stack", "planar", "radial", "full affine", "mixed stack"),
    *("planar stack with a full end", "spline and permutation stack"),
)
def test_a_training_step_moves_every_weight(name):
    keras.utils.set_random_seed(0)
    # The layer in front sees to it that an empty stack has something to train as well.
    model = functional(name, CATALOGUE[name](seed=3), keras.layers.Dense(DIM))
    # XLA compiles `predict` below.
    model.compile(keras.optimizers.SGD(0.01), loss=["mse", "mse"], jit_compile=ON_JAX)
    before = [to_numpy(weight.value).copy() for weight in model.trainable_weights]
    targets = (np.ones((16, DIM), "float32"), np.ones(16, "float32"))
    model.fit(inputs_of(name), targets, batch_size=16, verbose=0)
    for weight, start in zip(model.trainable_weights, before):
        assert np.all(np.isfinite(to_numpy(weight.value)))
        moved = to_numpy(weight.value) != start
        assert np.any(moved) if name in PIECEWISE else np.all(moved)


@every_flow
def test_a_compiled_model_predicts_what_the_layer_computes(name):
    layer = CATALOGUE[name](seed=3)
    predicted = functional(name, layer).predict(inputs_of(name), verbose=0)
    for got, expected in zip(predicted, outputs(layer, inputs_of(name))):
        np.testing.assert_allclose(got, expected, 64 * eps_of("float32"), 64 * eps_of("float32"))


@every_flow
def test_half_precision_is_refused_and_its_policies_compute_in_float32(name):
    for dtype in ("float16", "bfloat16"):
        with pytest.raises(ConfigError, match=f"dtype='{dtype}'"):
            CATALOGUE[name](seed=3, dtype=dtype)
    mixed, plain = (CATALOGUE[name](seed=3, dtype=d) for d in ("mixed_float16", "float32"))
    half = inputs_of(name, "float16")
    exactly = [array.astype("float32") for array in half]
    for got, expected in zip(outputs(mixed, half), outputs(plain, exactly)):
        assert got.dtype == "float32"
        np.testing.assert_array_equal(got, expected)
    model = functional(name, mixed, keras.layers.Dense(DIM, dtype="mixed_float16"))
    assert [output.dtype for output in model.outputs] == ["float32", "float32"]
    types = [str(array.dtype) for array in outputs_of_model(model, inputs_of(name))]
    assert types == ["float32", "float32"]


@every_flow
def test_methods_within_a_layer_of_mixed_precision_compute_in_float32(name):
    flow, half = CATALOGUE[name](seed=3), inputs_of(name, "float16")
    exactly = [array.astype("float32") for array in half]
    for method in (getattr(flow, direction) for direction in DIRECTIONS):
        got = outputs(Within(method, dtype="mixed_float16"), half)
        assert_equal(got, [to_numpy(tensor) for tensor in method(*exactly)])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("context", [(), (np.ones((5, WIDTH), "float32"),)])
def test_a_flow_of_ones_own_is_built_by_either_method_and_keeps_its_precision(direction, context):
    power = 1 if direction == "forward_and_log_det" else -1
    within = Within(getattr(Tripling(), direction), dtype="mixed_bfloat16")
    moved, log_det = outputs(within, [np.ones((5, 2), "float32"), *context])
    np.testing.assert_allclose(moved, np.full((5, 2), 3.0**power), 4 * eps_of("float32"))
    np.testing.assert_allclose(log_det, 2 * power * np.log(3), 4 * eps_of("float32"))


@pytest.mark.skipif(not ON_JAX, reason="other backends have float64 always")
def test_float64_that_jax_would_cut_to_float32_is_refused():
    import jax

    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ConfigError, match="JAX_ENABLE_X64=1"):
            PlanarFlow(dtype="float64")
    finally:
        jax.config.update("jax_enable_x64", True)

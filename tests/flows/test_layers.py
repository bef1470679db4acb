import keras
import numpy as np
import pytest
from catalogue import CATALOGUE, eps_of, to_numpy

from nflow_cli.errors import ConfigError

every_flow = pytest.mark.parametrize("name", CATALOGUE)

DIM = 3
SHAPES = {
    "planar": [(DIM,), (DIM,), ()],
    "radial": [(DIM,), (), ()],
    "planar stack": [(3, DIM), (3, DIM), (3,)],
    "radial stack": [(3, DIM), (3,), (3,)],
    "mixed stack": [(3, DIM), (3, DIM), (3,), (2, DIM), (2,), (2,)],
    "empty stack": [],
}


def points(dtype="float32", batch=16):
    return np.random.default_rng(0).standard_normal((batch, DIM)).astype(dtype)


def outputs(model, x):
    return [to_numpy(tensor) for tensor in model(x)]


def functional(layer):
    inputs = keras.Input((DIM,))
    return keras.Model(inputs, layer(inputs))


def assert_equal_outputs(one, other):
    for a, b in zip(outputs(one, points()), outputs(other, points())):
        np.testing.assert_array_equal(a, b)


@every_flow
def test_the_config_rebuilds_the_layer_with_its_initial_weights(name):
    layer = CATALOGUE[name](name="it")
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert_equal_outputs(layer, again)


@every_flow
def test_keras_serialisation_finds_the_class(name):
    layer = CATALOGUE[name](seed=3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


@every_flow
def test_a_model_loads_from_a_keras_file_with_equal_outputs(name, tmp_path):
    layer = CATALOGUE[name](seed=3)
    model = functional(layer)
    for weight in layer.weights:
        weight.assign(to_numpy(weight.value) + 0.5)
    model.save(tmp_path / "model.keras")
    assert_equal_outputs(keras.saving.load_model(tmp_path / "model.keras"), model)


@every_flow
def test_a_layer_loads_from_a_keras_file_with_equal_outputs(name, tmp_path):
    layer = CATALOGUE[name](seed=3)
    layer(points())
    for weight in layer.weights:
        weight.assign(to_numpy(weight.value) + 0.5)
    keras.saving.save_model(layer, tmp_path / "layer.keras")
    again = keras.saving.load_model(tmp_path / "layer.keras")
    assert type(again) is type(layer)
    assert_equal_outputs(again, layer)


@pytest.mark.parametrize("name", SHAPES)
def test_every_weight_is_trainable_and_has_its_shape(name):
    layer = CATALOGUE[name](seed=3)
    layer.build((None, DIM))
    assert [tuple(weight.shape) for weight in layer.trainable_weights] == SHAPES[name]
    assert not layer.non_trainable_weights
    assert len({weight.path for weight in layer.weights}) == len(layer.weights)


@every_flow
def test_a_built_flow_knows_the_dimension_of_its_points(name):
    layer = CATALOGUE[name](seed=3)
    layer(points())
    assert layer.dim == DIM


@every_flow
@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_float16"])
def test_symbolic_outputs_have_the_shapes_and_types_of_eager_ones(name, policy):
    layer = CATALOGUE[name](seed=3, dtype=policy)
    symbolic = layer(keras.KerasTensor((16, DIM), dtype=layer.variable_dtype))
    eager = outputs(layer, points(layer.variable_dtype))
    assert [tuple(tensor.shape) for tensor in symbolic] == [array.shape for array in eager]
    assert [tensor.dtype for tensor in symbolic] == [str(array.dtype) for array in eager]
    assert layer.compute_output_shape((None, 7, DIM)) == ((None, 7, DIM), (None, 7))


@every_flow
def test_a_training_step_moves_every_weight(name):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((DIM,))
    layer = CATALOGUE[name](seed=3)
    # The affine layer in front sees to it that an empty stack has something to train as well.
    model = keras.Model(inputs, layer(keras.layers.Dense(DIM)(inputs)))
    model.compile(keras.optimizers.SGD(0.01), loss=["mse", "mse"])
    before = [to_numpy(weight.value).copy() for weight in model.trainable_weights]
    targets = (np.ones((16, DIM), "float32"), np.ones(16, "float32"))
    model.fit(points(), targets, batch_size=16, verbose=0)
    for weight, start in zip(model.trainable_weights, before):
        assert np.all(np.isfinite(to_numpy(weight.value)))
        assert np.all(to_numpy(weight.value) != start)


@every_flow
def test_a_compiled_model_predicts_what_the_layer_computes(name):
    layer = CATALOGUE[name](seed=3)
    predicted = functional(layer).predict(points(), verbose=0)
    for got, expected in zip(predicted, outputs(layer, points())):
        np.testing.assert_allclose(got, expected, 64 * eps_of("float32"), 64 * eps_of("float32"))


@every_flow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_refused(name, dtype):
    with pytest.raises(ConfigError, match=rf"expected float32 or float64.*dtype='{dtype}'"):
        CATALOGUE[name](seed=3, dtype=dtype)


@every_flow
def test_half_precision_policies_compute_in_float32(name):
    mixed, plain = (CATALOGUE[name](seed=3, dtype=d) for d in ("mixed_float16", "float32"))
    half = points("float16")
    for got, expected in zip(outputs(mixed, half), outputs(plain, half.astype("float32"))):
        assert got.dtype == "float32"
        np.testing.assert_array_equal(got, expected)


@every_flow
def test_in_a_half_precision_model_the_log_det_is_float32(name):
    keras.utils.set_random_seed(0)
    layer = CATALOGUE[name](seed=3, dtype="mixed_float16")
    inputs = keras.Input((DIM,))
    model = keras.Model(inputs, layer(keras.layers.Dense(DIM, dtype="mixed_float16")(inputs)))
    assert [output.dtype for output in model.outputs] == ["float32", "float32"]
    assert [str(array.dtype) for array in outputs(model, points())] == ["float32", "float32"]

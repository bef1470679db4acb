import math

import keras
import numpy as np
import pytest
from catalogue import WIDTH, to_numpy
from truth import normal_log_prob

from nflow_cli.errors import ConfigError
from nflow_cli.flows.flow_density import FlowDensity
from nflow_cli.flows.stack import FlowStack

MEAN = np.array([1.5, -2.0])
CHOLESKY = np.array([[0.5, 0.0], [1.0, 2.0]])
SLOPE = np.random.default_rng(0).standard_normal((2, WIDTH))
CONTEXT = np.random.default_rng(1).standard_normal((3, WIDTH)).astype("float32")
POINTS = np.random.default_rng(2).standard_normal((5, 3, 2)).astype("float32")


def gaussian(context=None, **options):
    """N(MEAN + SLOPE context, CHOLESKY CHOLESKY^T) by a flow."""
    flow = FlowStack(["planar"], 0, affine="full")
    flow.build((None, 2), context if context is None else context.shape)
    flow.adapt(MEAN, CHOLESKY, context if context is None else SLOPE)
    return FlowDensity(flow, **options)


@pytest.mark.parametrize("context", [None, CONTEXT], ids=["plain", "context"])
def test_log_prob_is_that_of_the_gaussian_that_the_flow_makes(context):
    density = gaussian(context)
    moved = 0 if context is None else context @ SLOPE.T
    expected = normal_log_prob(POINTS - moved, MEAN, CHOLESKY @ CHOLESKY.T)
    for log_prob in (density, density.log_prob):
        np.testing.assert_allclose(to_numpy(log_prob(POINTS, context)), expected, 1e-5)


def test_samples_have_the_moments_of_each_context_and_every_call_draws_anew():
    n, density = 20_000, gaussian(CONTEXT, seed=1)
    x = to_numpy(density.sample(n, CONTEXT))
    assert x.shape == (n, 3, 2)
    e = np.linalg.solve(CHOLESKY, (x - MEAN - CONTEXT @ SLOPE.T)[..., None])[..., 0]
    assert np.all(np.abs(e.mean(axis=0)) < 4 / math.sqrt(n))
    assert np.all(np.abs(np.einsum("nbi,nbj->bij", e, e) / n - np.eye(2)) < 4 * math.sqrt(2 / n))
    assert np.all(to_numpy(density.sample(n, CONTEXT)) != x)
    np.testing.assert_array_equal(to_numpy(gaussian(CONTEXT, seed=1).sample(n, CONTEXT)), x)


def normal(z):
    return [0.5 * (1 + math.erf(value / math.sqrt(2))) for value in z]


def uniform(z):
    return (z + 3) / 6


def student(z):  # with 5 degrees of freedom
    angle = np.arctan(z / math.sqrt(5))
    return 0.5 + (angle + np.sin(angle) * np.cos(angle) * (1 + 2 / 3 * np.cos(angle) ** 2)) / np.pi


@pytest.mark.parametrize(
    ("base", "distribution"),
    [("standard-normal", normal), ("uniform-box", uniform), ("student-t", student)],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_samples_of_a_base_have_its_distribution_and_its_log_density_sums_to_1(
    base, distribution, dtype
):
    flow = FlowStack(["planar"], 0, dtype=dtype)
    density = FlowDensity(flow, base, seed=3)
    axis = np.linspace(-40, 40, 80_001).astype(dtype)[:, None]
    assert abs(np.exp(to_numpy(density.log_prob(axis))).sum() * 0.001 - 1) < 1e-3
    n = 20_000
    z = to_numpy(density.sample(n))[:, 0]
    assert str(z.dtype) == dtype
    gap = np.sort(distribution(z)) - (np.arange(n) + 0.5) / n
    assert np.abs(gap).max() < 1.95 / math.sqrt(n)  # Kolmogorov: 1 in 1,000


def negative(_, log_q):
    return -log_q


def test_a_model_of_it_is_trained_and_loads_from_a_keras_file(tmp_path):
    keras.utils.set_random_seed(0)
    flow = FlowStack(["planar"], 1, affine="full")
    model = keras.Sequential([FlowDensity(flow, "student-t", seed=4)])
    model.compile(keras.optimizers.Adam(0.05), loss=negative)
    x = (MEAN + POINTS.reshape(-1, 2) @ CHOLESKY.T).astype("float32")
    before = to_numpy(model(x)).mean()
    model.fit(x, np.zeros(len(x)), epochs=20, verbose=0)
    assert to_numpy(model(x)).mean() > before + 0.5
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(to_numpy(again(x)), to_numpy(model(x)))
    drawn = [to_numpy(one.layers[0].sample(3)) for one in (again, model)]
    np.testing.assert_array_equal(*drawn)


class Model(keras.Model):
    """Calls a method of a density that is not built."""

    def __init__(self, **options):
        super().__init__(**options)
        self.density = FlowDensity(FlowStack(["planar"], 2, seed=0), dtype="mixed_float16")

    def call(self, x):
        return self.density.log_prob(x)


def test_it_computes_in_the_type_of_its_flow_within_mixed_precision():
    half, model = POINTS.astype("float16"), Model(dtype="mixed_float16")
    expected = to_numpy(Model().density.log_prob(half.astype("float32")))
    for log_prob in (model, model.density):
        np.testing.assert_array_equal(to_numpy(log_prob(half)), expected)
    symbolic = model.density(keras.KerasTensor(half.shape, "float16"))
    assert (symbolic.shape, symbolic.dtype) == ((5, 3), "float32")


def test_what_is_no_flow_no_base_and_no_dimension_is_refused():
    flow = FlowStack(["planar"], 2)
    for arguments, words in (
        (("planar",), "expected a flow"),
        ((flow, "student"), "did you mean 'student-t'"),
        ((flow, ["normal"]), "expected one of standard-normal"),
        ((flow, "standard-normal", -1), "seed=-1"),
    ):
        with pytest.raises(ConfigError, match=words):
            FlowDensity(*arguments)
    with pytest.raises(ConfigError, match="built flow"):
        FlowDensity(flow).sample(3)

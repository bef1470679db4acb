import keras
import numpy as np
import pytest
from catalogue import gradients, to_numpy
from keras import ops
from truth import float64, normal_log_prob

from nflow_cli.errors import ConfigError
from nflow_cli.flows.sampling import GaussianSampling

DIM = 3
PRIORS = [(0.0, 1.0), (0.7, 1.6), (-2.0, 0.25)]
RNG = np.random.default_rng(0)
MEAN, LOG_VARIANCE = 1.5 * RNG.standard_normal((5, DIM)), RNG.standard_normal((5, DIM))
NOISE = RNG.standard_normal((4, 5, DIM))

every_prior = pytest.mark.parametrize(("prior_mean", "prior_std"), PRIORS)


def tensor(array, dtype="float32"):
    return ops.convert_to_tensor(array.astype(dtype))


def exact(function, *arrays):
    """Run a function of tensors on float64 arrays; return an array."""
    return to_numpy(function(*(tensor(array, "float64") for array in arrays)))


@float64()
def test_given_noise_is_scaled_and_shifted():
    layer = GaussianSampling(dtype="float64")
    z = exact(lambda m, v, noise: layer([m, v], noise), MEAN, LOG_VARIANCE, NOISE)
    np.testing.assert_allclose(z, MEAN + np.sqrt(np.exp(LOG_VARIANCE)) * NOISE, 1e-14)


@float64()
def test_log_prob_is_the_log_density_of_the_gaussian():
    z = MEAN + np.exp(LOG_VARIANCE / 2) * NOISE
    got = exact(GaussianSampling(dtype="float64").log_prob, z, MEAN, LOG_VARIANCE)
    for i in range(5):
        expected = normal_log_prob(z[:, i], MEAN[i], np.diag(np.exp(LOG_VARIANCE[i])))
        np.testing.assert_allclose(got[:, i], expected, 1e-13)


@every_prior
@float64()
def test_prior_log_prob_is_the_log_density_of_the_prior(prior_mean, prior_std):
    got = exact(GaussianSampling(prior_mean, prior_std, dtype="float64").prior_log_prob, NOISE)
    covariance = prior_std**2 * np.eye(DIM)
    expected = normal_log_prob(NOISE, np.full(DIM, prior_mean), covariance)
    np.testing.assert_allclose(got, expected, 1e-13)


@every_prior
@float64()
def test_the_kl_is_that_of_the_quadrature(prior_mean, prior_std):
    layer = GaussianSampling(prior_mean, prior_std, dtype="float64")
    got = exact(layer.kl_divergence, MEAN, LOG_VARIANCE)
    e, step = np.linspace(-12, 12, 4_001, retstep=True)
    z = MEAN[..., None] + np.exp(LOG_VARIANCE / 2)[..., None] * e

    def log_density(mean, variance):
        return -0.5 * ((z - mean) ** 2 / variance + np.log(2 * np.pi * variance))

    gap = log_density(MEAN[..., None], np.exp(LOG_VARIANCE)[..., None])
    gap = gap - log_density(prior_mean, prior_std**2)
    weights = step * np.exp(-0.5 * e**2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(got, np.sum(gap @ weights, axis=-1), 1e-10)
    itself = np.full((1, DIM), prior_mean), np.full((1, DIM), np.log(prior_std**2))
    kl = exact(layer.kl_divergence, *itself)
    np.testing.assert_allclose(kl, 0, atol=1e-15)


def test_own_draws_have_the_moments_asked_for():
    n = 20_000
    mean, log_variance = (np.broadcast_to(a[0], (n, DIM)) for a in (MEAN, LOG_VARIANCE))
    z = to_numpy(GaussianSampling(seed=1)([tensor(mean), tensor(log_variance)]))
    assert (z.shape, str(z.dtype)) == ((n, DIM), "float32")
    e = (z - MEAN[0]) / np.exp(LOG_VARIANCE[0] / 2)
    assert np.all(np.abs(e.mean(axis=0)) < 4 / np.sqrt(n))
    assert np.all(np.abs(e.var(axis=0) - 1) < 4 * np.sqrt(2 / n))
    assert abs(np.mean(e[:, 0] * e[:, 1])) < 4 / np.sqrt(n)


def test_a_seed_fixes_the_draws_and_every_call_draws_anew():
    inputs = [tensor(MEAN), tensor(LOG_VARIANCE)]
    one, again, other = (GaussianSampling(seed=seed) for seed in (1, 1, 2))
    first = to_numpy(one(inputs))
    np.testing.assert_array_equal(to_numpy(again(inputs)), first)
    assert np.all(to_numpy(other(inputs)) != first)
    assert np.all(to_numpy(one(inputs)) != first)
    unseeded = [to_numpy(GaussianSampling()(inputs)) for _ in range(2)]
    assert np.all(unseeded[0] != unseeded[1])


@float64()
def test_draws_and_the_kl_have_the_gradients_of_their_formulas():
    layer, noise = GaussianSampling(0.7, 1.6, dtype="float64"), NOISE[0]
    found = gradients(
        lambda m, v: ops.sum(layer([m, v], tensor(noise, "float64"))), MEAN, LOG_VARIANCE
    )
    np.testing.assert_allclose(found[0], np.ones_like(MEAN), 1e-14)
    np.testing.assert_allclose(found[1], np.exp(LOG_VARIANCE / 2) * noise / 2, 1e-13)
    found = gradients(lambda m, v: ops.sum(layer.kl_divergence(m, v)), MEAN, LOG_VARIANCE)
    np.testing.assert_allclose(found[0], (MEAN - 0.7) / 1.6**2, 1e-13)
    np.testing.assert_allclose(found[1], (np.exp(LOG_VARIANCE) / 1.6**2 - 1) / 2, 1e-13, 1e-13)


@pytest.mark.parametrize("with_noise", [True, False])
def test_a_model_loads_from_a_keras_file_with_equal_outputs(with_noise, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = [keras.Input((DIM,)) for _ in range(2 + with_noise)]
    layer = GaussianSampling(0.5, 2.0, seed=4, name="sampling")
    model = keras.Model(inputs, layer(inputs[:2], *inputs[2:]))
    assert model.output_shape == (None, DIM)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    data = [tensor(a) for a in (MEAN, LOG_VARIANCE, NOISE[0])][: len(inputs)]
    np.testing.assert_array_equal(to_numpy(again(data)), to_numpy(model(data)))
    config = layer.get_config()
    assert again.get_layer("sampling").get_config() == config
    assert config.items() >= {"prior_mean": 0.5, "prior_std": 2.0, "seed": 4}.items()


def test_the_symbolic_draws_of_one_example_have_the_axis_of_their_noise():
    inputs = [keras.KerasTensor((5, DIM)), keras.KerasTensor((5, DIM))]
    assert GaussianSampling()(inputs, keras.KerasTensor((4, 5, DIM))).shape == (4, 5, DIM)
    assert GaussianSampling()(inputs).shape == (5, DIM)


def test_what_is_no_width_no_seed_and_half_precision_are_refused_and_mixed_is_float32():
    for option, refused in {
        "prior_std": [0, -1.0, float("nan"), float("inf"), "2", None],
        "seed": [-1, 1.5, True, "a", 2**32],
        "dtype": ["float16", "bfloat16"],
    }.items():
        for value in refused:
            with pytest.raises(ConfigError, match=rf"Received: .*{option}="):
                GaussianSampling(**{option: value})
    half = [tensor(MEAN, "float16"), tensor(LOG_VARIANCE, "float16")]
    drawn = GaussianSampling(seed=1, dtype="mixed_float16")(half)
    assert str(to_numpy(drawn).dtype) == "float32"


def test_densities_of_numbers_in_half_precision_are_computed_in_float32():
    half = [ops.convert_to_tensor(array.astype("float16")) for array in (NOISE, MEAN, LOG_VARIANCE)]
    exactly, layer = [ops.cast(tensor, "float32") for tensor in half], GaussianSampling()
    for got, expected in (
        (layer.log_prob(*half), layer.log_prob(*exactly)),
        (layer.prior_log_prob(half[0]), layer.prior_log_prob(exactly[0])),
        (layer.kl_divergence(*half[1:]), layer.kl_divergence(*exactly[1:])),
    ):
        np.testing.assert_array_equal(to_numpy(got), to_numpy(expected))

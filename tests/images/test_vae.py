"""A variational autoencoder with flows: its bound, its prior and its files."""

import subprocess
import sys
from functools import cache

import keras
import numpy as np
import pytest
from keras import ops
from truth import Grid, dense_jacobian, normal_log_prob, push, to_numpy

from nflow_cli.experiments.flow_checks import Flows, as_arrays
from nflow_cli.flows.stack import FlowStack
from nflow_cli.images.vae import FlowVAE
from nflow_cli.registry import FLOWS

DIM, BATCH = 3, 6
COUPLINGS = {"pattern": ["affine-coupling"], "k": 3, "affine": "full"}
IMAGES = (np.random.default_rng(0).random((BATCH, 28, 28)) < 0.3).astype(np.uint8)
CASES = {
    "amortized": {"k": 5},
    "shared": {"k": 5, "amortized": False},
    "plain": {"k": 0},
    "maxout": {"k": 2, "network": "maxout"},
    "gated-conv": {"k": 2, "network": "gated-conv", "hidden": [12]},
    "one latent": {"k": 3, "latent_dim": 1},
    "couplings": {"k": 2, "pattern": ["spline-coupling"]},
    "flow prior": {"k": 2, "prior": COUPLINGS},
}

SAVED = ("amortized", "gated-conv", "flow prior")
every_case = pytest.mark.parametrize("case", CASES)


def build(seed=0, **changes):
    own = {"latent_dim": DIM, "network": "relu", "hidden": [16], "pattern": ["planar", "radial"]}
    return FlowVAE(**{**own, **changes}, seed=seed)


@cache
def make(case):
    return build(**CASES[case])


def noise(leading=(BATCH,), dim=DIM, seed=1):
    drawn = np.random.default_rng(seed).standard_normal((*leading, dim), np.float32)
    return ops.convert_to_tensor(drawn)


def arrays(terms):
    return {name: to_numpy(value) for name, value in terms.items()}


@every_case
def test_images_and_latents_have_their_shapes_and_ranges(case):
    vae = make(case)
    latents = vae.encode(IMAGES)
    assert tuple(latents.shape) == (BATCH, vae.latent_dim)
    for pictures in (vae.decode(latents), vae.reconstruct(IMAGES), vae.sample(BATCH), vae(IMAGES)):
        pictures = to_numpy(pictures)
        assert (pictures.shape, str(pictures.dtype)) == ((BATCH, 28, 28), "float32")
        assert pictures.min() >= 0 and pictures.max() <= 1 and np.ptp(pictures) > 0


def test_flat_grey_and_binary_images_are_taken_alike():
    vae, drawn = make("amortized"), noise()
    expected = arrays(vae.elbo_terms(IMAGES, drawn))
    for images in (IMAGES.reshape(BATCH, 784), IMAGES.astype(np.float32), IMAGES.astype(float)):
        for name, value in arrays(vae.elbo_terms(images, drawn)).items():
            np.testing.assert_array_equal(value, expected[name])


def test_seeds_fix_every_draw_and_the_initial_values_bit_for_bit():
    vae = make("amortized")
    for draw in (
        lambda seed: vae.encode(IMAGES, seed),
        lambda seed: vae.reconstruct(IMAGES, seed),
        lambda seed: vae.sample(4, seed),
    ):
        np.testing.assert_array_equal(to_numpy(draw(5)), to_numpy(draw(5)))
        assert np.any(to_numpy(draw(5)) != to_numpy(draw(6)))
    for case in ("amortized", "maxout"):
        one, again, other = (build(seed, **CASES[case]).get_weights() for seed in (0, 0, 1))
        assert [w.tobytes() for w in one] == [w.tobytes() for w in again]
        changed = [np.any(a != b) for a, b in zip(one, other) if np.any(a)]
        assert changed and all(changed)  # biases start at 0 whatever the seed


def test_the_bound_is_written_out_in_numpy():
    vae, drawn = make("shared"), noise((4, BATCH))
    terms = arrays(vae.elbo_terms(IMAGES, drawn))
    mean, log_variance, _ = (
        to_numpy(t).astype(float) for t in vae.encoder(IMAGES.reshape(-1, 784))
    )
    z0 = mean + np.exp(log_variance / 2) * to_numpy(drawn)
    z, log_det = push(vae.flow, z0)
    logits = to_numpy(vae.decode_logits(ops.convert_to_tensor(z.astype(np.float32)))).astype(float)
    p = 1 / (1 + np.exp(-logits))
    x = IMAGES.reshape(BATCH, 784)
    variances = [np.diag(np.exp(one)) for one in log_variance]
    log_q0 = [normal_log_prob(z0[:, i], mean[i], variances[i]) for i in range(BATCH)]
    log_q0 = np.stack(log_q0, axis=1)
    expected = {
        "z0": z0,
        "z": z,
        "log_q0": log_q0,
        "log_det": log_det,
        "log_likelihood": np.sum(np.where(x, np.log(p), np.log1p(-p)), axis=-1),
        "kl": log_q0 - log_det - normal_log_prob(z, np.zeros(DIM), np.eye(DIM)),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, 1e-4, 1e-4, err_msg=name)
    assert terms["kl"].shape == terms["log_likelihood"].shape == (4, BATCH)


def test_draws_are_computed_each_as_if_alone():
    vae, drawn = make("amortized"), noise((2, BATCH))
    together = arrays(vae.elbo_terms(IMAGES, drawn))
    for s in range(2):
        for name, value in arrays(vae.elbo_terms(IMAGES, drawn[s])).items():
            whole = together[name] if name in ("mean", "log_variance") else together[name][s]
            np.testing.assert_allclose(value, whole, 1e-4, 1e-4, err_msg=name)


def test_without_flows_the_bound_agrees_with_the_analytic_kl():
    vae, draws = make("plain"), 4_000
    terms = arrays(vae.elbo_terms(IMAGES, noise((draws, BATCH))))
    mean, log_variance = (terms[name].astype(float) for name in ("mean", "log_variance"))
    kl = 0.5 * np.sum(np.exp(log_variance) + mean**2 - 1 - log_variance, axis=-1)
    error = terms["kl"].std(axis=0) / np.sqrt(draws)
    assert np.all(np.abs(terms["kl"].mean(axis=0) - kl) < 4 * error)
    # The reconstruction of other draws: the two bounds have only their expectation in common.
    other = arrays(vae.elbo_terms(IMAGES, noise((draws, BATCH), seed=2)))["log_likelihood"]
    bound = terms["log_likelihood"] - terms["kl"]
    error = np.hypot(bound.std(axis=0), other.std(axis=0)) / np.sqrt(draws)
    assert np.all(np.abs(bound.mean(axis=0) - (other.mean(axis=0) - kl)) < 4 * error)
    np.testing.assert_array_equal(terms["z"], terms["z0"])
    assert not np.any(terms["log_det"])


def set_to_identity(flow):
    """Set every flow to the identity: u = ln(e - 1) w / |w|^2 (planar), beta = alpha (radial)."""
    for slopes in getattr(flow, "slopes", []):
        for slope in slopes.values():
            slope.assign(np.zeros(slope.shape, np.float32))
    planar, radial = flow.parameters
    w = to_numpy(planar["w"].value).astype(float)
    u = np.log(np.e - 1) * w / np.sum(w**2, axis=-1, keepdims=True)
    planar["u"].assign(u.astype(np.float32))
    radial["beta"].assign(to_numpy(radial["alpha"].value))


@pytest.mark.parametrize("case", ["amortized", "shared"])
def test_identity_flows_change_nothing(case):
    vae, plain, drawn = build(**CASES[case]), build(k=0), noise()
    set_to_identity(vae.flow)
    terms = arrays(vae.elbo_terms(IMAGES, drawn))
    expected = arrays(plain.elbo_terms(IMAGES, drawn))  # of the same seed: the same networks
    np.testing.assert_allclose(terms["z"], expected["z"], 0, 1e-5)
    np.testing.assert_allclose(terms["log_det"], 0, atol=1e-5)
    for name in ("log_likelihood", "kl"):
        np.testing.assert_allclose(terms[name], expected[name], 1e-5, 1e-4)


def test_amortized_flows_differ_between_images_and_shared_ones_do_not():
    for case, differs in (("amortized", True), ("shared", False)):
        vae = make(case)
        z0 = ops.zeros((BATCH, DIM))
        context = vae.encoder(IMAGES.reshape(-1, 784).astype(np.float32))[2]
        z = to_numpy(vae.flow(z0, context)[0] if differs else vae.flow(z0)[0])
        assert np.all(np.ptp(z, axis=0) > 0) == differs
    assert type(make("shared").flow) is FlowStack


@pytest.mark.parametrize("case", ["amortized", "couplings", "flow prior"])
def test_gradients_of_the_bound_reach_every_weight(case):
    vae, drawn = make(case), noise()
    import tensorflow as tf

    with tf.GradientTape() as tape:
        terms = vae.elbo_terms(IMAGES, drawn)
        loss = ops.mean(terms["kl"] - terms["log_likelihood"])
    variables = vae.trainable_variables
    for variable, slope in zip(variables, tape.gradient(loss, [v.value for v in variables])):
        slope = to_numpy(slope)
        assert np.all(np.isfinite(slope)) and np.any(slope), variable.path


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=() if c in SAVED else pytest.mark.slow) for c in CASES]
)
def test_a_saved_model_loads_with_equal_outputs(case, tmp_path):
    vae = build(**CASES[case])
    for weight in vae.weights:
        weight.assign(to_numpy(weight.value) + 0.01)
    keras.saving.save_model(vae, tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_config() == vae.get_config()
    drawn = noise(dim=vae.latent_dim)
    expected = arrays(vae.elbo_terms(IMAGES, drawn))
    for name, value in arrays(again.elbo_terms(IMAGES, drawn)).items():
        np.testing.assert_array_equal(value, expected[name])
    np.testing.assert_array_equal(to_numpy(again.sample(3)), to_numpy(vae.sample(3)))


@pytest.mark.slow
def test_a_fresh_process_loads_a_model_after_one_import(tmp_path):
    vae = build(k=3)
    keras.saving.save_model(vae, tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    code = (
        "import keras, numpy as np, nflow_cli.images.vae\n"
        "vae = keras.saving.load_model('model.keras')\n"
        "z = keras.ops.convert_to_numpy(vae.encode(np.load('images.npy'), 3))\n"
        "np.save('latents.npy', z)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    expected = to_numpy(vae.encode(IMAGES, 3))
    np.testing.assert_array_equal(np.load(tmp_path / "latents.npy"), expected)


@pytest.mark.parametrize(
    ("name", "amortized"),
    [
        *(("planar", True), ("spline-coupling", False)),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in FLOWS if name != "planar"),
        pytest.param("planar", False, marks=pytest.mark.slow),
    ],
)
def test_any_flow_bends_a_posterior_as_its_log_determinant_says(name, amortized):
    vae, drawn = build(pattern=[name], k=2, amortized=amortized), noise((2, BATCH))
    terms = arrays(vae.elbo_terms(IMAGES, drawn))
    assert all(np.all(np.isfinite(value)) for value in terms.values())
    back, log_det = vae.flow.inverse_and_log_det(terms["z"], vae.encoded(IMAGES)[2])
    np.testing.assert_allclose(to_numpy(back), terms["z0"], 1e-4, 1e-4)
    np.testing.assert_allclose(-to_numpy(log_det), terms["log_det"], 1e-4, 1e-4)


def moved(vae, spread=0.7):
    """Move the weights of the prior away from their start, but for its orders."""
    rng = np.random.default_rng(0)
    for weight in vae.prior.trainable_weights:
        size = spread / np.sqrt(weight.shape[-1])
        weight.assign(to_numpy(weight.value) + size * rng.standard_normal(weight.shape))
    return vae


def test_a_prior_of_flows_is_n_0_i_pushed_through_them():
    prior = {"pattern": ["planar", "radial"], "k": 4, "affine": None}
    vae = moved(build(k=0, prior=prior))
    base = to_numpy(noise((4, BATCH)))
    z, log_det = push(vae.prior, base)
    drawn = to_numpy(vae.prior_latents(base.reshape(-1, DIM))).reshape(z.shape)
    np.testing.assert_allclose(drawn, z, 1e-4, 1e-4)
    expected = normal_log_prob(base, np.zeros(DIM), np.eye(DIM)) - log_det
    got = to_numpy(vae.log_prior(ops.convert_to_tensor(z.astype("float32"))))
    np.testing.assert_allclose(got, expected, 1e-4, 1e-3)
    terms = arrays(vae.elbo_terms(IMAGES, noise()))
    kl = terms["log_q0"] - to_numpy(vae.log_prior(terms["z"]))
    np.testing.assert_allclose(terms["kl"], kl, 1e-5, 1e-5)


def test_the_log_density_of_a_prior_is_that_of_a_dense_jacobian():
    vae = moved(build(k=0, prior=COUPLINGS))
    flows = Flows(as_arrays(vae.prior.composition()), None)  # in float64
    z = to_numpy(noise())

    def to_base(points):
        return flows.run(points, inverse=True)[0]

    _, log_det = np.linalg.slogdet(dense_jacobian(to_base, z))
    expected = normal_log_prob(to_base(z), np.zeros(DIM), np.eye(DIM)) + log_det
    np.testing.assert_allclose(to_numpy(vae.log_prior(z)), expected, 1e-4, 1e-4)
    assert np.max(np.abs(expected - normal_log_prob(z, np.zeros(DIM), np.eye(DIM)))) > 1


def test_a_prior_has_mass_1():
    vae, grid = moved(build(k=0, latent_dim=2, prior=COUPLINGS), 0.2), Grid(15, 400)
    log_p = to_numpy(vae.log_prior(ops.convert_to_tensor(grid.points.astype("float32"))))
    assert grid.integral(np.exp(log_p)) == pytest.approx(1, abs=2e-3)
    assert np.max(np.abs(log_p - normal_log_prob(grid.points))) > 1


def test_a_vae_starts_as_without_its_prior():
    plain, affine = build(k=2), build(k=2, prior={**COUPLINGS, "k": 0})
    drawn = noise((4, BATCH))
    expected = arrays(plain.elbo_terms(IMAGES, drawn))  # of the same seed: the same networks
    for name, value in arrays(affine.elbo_terms(IMAGES, drawn)).items():
        np.testing.assert_allclose(value, expected[name], 1e-5, 1e-5)
    coupled = arrays(build(k=2, prior=COUPLINGS).elbo_terms(IMAGES, drawn))
    np.testing.assert_allclose(coupled["kl"], expected["kl"], atol=0.2)
    # The flows of the prior start unlike those of the posterior.
    vae = build(pattern=["affine-coupling"], k=3, amortized=False, prior=COUPLINGS)
    (posterior,), (prior,) = vae.flow.parameters, vae.prior.parameters
    kernel, other = (to_numpy(stack["kernel_0"].value) for stack in (posterior, prior))
    assert kernel.shape == other.shape and np.all(kernel != other)


def test_the_config_is_complete():
    vae = build(seed=9, k=4, amortized=False, network="maxout", prior=COUPLINGS, name="it")
    config = vae.get_config()
    again = FlowVAE.from_config(config)
    assert again.get_config() == config
    assert config["k"] == 4 and config["amortized"] is False and config["seed"] == 9
    assert config["prior"] == COUPLINGS and "prior" not in make("plain").get_config()
    for one, other in zip(vae.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_parameters_are_counted():
    encoder = 784 * 16 + 16 + 2 * (16 * DIM + DIM)
    decoder = DIM * 16 + 16 + 16 * 784 + 784
    # Per flow of D latents 2D + 1 numbers (planar) or D + 2 (radial), and H slopes for each.
    flows = 3 * 7 + 2 * 5
    for case, count in (("plain", 0), ("shared", flows), ("amortized", flows * 17)):
        assert make(case).count_params() == encoder + decoder + count

"""What a variational autoencoder is judged by and drawn from, against closed forms."""

import numpy as np
import pytest
from keras import ops
from truth import Grid, normal_log_prob, to_numpy

from nflow_cli.images import vae_scoring
from nflow_cli.images.image_figures import vae_figures
from nflow_cli.images.vae import FlowVAE
from nflow_cli.images.vae_scoring import (
    BATCH,
    DRAWS,
    ImportanceSampler,
    estimate_arrays,
    estimates_of,
    scores_of,
    vae_arrays,
)
from nflow_cli.random_streams import stream

BLOCK = DRAWS["relu"]
N, S = BATCH + 50, 2 * BLOCK + 23  # neither is a multiple of what is computed at a time


class LinearGaussian:
    """``x = W z + noise``, whose evidence is known, with a posterior that is not the exact one."""

    network, xla, latent_dim = "relu", True, 2
    loading = np.array([[1.0, 0.2], [-0.4, 0.8], [0.3, 0.6], [0.7, -0.5]])
    noise_variance = 0.5
    variance = np.array([0.4, 0.5])  # of q: somewhat wider than the exact one, and axis-aligned

    @property
    def exact_covariance(self):
        return np.linalg.inv(np.eye(2) + self.loading.T @ self.loading / self.noise_variance)

    @property
    def gain(self):
        return self.exact_covariance @ self.loading.T / self.noise_variance

    def means(self, x):
        """Return the mean of the exact posterior, and that of q, which is off."""
        exact = x @ self.gain.T
        return exact, 0.9 * exact + 0.1

    def evidence(self, x):
        covariance = self.loading @ self.loading.T + self.noise_variance * np.eye(4)
        return normal_log_prob(x, np.zeros(4), covariance)

    def elbo_terms(self, images, noise):
        x = ops.cast(images, "float32")
        mean = 0.9 * (x @ self.gain.T.astype("float32")) + 0.1
        z = mean + np.sqrt(self.variance).astype("float32") * noise
        off = ops.expand_dims(x, 0) - z @ self.loading.T.astype("float32")
        log_2pi = np.log(2 * np.pi)
        log_q = -0.5 * ops.sum(noise**2 + (np.log(self.variance) + log_2pi).astype("float32"), -1)
        log_p = -0.5 * ops.sum(z**2 + log_2pi, -1)
        scale = 4 * np.log(2 * np.pi * self.noise_variance)
        likelihood = -0.5 * (ops.sum(off**2, -1) / self.noise_variance + scale)
        return {"log_likelihood": likelihood, "kl": log_q - log_p, "z": z}

    def draw(self, n, seed=0):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((n, 2)) @ self.loading.T
        return (x + np.sqrt(self.noise_variance) * rng.standard_normal((n, 4))).astype("float32")

    def squared_ratio(self, x):
        """Return ``E_q[(p(z|x) / q(z))^2]``, a Gaussian integral: 1 + S Var[estimate] / p(x)^2."""
        exact, wide = np.linalg.inv(self.exact_covariance), np.diag(1 / self.variance)
        both = 2 * exact - wide
        m1, m2 = self.means(x)
        h = 2 * m1 @ exact - m2 @ wide

        def form(m, precision):
            return np.einsum("ni,ij,nj->n", m, precision, m)

        exponent = form(h, np.linalg.inv(both)) - 2 * form(m1, exact) + form(m2, wide)
        log_dets = [np.linalg.slogdet(matrix)[1] for matrix in (exact, wide, both)]
        return np.exp(log_dets[0] - 0.5 * (log_dets[1] + log_dets[2]) + 0.5 * exponent)


MODEL = LinearGaussian()
X = MODEL.draw(N)


@pytest.fixture(scope="module")
def sampler():
    return ImportanceSampler(MODEL, S, 7)


@pytest.fixture(scope="module")
def found(sampler):
    return sampler.over(X)


def test_the_bound_is_that_of_the_closed_form(found):
    exact, mean = MODEL.means(X.astype(float))
    precision = np.linalg.inv(MODEL.exact_covariance)
    spread = np.trace(precision @ np.diag(MODEL.variance)) - 2
    off = np.einsum("ni,ij,nj->n", mean - exact, precision, mean - exact)
    log_dets = -np.linalg.slogdet(precision)[1] - np.sum(np.log(MODEL.variance))
    gap = 0.5 * (spread + off + log_dets)  # KL(q || exact posterior)
    assert np.all(gap > 0)
    bound = -found["reconstruction"] - found["kl"]
    difference = bound - (MODEL.evidence(X) - gap)
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(N)
    kl = 0.5 * np.sum(MODEL.variance + mean**2 - 1 - np.log(MODEL.variance), axis=1)
    difference = found["kl"] - kl
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(N)


def test_the_bound_is_below_the_estimate_and_the_estimate_below_the_evidence(found):
    bound = -found["reconstruction"] - found["kl"]
    assert np.all(bound <= found["log_evidence"])
    difference = found["log_evidence"] - MODEL.evidence(X)
    assert difference.mean() <= 4 * difference.std() / np.sqrt(N)


@pytest.mark.parametrize("draws", [S, pytest.param(1500, marks=pytest.mark.slow)])
def test_the_estimate_comes_as_near_the_evidence_as_its_draws_allow(draws):
    x = MODEL.draw(2 * BATCH, seed=1)
    found = ImportanceSampler(MODEL, draws, 3).over(x)
    difference = found["log_evidence"] - MODEL.evidence(x)
    variance = (MODEL.squared_ratio(x.astype(float)) - 1) / draws
    assert np.all(variance > 0)
    squared = difference**2 / variance
    assert abs(squared.mean() - 1) < 4 * squared.std() / np.sqrt(len(x))
    # log p(x) is underestimated by half the variance, to first order.
    bias = difference + variance / 2
    assert abs(bias.mean()) < 4 * bias.std() / np.sqrt(len(x))


def noise_of(seed, start, draws):
    rng, blocks = stream(seed, "importance-sampling", start), -(-draws // min(draws, BLOCK))
    shape = (min(draws, BLOCK), BATCH, MODEL.latent_dim)
    drawn = [rng.standard_normal(shape, np.float32) for _ in range(blocks)]
    return np.concatenate(drawn)[:draws]


def test_blocks_and_batches_sum_up_to_what_all_at_once_gives(found):
    for start in (0, BATCH):
        x = X[start : start + BATCH]
        drawn = MODEL.elbo_terms(x, noise_of(7, start, S)[:, : len(x)])
        likelihood, kl, z = (
            to_numpy(drawn[n]).astype(float) for n in ("log_likelihood", "kl", "z")
        )
        expected = {
            "reconstruction": -likelihood.mean(0),
            "kl": kl.mean(0),
            "log_evidence": np.log(np.mean(np.exp(likelihood - kl), axis=0)),
            "mean_latent": z.mean(0),
            "latent_variance": z.var(0, ddof=1),
        }
        for name, value in expected.items():
            got = found[name][start : start + BATCH]
            np.testing.assert_allclose(got, value, 1e-5, 1e-5, err_msg=name)


def test_images_do_not_depend_on_those_around_them(sampler, found):
    for count in (1, 30, BATCH, BATCH + 1):
        for name, values in sampler.over(X[:count]).items():
            assert len(values) == count
            np.testing.assert_array_equal(values, found[name][:count])
    x = np.full((1, 4), 40.0, "float32")  # so far away that exp of it is 0
    away = sampler.over(x)
    assert MODEL.evidence(x)[0] < -800
    assert -away["reconstruction"] - away["kl"] <= away["log_evidence"] < 0


def test_the_figures_are_means_over_images_with_their_error(found):
    estimates = estimates_of(MODEL, X, S, 7)
    figures = scores_of(estimates, S)
    assert figures["negative_elbo"] == pytest.approx(figures["reconstruction"] + figures["kl"])
    key = "negative_log_likelihood"
    nll, error = figures[key], figures[f"{key}_standard_error"]
    assert nll == pytest.approx(-found["log_evidence"].mean())
    assert error == pytest.approx(found["log_evidence"].std(ddof=1) / np.sqrt(N))
    assert nll < figures["negative_elbo"]
    assert (figures["nll_samples"], figures["active_units"]) == (S, 2)
    np.testing.assert_equal(estimates, found)
    kept = estimate_arrays(estimates)  # which is small, and gives the same figures
    assert scores_of(kept, S) == figures
    assert sum(array.nbytes for array in kept.values()) == N * (3 * 8 + 2 * 2 * 4)
    np.testing.assert_allclose(kept["mean_latent"], found["mean_latent"], 1e-6)


def test_progress_is_told_of_each_batch(sampler):
    told = []
    sampler.over(X[: BATCH + 1], told.append)
    assert told == [BATCH, 1]


class Units:
    """Latents ``N(m(x), 1)`` whose means have known variances over images."""

    network, xla, latent_dim = "relu", True, 4
    deviations = np.sqrt(np.array([1.0, 0.0, 0.03, 0.002], "float32"))

    def elbo_terms(self, images, noise):
        z = ops.cast(images, "float32") * self.deviations + noise
        zero = ops.sum(0 * z, axis=-1)
        return {"log_likelihood": zero, "kl": zero, "z": z}


@pytest.mark.parametrize("draws", [20, 60])
def test_a_unit_is_active_where_its_posterior_mean_varies(draws):
    # Means of a few draws vary by 1 / draws even where the posterior is the prior.
    x = np.random.default_rng(0).standard_normal((1500, 4)).astype("float32")
    assert scores_of(estimates_of(Units(), x, draws, 0), draws)["active_units"] == 2
    figures = scores_of(estimates_of(MODEL, X[:1], 1, 0), 1)  # of one draw of one image
    assert figures["active_units"] is figures["negative_log_likelihood_standard_error"] is None
    assert figures["negative_log_likelihood"] == pytest.approx(figures["negative_elbo"])


def two_latents():
    """Return a VAE of two latents whose prior is not N(0, I)."""
    flows = {"pattern": ["affine-coupling"], "k": 2, "affine": "full"}
    vae = FlowVAE(2, "relu", [16], ["planar"], 2, prior=flows)
    rng = np.random.default_rng(4)
    for weight in vae.prior.trainable_weights:
        size = 0.2 / np.sqrt(weight.shape[-1])
        weight.assign(to_numpy(weight.value) + size * rng.standard_normal(weight.shape))
    return vae


@pytest.mark.slow
def test_the_likelihood_under_a_prior_of_flows_is_that_of_quadrature():
    vae, x, draws = two_latents(), IMAGES[:3], 600
    mean, log_variance = (vae.encoder.get_layer(name) for name in ("mean", "log_variance"))
    for layer in (mean, log_variance):  # a posterior that is wide, as weights of small spread need
        layer.kernel.assign(0 * layer.kernel)
    log_variance.bias.assign([0.7, 0.7])
    vae.prior.last["shift"].assign([1.0, -1.0])
    grid = Grid(10, 250)
    z = grid.points.reshape(-1, 2).astype("float32")
    logits = to_numpy(vae.decode_logits(ops.convert_to_tensor(z))).astype(float)
    log_p = x.reshape(3, -1) @ logits.T - np.logaddexp(0, logits).sum(-1)
    most = log_p.max(axis=1)

    def evidence_under(log_prior):
        values = np.exp(log_p - most[:, None] + log_prior).reshape(3, 250, 250)
        return most + np.log([grid.integral(value) for value in values])

    evidence = evidence_under(to_numpy(vae.log_prior(ops.convert_to_tensor(z))))
    found = ImportanceSampler(vae, draws, 0).over(x)["log_evidence"]
    noise = np.random.default_rng(5).standard_normal((draws, 3, 2), np.float32)
    terms = vae.elbo_terms(x, ops.convert_to_tensor(noise))
    weights = to_numpy(terms["log_likelihood"]) - to_numpy(terms["kl"])
    weights = np.exp(weights - weights.max(axis=0))
    error = weights.std(axis=0) / weights.mean(axis=0) / np.sqrt(draws)
    assert np.all(np.abs(found - evidence) < 4 * error + 1e-3)
    assert np.all(np.abs(evidence_under(normal_log_prob(z)) - evidence) > 4 * error)


def test_the_arrays_show_the_prior_of_flows():
    vae = two_latents()
    arrays = vae_arrays(vae, IMAGES[:50], LABELS[:50], np.ones((50, 2)), 5)
    draws = arrays["prior_latents"]
    base, _ = vae.prior.inverse_and_log_det(ops.convert_to_tensor(draws))
    assert draws.shape == (5_000, 2)
    assert np.all(np.abs(to_numpy(base).mean(0)) < 4 / np.sqrt(5_000))
    np.testing.assert_allclose(np.cov(to_numpy(base).T), np.eye(2), atol=0.1)
    axis = arrays["manifold_axis"]
    z, _ = vae.prior.forward_and_log_det(np.array([[axis[3], axis[11]]]))
    picture = to_numpy(vae.decode(z))[0]
    np.testing.assert_allclose(arrays["manifold"][11, 3], picture, 1e-4, 1e-5)


LABELS = np.random.default_rng(0).permutation(np.arange(700) % 10).astype(np.uint8)
IMAGES = (np.random.default_rng(1).random((700, 28, 28)) < 0.2).astype(np.uint8)
SUMMARY = {
    "flow": "planar",
    "k": 2,
    "amortized": True,
    "negative_elbo": 96.5,
    "reconstruction": 71.25,
    "kl": 25.25,
    "negative_log_likelihood": 92.34,
    "negative_log_likelihood_standard_error": None,
    "nll_samples": 5,
    "binarization": "static",
    "data": {"name": "mnist"},
}


def arrays_of(latent_dim, n=700, labels=True):
    vae = FlowVAE(latent_dim, "relu", [16], ["planar"], 2)
    mean_latent = np.random.default_rng(2).standard_normal((n, latent_dim))
    mean_latent *= 1 + np.arange(latent_dim) % 3
    given = LABELS[:n] if labels else None
    return vae, vae_arrays(vae, IMAGES[:n], given, mean_latent, 5)


@pytest.mark.parametrize(("latent_dim", "axes"), [(2, [0, 1]), (7, [2, 5])])
def test_the_arrays_are_what_the_pictures_are_drawn_from(latent_dim, axes):
    vae, arrays = arrays_of(latent_dim)
    assert {name: array.shape for name, array in arrays.items()} == {
        **{"base_latents": (700, 2), "latents": (700, 2), "latent_axes": (2,), "labels": (700,)},
        **{"originals": (10, 28, 28), "reconstructions": (10, 28, 28), "samples": (64, 28, 28)},
        **{"manifold": (20, 20, 28, 28), "manifold_axis": (20,)},
    }
    assert list(arrays["latent_axes"]) == axes
    np.testing.assert_array_equal(arrays["labels"], LABELS)
    for index in range(10):
        first = np.flatnonzero(index == LABELS)[0]
        np.testing.assert_array_equal(arrays["originals"][index], IMAGES[first])
    for name in ("reconstructions", "samples", "manifold"):
        assert 0 <= arrays[name].min() < arrays[name].max() <= 1
    at = np.zeros((1, latent_dim), np.float32)
    at[0, axes[0]] = arrays["manifold_axis"][3]
    at[0, axes[1]] = arrays["manifold_axis"][11]
    picture = to_numpy(vae.decode(at))[0]
    np.testing.assert_allclose(arrays["manifold"][11, 3], picture, 1e-4, 1e-5)
    metrics = {name: np.ones(2) for name in ("negative_elbo", "reconstruction", "kl", "beta")}
    metrics["epoch"] = np.array([1.0, 2.0])
    figures = vae_figures(arrays, metrics, SUMMARY | {"latent_dim": latent_dim})
    assert list(figures) == ["latent", "reconstructions", "samples", "manifold", "training"]


def test_a_sorted_file_shows_all_its_digits(monkeypatch):
    monkeypatch.setattr(vae_scoring, "SHOWN_LATENTS", 100)
    vae = FlowVAE(2, "relu", [16], ["planar"], 2)
    order = np.argsort(LABELS, kind="stable")
    latent = np.random.default_rng(2).standard_normal((len(order), 2))
    arrays = vae_arrays(vae, IMAGES[order], LABELS[order], latent, 5)
    assert set(arrays["labels"]) == set(range(10))
    assert arrays["latents"].shape == (100, 2)
    unlabelled = vae_arrays(vae, IMAGES[order], None, latent, 5)["originals"]
    shown = {tuple(image.ravel()) for image in unlabelled.astype(IMAGES.dtype)}
    kinds = [k for image, k in zip(IMAGES, LABELS) if tuple(image.ravel()) in shown]
    assert len(set(kinds)) > 3


def test_the_latents_are_one_draw_of_the_posterior_for_each_image():
    vae, arrays = arrays_of(2)
    mean, log_variance, context = (
        to_numpy(t) for t in vae.encoder(IMAGES.reshape(-1, 784).astype("float32"))
    )
    e = (arrays["base_latents"] - mean) / np.exp(log_variance / 2)
    assert np.all(np.abs(e.mean(0)) < 4 / np.sqrt(700))
    assert np.all(np.abs(e.var(0) - 1) < 4 * np.sqrt(2 / 700))
    assert len(np.unique(e[:, 0])) == 700
    pushed = to_numpy(vae.flow(arrays["base_latents"], context)[0])
    np.testing.assert_allclose(arrays["latents"], pushed, 1e-4, 1e-5)


def test_few_images_without_labels_are_shown_as_they_come():
    _, arrays = arrays_of(2, n=4, labels=False)
    assert arrays["labels"].shape == (0,)
    np.testing.assert_array_equal(arrays["originals"], IMAGES[:4])
    assert arrays["reconstructions"].shape == (4, 28, 28)
    z = np.linspace(-8, 8, 160_001)  # the manifold is at quantiles of the prior
    below = np.cumsum(np.exp(-0.5 * z**2)) / np.sum(np.exp(-0.5 * z**2))
    at = np.interp(arrays["manifold_axis"], z, below)
    np.testing.assert_allclose(at, (np.arange(20) + 0.5) / 20, 0, 1e-4)

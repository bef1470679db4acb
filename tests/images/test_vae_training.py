"""Variational autoencoders: the training of a run from its loss to its files."""

import json
import math
from dataclasses import replace
from functools import cache
from itertools import pairwise
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops
from running import arrays_of, with_rows
from short_runs import fitted
from truth import normal_log_prob, to_numpy

from nflow_cli.backend.programs import compiled
from nflow_cli.config import presets
from nflow_cli.config.flows import IN_TURN
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.run_report import draw
from nflow_cli.images import vae_training as images_fit
from nflow_cli.images.image_chunks import ImageChunks
from nflow_cli.images.images import binarize, load_images
from nflow_cli.images.vae import FlowVAE
from nflow_cli.images.vae_scoring import ImportanceSampler, estimates_of, scores_of
from nflow_cli.registry import FLOWS
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.trainer import learning_rate

N_TRAIN, N_TEST = 120, 60
TRAIN = {"epochs": 2, "batch_size": 40, "chunk": 2, "warm_up": {"share": 0.5}}


@cache
def images():
    sample = load_images("mnist-sample")
    few = {"x_train": sample.x_train[:N_TRAIN], "y_train": sample.y_train[:N_TRAIN]}
    return replace(sample, **few, x_test=sample.x_test[:N_TEST], y_test=sample.y_test[:N_TEST])


def preset(train=None, **changes):
    data = {
        "command": "train-vae",
        "data": {"name": "mnist-sample"},
        "model": {"latent_dim": 2, "hidden": [16]},
        "flow": {"pattern": ["planar"], "k": 2},
        "train": TRAIN | (train or {}),
        "evaluate": {"importance_samples": 5},
    }
    return presets.validate(data | changes, "test")


def fit(settings, data=None):
    """Build and train; return the model, its rows of metrics and what is told of the training."""
    training, held_out = images_fit.split(data or images(), settings)
    chunks = ImageChunks(training, settings)
    model = images_fit.build(settings, chunks.batches)
    training, rows = with_rows(
        lambda directory: images_fit.fit(model, chunks, held_out, settings, directory)
    )
    return model, rows, training


@pytest.fixture(scope="module")
def trained():
    return fit(preset())


def batch_of(n=8, seed=0):
    pixels = binarize(images().x_train[:n], "threshold", 0, 0, "train").reshape(n, 784)
    noise = np.random.default_rng(seed).standard_normal((n, 2), np.float32)
    return ops.convert_to_tensor(pixels), ops.convert_to_tensor(noise)


PRIOR = {"pattern": ["affine-coupling"], "k": 2, "affine": "full"}


def untrained(kind="kl", updates=10, start=0.1, prior=None):
    vae = FlowVAE(2, "relu", [16], ["planar", "radial"], 2, prior=prior)
    return images_fit.FitVAE(vae, kind, updates, start)


@pytest.mark.parametrize("prior", [None, PRIOR], ids=["N(0, I)", "flows"])
@pytest.mark.parametrize("kind", ["kl", "log-joint"])
def test_each_warm_up_follows_its_formula(kind, prior):
    model, batch = untrained(kind, prior=prior), batch_of()
    drawn = {name: to_numpy(value) for name, value in model.vae.elbo_terms(*batch).items()}
    log_q = np.mean(drawn["log_q0"] - drawn["log_det"])
    log_prior = np.mean(normal_log_prob(drawn["z"]))
    if prior:
        log_prior = np.mean(to_numpy(model.vae.log_prior(drawn["z"])))
    log_likelihood = np.mean(drawn["log_likelihood"])
    for update in (0, 4, 10, 99):
        beta = min(1.0, 0.1 + 0.9 * update / 10)
        expected = {
            "kl": -log_likelihood + beta * (log_q - log_prior),
            "log-joint": log_q - beta * (log_likelihood + log_prior),
        }[kind]
        terms = {name: float(value) for name, value in model.objective(batch, update).items()}
        assert terms["loss"] == pytest.approx(expected, rel=1e-5)
        assert terms["beta"] == pytest.approx(beta, rel=1e-6)
        assert terms["reconstruction"] == pytest.approx(-log_likelihood, rel=1e-6)
        assert terms["kl"] == pytest.approx(log_q - log_prior, rel=1e-4)
        elbo = log_likelihood + log_prior - log_q
        assert terms["negative_elbo"] == pytest.approx(-elbo, rel=1e-6)


@pytest.mark.parametrize("kind", ["kl", "log-joint"])
def test_the_gradient_is_that_of_differences_of_the_loss(kind):
    import tensorflow as tf

    model, batch = untrained(kind), batch_of()
    for network in (model.vae.encoder, model.vae.decoder):
        first = next(layer for layer in network.layers if layer.weights)
        # Half of the rectifiers on and half off, all of them far from their kinks.
        first.bias.assign(np.where(np.arange(16) % 2, 3.0, -3.0))
    for name in ("mean", "log_variance"):  # and latents where the flows bend
        kernel = model.vae.encoder.get_layer(name).kernel
        kernel.assign(0.1 * to_numpy(kernel.value))
    variables = model.trainable_variables
    loss_of = compiled(lambda: model.objective(batch, 4)["loss"], xla=False)
    with tf.GradientTape() as tape:
        loss = model.objective(batch, 4)["loss"]
    gradients = tape.gradient(loss, [v.value for v in variables])
    for variable, slope in zip(variables, map(to_numpy, gradients)):
        start, size = to_numpy(variable.value).copy(), float(np.sqrt(np.sum(slope**2)))
        assert size > 0, variable.path

        def along(t, variable=variable, start=start, slope=slope, size=size):
            variable.assign(start + t * slope / size)
            return float(loss_of())

        # The loss, a few hundred, is rounded to some 5e-5: a step changes it by about 0.05.
        step = min(0.05 / size, 0.02)
        near, far = along(step) - along(-step), along(2 * step) - along(-2 * step)
        variable.assign(start)
        rounding = 2e-4 / step
        assert (8 * near - far) / (12 * step) == pytest.approx(size, 2e-3, rounding), variable.path


def test_training_is_a_plain_loop_over_the_chunks(trained):
    import tensorflow as tf

    settings = preset()
    chunks = ImageChunks(images().x_train, settings)
    assert (chunks.batches, chunks.chunks_per_epoch) == (3, 2)
    model = images_fit.build(settings, chunks.batches)
    optimizer, history = keras.optimizers.Adam(learning_rate(settings.train, 6)), []
    for index in range(len(chunks)):
        (pixels, noise), count = chunks[index]
        for i in range(count[0]):
            with tf.GradientTape() as tape:
                terms = model.objective((pixels[i], noise[i]), len(history))
            gradients = tape.gradient(terms["loss"], [v.value for v in model.trainable_variables])
            optimizer.apply(gradients, model.trainable_variables)
            history.append({name: float(value) for name, value in terms.items()})
    assert [terms["beta"] for terms in history] == pytest.approx([0.01, 0.34, 0.67, 1, 1, 1])
    for row, part in zip(trained[1], (history[:3], history[3:]), strict=True):
        for name in images_fit.FitVAE.terms:
            expected = np.mean([terms[name] for terms in part])
            assert row[name] == pytest.approx(expected, rel=1e-4), name
    _, rows, training = trained
    assert [(row["epoch"], row["update"]) for row in rows] == [(1, 3), (2, 6)]
    assert (rows[-1]["beta"], training["epochs"]) == (1, 2)
    assert rows[-1]["loss"] == pytest.approx(rows[-1]["negative_elbo"])
    assert rows[-1]["learning_rate"] == pytest.approx(0, abs=1e-9)
    assert rows[-1]["negative_elbo"] < rows[0]["negative_elbo"]


def test_another_seed_starts_elsewhere():
    one, again, other = (
        images_fit.build(preset(seed=seed), 3).trainable_variables for seed in (0, 0, 1)
    )
    for a, b, c in zip(one, again, other):
        a, b, c = (to_numpy(v.value) for v in (a, b, c))
        np.testing.assert_array_equal(a, b)
        assert not np.any(a) or np.all(a != c)


def is_trained(settings):
    """Train for an epoch by compiled updates; return whether the bound is one of a training."""
    model, rows, _ = fit(settings)
    assert all(np.isfinite(to_numpy(v.value)).all() for v in model.trainable_variables)
    return 0 < rows[-1]["negative_elbo"] < 1.1 * 784 * math.log(2)


@pytest.mark.slow
@pytest.mark.parametrize("prior", [None, PRIOR], ids=["N(0, I)", "flows"])
@pytest.mark.parametrize("name", [name for name in FLOWS if name not in IN_TURN["forward"]])
def test_any_flow_of_one_pass_is_trained_as_a_posterior_beside_any_prior(name, prior):
    assert is_trained(preset({"epochs": 1}, flow={"pattern": [name], "k": 2}, prior=prior))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FLOWS if name not in IN_TURN["inverse"]])
def test_any_flow_whose_inverse_is_one_pass_is_trained_as_a_prior(name):
    assert is_trained(preset({"epochs": 1}, flow={"k": 0}, prior={"pattern": [name], "k": 2}))


@pytest.mark.slow
def test_convolutions_are_trained_between_two_stacks_of_couplings():
    networks = {"latent_dim": 4, "network": "gated-conv", "hidden": [16]}
    flow = {"pattern": ["affine-coupling"], "k": 2}
    assert is_trained(preset({"epochs": 1}, model=networks, flow=flow, prior=PRIOR))


@pytest.mark.slow
def test_a_prior_of_flows_beats_n_0_i_where_the_latents_are_of_four_kinds():
    rng, flips = np.random.default_rng(0), 0.02
    kinds = rng.random((4, 28, 28)) < 0.5

    def draw(n):
        flipped = rng.random((n, 28, 28)) < flips
        return 255 * (kinds[np.arange(n) % 4] ^ flipped).astype(np.uint8)

    toy = replace(images(), x_train=draw(1600), y_train=None, x_test=draw(400), y_test=None)
    scores = []
    for prior in (None, {"k": 4}):
        settings = preset(
            {"epochs": 15, "batch_size": 80, "chunk": 20, "learning_rate": 0.005, "warm_up": {}},
            data={"name": "mnist-sample", "binarization": "threshold"},
            model={"latent_dim": 2, "hidden": [32]},
            flow={"k": 0},
            prior=prior,
        )
        model, _, _ = fit(settings, toy)
        estimates = estimates_of(model.vae, toy.x_test // 255, 20, 0)
        scores.append(scores_of(estimates, 20)["negative_elbo"])
    entropy = math.log(4) - 784 * (flips * math.log(flips) + (1 - flips) * math.log(1 - flips))
    assert entropy - 1 < scores[1] < scores[0] - 2  # of an image 1, of the bound 7 nats


def test_early_stopping_ends_with_the_weights_of_the_best_validation():
    # A start that is slow and then, under a rate that falls to 0, ever slower.
    settings = preset(
        {
            "early_stopping": {"patience": 1, "images": 40, "min_delta": 5.0},
            **{"warm_up": {}, "epochs": 12, "batch_size": 16, "learning_rate": 0.1},
        },
        flow={"k": 0},
    )
    model, rows, training = fit(settings)
    bounds = [row["validation_negative_elbo"] for row in rows]
    falls = [before - after for before, after in pairwise(bounds)]
    assert training["epochs"] == len(rows) < 12
    assert training["best_epoch"] == 1 + int(np.argmin(bounds))
    assert all(fall > 5 for fall in falls[:-1]) and falls[-1] <= 5
    pixels = binarize(images_fit.split(images(), settings)[1], "stochastic", 0, 1, "test")
    found = ImportanceSampler(model.vae, 1, 0).over(pixels)
    kept = np.mean(found["reconstruction"] + found["kl"])
    assert kept == pytest.approx(min(bounds), rel=1e-6)
    assert kept != pytest.approx(bounds[0], rel=1e-6)


def test_the_validation_images_are_of_all_kinds_and_are_not_trained_on():
    number = np.arange(N_TRAIN, dtype=np.uint16)[:, None, None] * np.ones((1, 28, 28), np.uint16)
    numbered = replace(images(), x_train=number)
    training, held_out = images_fit.split(numbered, preset({"early_stopping": {"images": 40}}))
    assert held_out is not None
    both = np.concatenate([training, held_out])[:, 0, 0]
    np.testing.assert_array_equal(np.sort(both), np.arange(N_TRAIN))
    assert len(held_out) == 40
    assert 0.3 < np.mean(held_out) / N_TRAIN < 0.7  # a file may be sorted
    everything, nothing = images_fit.split(images(), preset())
    assert nothing is None and len(everything) == N_TRAIN


class Weights:
    """Stands in for a model whose one weight is the number of its epoch."""

    cooled = None

    def __init__(self):
        self.stop_training, self.weights = False, 0

    def get_weights(self):
        return [self.weights]

    def set_weights(self, weights):
        (self.weights,) = weights


def watch(bounds, betas=None, patience=2, min_delta=0.0):
    """Feed validation bounds, one an epoch; return the epoch it stopped at, and that restored."""
    rows, left = [], iter(bounds)
    clock = SimpleNamespace(updates=[0], seconds=[], chunk_updates=1)
    stopping = SimpleNamespace(patience=patience, min_delta=min_delta)
    log = images_fit.EpochLog(clock, 1, lambda: next(left), stopping)
    model = Weights()
    log.add_row = rows.append
    log.model = model
    for epoch in range(1, len(bounds) + 1):
        model.weights = epoch
        clock.updates.append(epoch)
        clock.seconds.append(1.0)
        beta = betas[epoch - 1] if betas else 1.0
        log.after({**LOGS, "beta": beta})
        if model.stop_training:
            break
    log.take_best(model)
    logged = [row["validation_negative_elbo"] for row in rows]
    np.testing.assert_array_equal(logged, bounds[: len(rows)])
    return len(rows), model.weights


LOGS = {"loss": 1.0, "beta": 1.0, "learning_rate": 0.1, "gradient_norm": 1.0}


def test_early_stopping_counts_epochs_without_a_better_bound():
    for bounds, stopped, restored in [
        ([9.0, 8.0, 8.5, 8.1, 7.0], 4, 2),  # two epochs without anything better
        ([9.0, 8.0, 8.5, 7.0, 6.0], 5, 5),
        ([9.0, 8.0, 8.5], 3, 2),  # the end came first
        ([math.nan, math.nan, 8.0], 2, 2),  # nothing was ever good: the last weights stay
        ([9.0, math.nan, 8.0, 9.0], 4, 3),
        ([math.inf, math.inf, 8.0], 2, 2),
    ]:
        assert watch(bounds) == (stopped, restored)
    # A fall below min_delta is none, but the weights of the best one are kept.
    assert watch([9.0, 8.9, 8.8, 8.7], min_delta=0.15) == (4, 4)
    assert watch([9.0, 8.9, 8.85, 8.7], min_delta=0.16) == (3, 3)
    assert watch([9.0, 8.9, 8.95, 8.7], min_delta=0.16) == (3, 2)
    # While beta < 1 the bound may be better than it will ever be again; that is not kept.
    bounds, betas = [5.0, 6.0, 7.0, 7.5, 7.2, 7.3, 7.4], [0.1, 0.5, 0.9, 1.0, 1.0, 1.0, 1.0]
    assert watch(bounds, betas) == (7, 5)


def test_the_row_of_a_divergence_has_the_columns_of_the_others():
    rows, clock = [], SimpleNamespace(updates=[0, 1], seconds=[1.0], chunk_updates=1)
    stopping = SimpleNamespace(patience=1, min_delta=0.0)
    log = images_fit.EpochLog(clock, 1, lambda: 5.0, stopping)
    log.add_row = rows.append
    log.model = Weights()
    log.after(LOGS)
    log.after({**LOGS, "loss": math.nan})
    assert list(rows[0]) == list(rows[1])
    assert [row["epoch"] for row in rows] == [1, 2]
    assert math.isnan(rows[1]["validation_negative_elbo"])


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory):
    """Run what is least: no flows, one latent, one epoch of one batch, nothing labelled."""
    folder = RunDirectory.create("test", str(tmp_path_factory.mktemp("runs") / "run"))
    settings = preset(
        {"epochs": 1, "batch_size": N_TRAIN},
        model={"latent_dim": 2, "hidden": [16]},
        flow={"k": 0},
    )
    folder.write_text("config.yaml", presets.dump(settings))
    unlabelled = replace(images(), y_train=None, y_test=None)
    with folder.recorded({"command": "train-vae"}):
        return folder, fitted(settings, folder, unlabelled).facts


def test_the_summary_tells_everything_promised_of_it(plain_run):
    folder, summary = plain_run
    promised = (
        "flow k amortized seed epochs reconstruction kl negative_elbo negative_log_likelihood "
        "negative_log_likelihood_standard_error nll_samples binarization data compile_seconds "
        "seconds_per_epoch"
    )
    assert set(promised.split()) <= set(summary)
    assert json.loads((folder.path / "summary.json").read_text()) == summary
    assert summary["data"] == {
        "name": "mnist-sample",
        "sha256": images().sha256,
        "n_train": N_TRAIN,
        "n_test": N_TEST,
    }
    assert summary["negative_elbo"] == pytest.approx(summary["reconstruction"] + summary["kl"])
    assert (summary["k"], summary["epochs"], summary["nll_samples"]) == (0, 1, 5)
    encoder, decoder = 784 * 16 + 16 + 2 * (2 * 16 + 2), 2 * 16 + 16 + 16 * 784 + 784
    assert summary["n_parameters"] == encoder + decoder
    vae = keras.saving.load_model(folder.path / "model.keras")
    pixels = binarize(images().x_test, "stochastic", 0, 0, "test")
    found = ImportanceSampler(vae, 5, 0).over(pixels)
    assert np.mean(found["kl"]) == pytest.approx(summary["kl"], rel=1e-6)
    assert -np.mean(found["log_evidence"]) == pytest.approx(summary["negative_log_likelihood"])


def test_a_run_without_labels_is_drawn_and_has_one_row_an_epoch(plain_run):
    folder, _ = plain_run
    names = ["latent", "reconstructions", "samples", "manifold", "training"]
    assert [path.name for path in draw(Run(folder), dpi=20)] == [f"{name}.png" for name in names]
    assert arrays_of(folder)["labels"].shape == (0,)
    metrics = folder.read_metrics()
    assert len(metrics["epoch"]) == 1 and "validation_negative_elbo" not in metrics
    names = {"epoch", "update", "loss", "negative_elbo", "reconstruction", "kl", "beta"}
    assert names <= set(metrics)

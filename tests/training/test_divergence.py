import re

import keras
import numpy as np
import pytest
from keras import ops
from loops import NOISE, Bend, fit, settings
from stacks import Formula, density_of
from truth import to_numpy

from nflow_cli.config import presets
from nflow_cli.densities.targets import Multimodal
from nflow_cli.errors import DivergenceError
from nflow_cli.experiments.density_2d import fit as target_fit
from nflow_cli.experiments.images import fit as images_fit
from nflow_cli.experiments.table import fit as table_fit
from nflow_cli.flows import FlowStack
from nflow_cli.flows.side_by_side import SideBySide
from nflow_cli.runs.checkpoints import Checkpoints
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.chunks import ImageChunks
from nflow_cli.training.divergence import first_fault
from nflow_cli.training.trainer import ChunkTrainer, learning_rate


class LogOf(Bend):
    """Diverges: the weights soon leave the domain of the logarithm."""

    def objective(self, batch, update):
        loss = ops.sum(ops.log(self.bend)) + 0 * ops.mean(batch)
        return {"loss": loss, "kl": loss, "beta": ops.ones(())}


class RootAtZero(Bend):
    """Its loss is finite, and its gradient is not."""

    def objective(self, batch, update):
        loss = ops.sum(ops.sqrt(self.bend - 1.0)) + 0 * ops.mean(batch)
        return {"loss": loss, "kl": loss, "beta": ops.ones(())}


class Slope(Bend):
    """Falls by the given heights, one after the other: the loss of update i is ``heights[i]``."""

    def __init__(self, heights):
        super().__init__()
        self.heights = np.array(heights, "float32")

    def objective(self, batch, update):
        loss = ops.take(self.heights, update) + 0 * ops.sum(self.bend)
        return {"loss": loss, "kl": loss, "beta": ops.ones(())}


def last_finite_update(model, train):
    """Return how many updates have a finite loss, and the last norm, in a loop of no program."""
    import tensorflow as tf

    optimizer, norm = keras.optimizers.Adam(learning_rate(train, train.steps)), None
    for made in range(train.steps):
        with tf.GradientTape() as tape:
            loss = model.objective(NOISE[made], made)["loss"]
        if not np.isfinite(float(loss)):
            return made, norm
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        norm = np.sqrt(sum(np.sum(to_numpy(g) ** 2) for g in gradients))
        optimizer.apply(gradients, model.trainable_variables)
    raise AssertionError


# Weights kept before every chunk: the chunk that fails may be the only one that is run again.
@pytest.mark.parametrize(
    ("chunk", "keep_seconds"),
    [
        pytest.param(1, 0.0, marks=pytest.mark.slow),
        pytest.param(1, 60.0, marks=pytest.mark.slow),
        (3, 60.0),
        (5, 0.0),
        pytest.param(23, 60.0, marks=pytest.mark.slow),
    ],
)
def test_the_update_and_the_gradient_before_it_are_told(monkeypatch, chunk, keep_seconds):
    monkeypatch.setattr("nflow_cli.training.divergence.KEEP_SECONDS", keep_seconds)
    train = settings(learning_rate=0.15)
    made, norm = last_finite_update(LogOf(), train)
    assert made > 3
    found = f"training diverged at update {made + 1}: the term loss is nan; gradient norm before: "
    with pytest.raises(DivergenceError) as error:
        fit(LogOf(), chunk, train)
    assert str(error.value).startswith(found)
    told = float(str(error.value).removeprefix(found).split(",")[0])
    # 1 / bend at a bend of about 0.02 carries the rounding of ten updates (lr = 0.15) 50-fold.
    assert told == pytest.approx(norm, rel=0.02)
    assert "learning rate" in str(error.value)
    assert "try a smaller train.learning_rate" in str(error.value)


def test_a_gradient_that_is_not_finite_is_named():
    message = "at update 1: the gradient of .*bend is (nan|inf); learning rate"
    with pytest.raises(DivergenceError, match=message):
        fit(RootAtZero(), 1, settings(steps=1), noise=NOISE[:1])


def test_losses_whose_sum_overflows_are_told_from_one_that_does():
    with pytest.raises(DivergenceError, match="at update 4: the loss, or the norm of its grad"):
        fit(Slope([1.0, 2e38, 1e38, 3e38]), 4, settings(steps=4), noise=NOISE[:4])
    with pytest.raises(DivergenceError, match="at update 3: the term loss is inf"):
        fit(Slope([1.0, 2e38, np.inf, 3e38]), 4, settings(steps=4), noise=NOISE[:4])


def test_what_does_not_happen_again_is_told_of_the_whole_chunk(monkeypatch):
    fine = {"loss": 0.0, "gradient_norm": 1.0}
    of_training = iter([ChunkTrainer.chunk_program])

    def chunk_program(self):
        return next(of_training, lambda self: lambda data: fine)(self)

    monkeypatch.setattr(ChunkTrainer, "chunk_program", chunk_program)
    with pytest.raises(DivergenceError, match="diverged by update 23: loss nan"):
        fit(LogOf(), 23, settings(learning_rate=0.15))


def fit_2d(flow, target):
    """Build a fit without training it."""
    train = presets.validate({"command": "fit-2d"}, "test").train
    model = target_fit.Fit2D(density_of(flow), target, train.annealed)
    model.prepare(train, train.steps)
    return model


BATCH = np.random.default_rng(0).standard_normal((2, 8)).astype("float32")
HOLE = Formula(lambda z: ops.log(z[..., 0] + 100.0))


def test_a_hole_in_the_target_is_told_from_a_flow_that_overflows():
    stack = FlowStack(["planar", "radial"], 3, seed=0)
    model = fit_2d(stack, HOLE)
    weights = stack.parameters[0]["u"]
    start = to_numpy(weights.value)
    weights.assign(start + np.array([[0.0], [-1e4]]))
    assert re.match("the log-density of the target is nan", first_fault(model, BATCH))
    weights.assign(start + np.array([[0.0], [np.inf]]))
    assert re.match(
        r"the output of flow 3 of 3 \(planar\) is (nan|inf|-inf)", first_fault(model, BATCH)
    )
    stack.parameters[1]["beta"].assign([np.nan])
    assert re.match(r"the output of flow 2 of 3 \(radial\) is nan", first_fault(model, BATCH))


def test_a_fit_to_points_is_taken_apart_from_the_last_flow_to_the_first():
    stack = FlowStack(["planar", "radial"], 3, seed=0)
    model = table_fit.FitPoints(density_of(stack), 0.0)
    model.prepare(presets.validate({"command": "fit-2d"}, "test").train, 1)
    stack.parameters[1]["center"].assign([[np.nan, 0.0]])
    assert first_fault(model, BATCH) == "the input of flow 2 of 3 (radial) is nan"
    stack.parameters[0]["b"].assign([np.nan, np.nan])
    assert first_fault(model, BATCH) == "the input of flow 3 of 3 (planar) is nan"


def test_of_restarts_the_one_that_lived_longest_is_looked_at():
    stack = SideBySide(["planar"], 2, [0, 1, 2])
    model = fit_2d(stack, HOLE)
    model.restarts = (3,)
    batch = np.stack([BATCH] * 3)
    u = to_numpy(stack.parameters[0]["u"].value).copy()
    u[2, 1, 0] -= 500.0  # the third ends behind the hole of the target
    u[:2, 0] = np.nan  # the others were lost in the first flow
    stack.parameters[0]["u"].assign(u)
    assert re.match("the log-density of the target is nan", first_fault(model, batch))
    u[2, 0] = np.nan
    stack.parameters[0]["u"].assign(u)
    assert re.match("the output of flow 1 of 2", first_fault(model, batch))


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_diverged_fit_keeps_its_last_good_checkpoint(tmp_path, times):
    run = RunDirectory.create("test", str(tmp_path / "run"))
    train = {"steps": 500, "batch_size": 16, "chunk": 10, "checkpoint_seconds": 1e-6}
    flow = {"pattern": ["planar"], "k": 1}
    settings = presets.validate({"command": "fit-2d", "flow": flow, "train": train}, "test")

    def train_on():
        model = target_fit.build(settings)
        # A density until a sample goes too far.
        model.target = Formula(lambda z: Multimodal().log_prob(z) + ops.log(3.3 - z[..., 0]))
        with pytest.raises(DivergenceError, match="the log-density of the target is nan") as error:
            target_fit.train(model, settings, run)
        return str(error.value)

    message = train_on()
    update = int(re.search(r"at update (\d+):", message)[1])
    assert update > 10
    saved = Checkpoints(run).load()
    assert saved.arrays["variable/3"] == 10 * ((update - 1) // 10)  # the count of updates
    assert all(np.isfinite(array).all() for array in saved.arrays.values())
    losses = run.read_metrics()["loss"]
    assert np.isfinite(losses[:-1]).all()
    assert np.isnan(losses[-1])
    for _ in range(times - 1):  # what goes on from the checkpoint comes to the same end
        assert train_on() == message


def vae(prior=None, **train):
    from nflow_cli.data.images import load_images

    data = {
        "command": "train-vae",
        "data": {"name": "mnist-sample"},
        "model": {"latent_dim": 2, "hidden": [16]},
        "flow": {"pattern": ["planar"], "k": 2},
        "prior": prior,
        "train": {"epochs": 1, "batch_size": 40, "chunk": 4, **train},
    }
    resolved = presets.validate(data, "test")
    return resolved, ImageChunks(load_images("mnist-sample").x_train[:400], resolved)


@pytest.mark.slow
def test_a_learning_rate_of_a_thousand_is_survived():
    resolved, chunks = vae(learning_rate=1e3)
    model = images_fit.build(resolved, chunks.batches)
    images_fit.train(model, chunks, None, resolved)
    # The log-variance is bounded and no log-determinant overflows: what it learns is no good.
    assert all(np.isfinite(to_numpy(v.value)).all() for v in model.weights)


@pytest.mark.slow
def test_a_learning_rate_of_a_hundred_thousand_ends_in_a_message():
    resolved, chunks = vae(learning_rate=1e5)
    model = images_fit.build(resolved, chunks.batches)
    message = r"diverged at update 2: .* is too large for a float32; gradient norm before: \d+\.\d+"
    with pytest.raises(DivergenceError, match=message):
        images_fit.train(model, chunks, None, resolved)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda vae: vae.encoder.weights[0], "the encoder's mean"),
        (lambda vae: vae.flow.parameters[0]["u"], "the output of flow 1 of 2 (planar)"),
        (
            lambda vae: vae.prior.parameters[0]["bias_0"],
            "the input of flow 2 of 2 (affine-coupling) of the prior",
        ),
        (lambda vae: vae.decoder.weights[0], "the decoder's logit"),
    ],
)
def test_the_first_part_of_a_vae_that_is_not_finite_is_named(spoil, fault):
    resolved, chunks = vae(prior={"k": 2})
    model = images_fit.build(resolved, chunks.batches)
    variable = spoil(model.vae)
    variable.assign(np.full(variable.shape, np.nan))
    batch = keras.tree.map_structure(lambda array: array[0], chunks[0][0])
    assert first_fault(model, batch) == f"{fault} is nan"

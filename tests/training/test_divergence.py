import re

import numpy as np
import pytest
from keras import ops
from loops import NOISE, Bend, fit, settings
from stacks import Formula, built
from truth import to_numpy

from nflow_cli.config import presets
from nflow_cli.errors import DivergenceError
from nflow_cli.images import vae_training as images_fit
from nflow_cli.images.image_chunks import ImageChunks
from nflow_cli.inference import reverse_kl_training as target_fit
from nflow_cli.inference.targets import Multimodal
from nflow_cli.runs.checkpoints import Checkpoints
from nflow_cli.runs.directory import RunDirectory


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
        loss = ops.take(self.heights, update) + ops.sum(self.bend**2)
        return {"loss": loss, "kl": loss, "beta": ops.ones(())}


@pytest.mark.parametrize("chunk", [1, 4])
def test_the_update_the_loss_and_the_gradient_before_are_told(chunk):
    """The gradient of Σ bend² is 2 √2 0.97 at bends of 1 that Adam moved three times by 0.01."""
    heights = [1.0] * 4 + [np.inf] * 4
    with pytest.raises(DivergenceError) as error:
        fit(Slope(heights), chunk, settings(steps=8, learning_rate=0.01), noise=NOISE[:8])
    told = re.fullmatch(
        rf"training diverged by update {4 + chunk}: loss (\S+), learning rate \S+, gradient norm "
        r"before (\S+); try a smaller train.learning_rate or train.clip_norm",
        str(error.value),
    )
    assert (told[1], float(told[2])) == ("inf", pytest.approx(2 * np.sqrt(2) * 0.97, rel=5e-3))


def test_a_gradient_that_is_not_finite_ends_the_training():
    """A first chunk has learnt nothing: the target or the data may be at fault."""
    message = "by update 1: loss 0, learning rate .*; check the target or the data, or try"
    with pytest.raises(DivergenceError, match=message):
        fit(RootAtZero(), 1, settings(steps=1), noise=NOISE[:1])


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_diverged_fit_keeps_its_last_good_checkpoint(tmp_path, times):
    run = RunDirectory.create("test", str(tmp_path / "run"))
    train = {"steps": 500, "batch_size": 16, "chunk": 10, "checkpoint_seconds": 1e-6}
    flow = {"pattern": ["planar"], "k": 1}
    settings = presets.validate({"command": "fit-2d", "flow": flow, "train": train}, "test")

    def train_on():
        model = built(settings)
        # A density until a sample goes too far.
        model.target = Formula(lambda z: Multimodal().log_prob(z) + ops.log(3.3 - z[..., 0]))
        with pytest.raises(DivergenceError, match="loss nan") as error:
            target_fit.search(model, settings, run)
        return str(error.value)

    message = train_on()
    update = int(re.search(r"by update (\d+):", message)[1])
    assert update > 10
    saved = Checkpoints(run).load()
    assert saved.arrays["variable/3"] == update - 10  # the count of updates
    assert all(np.isfinite(array).all() for array in saved.arrays.values())
    losses = run.read_metrics()["loss"]
    assert np.isfinite(losses[:-1]).all()
    assert np.isnan(losses[-1])
    for _ in range(times - 1):  # what goes on from the checkpoint comes to the same end
        assert train_on().split(",")[0] == message.split(",")[0]


def vae(prior=None, **train):
    from nflow_cli.images.images import load_images

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
    images_fit.fit(model, chunks, None, resolved)
    # The log-variance is bounded and no log-determinant overflows: what it learns is no good.
    assert all(np.isfinite(to_numpy(v.value)).all() for v in model.weights)


@pytest.mark.slow
def test_a_learning_rate_of_a_hundred_thousand_ends_in_a_message():
    resolved, chunks = vae(learning_rate=1e5)
    model = images_fit.build(resolved, chunks.batches)
    message = r"diverged by update \d+: loss \S+, learning rate \S+"
    with pytest.raises(DivergenceError, match=message):
        images_fit.fit(model, chunks, None, resolved)

"""When a fit to a density ends early, by losses that are means of draws, and how it cools down."""

from types import SimpleNamespace

import numpy as np
import pytest
from truth import to_numpy

from nflow_cli.training.stopping import Plateau
from nflow_cli.training.trainer import Cooled, learning_rate

MADE = 10  # updates of a chunk
WORDS = {"patience": 50, "min_delta": 0.01, "cool_down": 30, "start": 0}


class Follower:
    """A training that only has losses: feeds them, and knows what the rate is told."""

    def __init__(self, **words):
        self.clock, self.cooled_from = SimpleNamespace(updates=[0], chunk_updates=MADE), None
        self.plateau = Plateau(clock=self.clock, **WORDS | words)
        cooled = SimpleNamespace(cool=lambda update, length: setattr(self, "cooled_from", update))
        self.model = SimpleNamespace(stop_training=False, cooled=cooled)
        self.plateau.model = self.model
        self.plateau.begin()

    def stopped_at(self, losses):
        """Return the update at which the training ends, or ``None``."""
        for loss in losses:
            self.clock.updates.append(self.clock.updates[-1] + MADE)
            self.plateau.after({"loss": loss})
            if self.model.stop_training:
                return self.clock.updates[-1]
        return None


def test_a_loss_that_falls_no_more_ends_a_training_after_two_windows_and_the_cooling():
    follower = Follower()
    assert follower.stopped_at([1.0] * 50) == 2 * 50 + 30
    assert follower.cooled_from == 100
    # Nothing counts before the objective and the gradient are the last ones.
    assert Follower(start=200).stopped_at([1.0] * 80) == 200 + 2 * 50 + 30


def test_what_counts_is_the_fall_in_a_window():
    for fall, ends in ((0.012, False), (0.005, True)):
        losses = 5 - fall * np.arange(400) * MADE / 50
        assert (Follower(min_delta=0.01).stopped_at(losses) is not None) == ends
    losses = 5 - 0.02 * np.arange(200.0)
    losses[100] = 1e6  # one chunk far away
    assert Follower().stopped_at(losses) is None


def test_a_fall_that_noise_hides_is_taken_for_none_hardly_ever():
    """It is as large as counts: two standard errors leave 2.3 %, a few more by so few chunks."""
    rng, ended = np.random.default_rng(0), 0
    for _ in range(2_000):
        losses = np.repeat([0.01, 0.0], 5) + 0.003 * rng.standard_normal(10)
        ended += Follower(cool_down=MADE).stopped_at([*losses, 0.0]) is not None
    assert 0.01 < ended / 2_000 < 0.06


def test_noise_that_says_nothing_ends_no_training():
    noise = np.random.default_rng(1).standard_normal(300)
    assert Follower().stopped_at(1 + 0.05 * noise) is None
    assert Follower().stopped_at(1 + 0.0005 * noise) is not None


def test_a_training_that_goes_on_from_a_checkpoint_ends_as_one_that_was_not_stopped():
    losses = [1.0] * 50
    for chunks in (4, 11):  # in the windows, and while it cools
        first, then = Follower(), Follower()
        assert first.stopped_at(losses[:chunks]) is None
        then.clock.updates[:] = first.clock.updates
        then.plateau.restore(first.plateau.state())
        then.plateau.begin()
        assert then.cooled_from == first.cooled_from
        assert then.stopped_at(losses[chunks:]) == 130


def test_an_extended_training_is_warm_again():
    follower = Follower()
    follower.stopped_at([1.0] * 50)
    follower.plateau.restart_patience()
    follower.plateau.begin()
    follower.model.stop_training = False
    assert follower.cooled_from is None
    assert follower.stopped_at([1.0] * 50) == 130 + 130


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_rate_is_as_it_was_and_then_falls_to_0(schedule):
    train = SimpleNamespace(learning_rate=0.25, schedule=schedule, early_stopping=None)
    plain = learning_rate(train, 400)
    train.early_stopping = SimpleNamespace(cools=True)
    cooled = learning_rate(train, 400)
    assert isinstance(cooled, Cooled)
    before = [plain(step) if callable(plain) else plain for step in range(400)]
    np.testing.assert_allclose([to_numpy(cooled(step)) for step in range(400)], before, 1e-6)
    for length, end in ((100, 300), (500, 400)):  # there are 400 updates
        cooled.cool(200, length)
        steps = np.array([0, 199, 200, 250, end - 1, end, 400])
        parts = np.clip((steps - 200) / (end - 200), 0, 1)
        expected = np.take(before, np.minimum(steps, 200)) * np.cos(np.pi / 2 * parts) ** 2
        rates = [to_numpy(cooled(step)) for step in steps]
        np.testing.assert_allclose(rates, expected, rtol=1e-3, atol=1e-8)

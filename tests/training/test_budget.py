import numpy as np
import pytest
from keras.ops import convert_to_numpy
from loops import NOISE, UPDATES, Bend, Slices, logger, session, settings

from nflow_cli.training.budget import Cost, pace
from nflow_cli.training.trainer import Clock


@pytest.mark.parametrize(
    ("cost", "seconds", "updates"),
    [
        (Cost(0.5), 60.0, 120),
        (Cost(0.5, before=3.0, after=7.0), 60.0, 100),
        (Cost(0.5, before=3.0, after=7.0), 60.4, 100),
        (Cost(0.5, before=3.0, after=7.0), 60.5, 101),
        (Cost(40.0, after=20.0), 60.0, 20),  # one, if not for the least
        (Cost(0.5, before=30.0, after=40.0), 60.0, 20),
        (Cost(0.5), -5.0, 20),
    ],
)
def test_the_updates_that_fit_are_those_of_the_seconds_left(cost, seconds, updates):
    assert cost.updates(seconds, least=20) == updates


def test_the_updates_take_the_seconds_that_they_were_made_for():
    cost = Cost(0.5, before=3.0, after=7.0)
    assert cost.seconds(100) == 60.0
    assert cost.seconds(cost.updates(33.3)) <= 33.3 < cost.seconds(cost.updates(33.3) + 1)


def trained(model):
    log = logger([], Clock())
    with session(log, UPDATES) as open_session:
        open_session.fit(model, Slices(NOISE, 5))
    return [convert_to_numpy(v) for v in model.state_variables]


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_a_training_after_a_trial_is_that_of_its_own_length(schedule):
    train = settings(schedule=schedule)
    alone = Bend(10)
    alone.prepare(train, UPDATES)
    model = Bend(10)
    model.prepare(train, 1_000)
    found = pace(model, Slices(NOISE, 5), seconds=0.0)
    assert found.update > 0 <= found.compiling
    model.lengthen(UPDATES)
    for one, other in zip(trained(model), trained(alone), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_trial_starts_with_one_update_at_a_time(monkeypatch):
    monkeypatch.setattr(Clock, "end", lambda clock: made.append(clock.updates))
    made, model = [], Bend()
    model.prepare(settings(), UPDATES)
    pace(model, Slices(NOISE, 8), seconds=0.0)
    assert made == [[0, 1, 2]]

import numpy as np
import pytest
from keras.ops import convert_to_numpy
from loops import NOISE, UPDATES, Bend, Slices, logger, session, settings

from nflow_cli.training.budget import Cost, pace
from nflow_cli.training.trainer import Clock


@pytest.mark.parametrize(
    ("cost", "seconds", "updates"),
    [
        (Cost(0.5, 0.0), 60.0, 100),
        (Cost(0.5, 5.0), 65.4, 100),
        (Cost(0.5, 5.0), 65.5, 101),
        (Cost(40.0, 10.0), 60.0, 20),  # one, if not for the least
        (Cost(0.5, 0.0), -5.0, 20),
    ],
)
def test_the_updates_that_fit_are_those_of_the_seconds_left(cost, seconds, updates):
    assert cost.length(seconds, least=20) == updates


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
    assert found.update > 0 <= found.others
    model.lengthen(UPDATES)
    for one, other in zip(trained(model), trained(alone), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_trial_starts_with_one_update_at_a_time(monkeypatch):
    monkeypatch.setattr(Clock, "end", lambda clock: made.append(clock.updates))
    made, model = [], Bend()
    model.prepare(settings(), UPDATES)
    pace(model, Slices(NOISE, 8), seconds=0.0)
    assert made == [[0, 1, 2]]

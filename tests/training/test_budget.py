import pytest
from loops import NOISE, UPDATES, Bend, Slices, settings

from nflow_cli.training.budget import Cost, pace


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


def test_a_trial_starts_with_one_update_at_a_time():
    model = Bend()
    model.prepare(settings(), UPDATES)
    found = pace(model, Slices(NOISE, 8), seconds=0.0)
    assert found.update > 0 <= found.compiling
    assert int(model.optimizer.iterations) == 2

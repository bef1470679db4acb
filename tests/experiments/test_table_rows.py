"""What the table of scores says of a fit that is no better than what it began with."""

import json

import pytest

from nflow_cli.experiments.table import rows


@pytest.fixture
def printed(short_run):
    """Return a function that returns the table of a run with changes to its summary."""
    summary = json.loads((short_run(command="fit") / "summary.json").read_text())
    return lambda **changes: dict(rows.rows_of(summary | changes, summary["steps"], []))


@pytest.mark.parametrize("gain", [-0.5, 0.007, 0.0239])
def test_a_gain_within_two_of_its_errors_is_not_known_to_be_one(printed, gain):
    text = printed(gain=gain, gain_standard_error=0.012)["gain"]
    assert text == f"{gain:.5f} ± 0.01200 nats, paired (not known to be better than a Gaussian)"


def test_a_gain_beyond_two_of_its_errors_stands_alone(printed):
    assert printed(gain=0.0241, gain_standard_error=0.012)["gain"].endswith(" nats, paired")


UNSURE = "(not known to be better than a Gaussian)"


@pytest.mark.parametrize(("n", "factor"), [(2, 12.706), (5, 2.776), (7.9, 2.365), (10, 2.0)])
def test_few_rows_know_a_gain_by_students_t(printed, n, factor):
    error = 0.01
    for gain, is_sure in ((0.99 * factor * error, False), (1.02 * factor * error, True)):
        text = printed(gain=gain, gain_standard_error=error, n_effective=n)["gain"]
        assert text.endswith(UNSURE) is not is_sure


@pytest.mark.parametrize("facts", [{"n_effective": 1.2}, {"gain": 3e-9}])
def test_a_gain_of_one_row_and_one_of_rounding_are_not_known_to_be_gains(printed, facts):
    text = printed(**{"gain": 0.5, "gain_standard_error": 1e-9} | facts)["gain"]
    assert text.endswith(UNSURE)


def test_a_training_that_nothing_won_says_what_was_never_beaten(printed):
    training = printed(best_update=0, flow="spline-coupling + full affine")["training"]
    assert training.endswith("; best after 0: the Gaussian was never beaten on the validation rows")
    given = printed(best_update=0, flow="spline-coupling + full affine", given=["a"])["training"]
    assert "the linear regression was never beaten" in given
    assert printed(best_update=50)["training"].endswith("; best after 50")

"""Warnings about the scores of a fit to a log-density, by the figures of its summary."""

import math

import pytest

from nflow_cli.evaluation.inference import BY_Q
from nflow_cli.experiments.infer.rows import judged_rows
from nflow_cli.experiments.infer.warnings import RULES

GOOD = {
    **{"kl": None, "free_energy": 100.3, "kl_standard_error": 0.01, "n_lost": 0, "ess": 0.6},
    "free_energy_standard_error": 0.01,
    **{"estimated_log_z": -100.0, "log_z_standard_error": 0.002, "pareto_k": 0.4, "log_z": None},
    **{"q_log_z": -100.01, "q_log_z_standard_error": 0.004, "q_pareto_k": 0.6},
    **{"log_z_difference": 0.01, "log_z_difference_standard_error": 0.004},
    **{"missed_share": 1e-6, "missed_share_standard_error": 1e-7, "missed_mode": None},
    **{"log_density_step": 7.6e-6, "rounding_error": 2.2e-6},
    "moments": {"a": [1000.0, 2.0], "b": [0.0012345, 0.5]},
    "moments_standard_error": {"a": [0.021, 0.013], "b": [0.00031, 0.0002]},
}
MODE = {"missed_share": 0.3, "missed_share_standard_error": 0.004, "missed_mode": {"a": -4.0}}


@pytest.mark.parametrize(
    ("changes", "word", "said"),
    [
        ({}, None, ""),
        ({"pareto_k": 0.6}, "rough weights", "moments"),
        ({"pareto_k": 0.8}, "poor weights", "standard errors are unreliable"),
        (MODE, "missed mass", "miss at least 30% ± 0.4% of p, most of it near a=-4"),
        (MODE | {"missed_share": 0.012}, None, ""),  # within two errors of what counts
        ({"missed_share": None, "log_z_difference": 1.0}, "missed mass", "1 nats larger"),
        ({"free_energy": 180.8}, "far from p", "80.8 nats"),
        ({"kl": 80.8, "log_z": 0.0}, "far from p", "80.8 nats"),
        ({"log_density_step": 2.0, "rounding_error": 0.58}, "rounding", "before summing"),
        ({"rounding_error": 0.2}, "rounding", "a at 1000 ± 2 has steps of 6.1e-05"),
        ({"n_lost": 3}, "not finite", "3 draws"),
        ({"restarts": {"kl": [0.37, 0.57, math.nan]}}, "restarts differ", "up to 0.2 nats"),
    ],
)
def test_figures_that_say_less_than_they_seem_to_have_a_warning(changes, word, said):
    found = warnings_of(GOOD | changes)
    assert [warning.word for warning in found] == ([word] if word else [])
    assert all(said in warning.reason for warning in found)


def warnings_of(scores):
    return [warning for rule in RULES if (warning := rule(scores))]


def printed(**changes):
    scores = GOOD | changes
    return dict(judged_rows(scores, warnings_of(scores), {}))


def test_a_good_tail_of_weights_is_no_more_than_that_beside_another_warning():
    assert printed()["k-hat"] == "0.40, good: the weights have finite variance"
    assert printed()["log Z"] == "-100.00000 ± 0.00200 nats of the mass that q covers"
    assert printed(**MODE)["k-hat"] == "0.40, good, but see [missed mass]"


def test_moments_are_printed_to_two_digits_of_their_errors():
    rows = printed()
    assert rows["a"] == "1000.000 ± 0.021, sd 2.000 ± 0.013"
    assert rows["b"] == "0.00123 ± 0.00031, sd 0.50000 ± 0.00020"


def test_a_warning_of_the_weights_stands_at_log_z_alone():
    rows = printed(pareto_k=0.6)
    assert [name for name, text in rows.items() if "[rough weights]" in text] == ["log Z"]


def test_what_was_not_looked_at_far_away_is_said():
    unknown = dict.fromkeys([*BY_Q, "missed_share"])
    rows = judged_rows(GOOD | unknown, [], {})
    said = " ".join(text for name, text in rows if not name)
    assert "by draws of q alone: log p fails" in said
    assert "missed mass unknown: log p fails" in said


@pytest.mark.parametrize("away", [0.01, 0.015])
def test_log_z_by_q_alone_stands_beside_it_and_a_difference_is_said(away):
    rows = judged_rows(GOOD | {"log_z_difference": away}, [], {})
    assert ("log Z", "-100.00000 ± 0.00200 nats of the mass that q covers") in rows
    said = "-100.01000 ± 0.00400 nats by draws of q alone (k-hat 0.60, rough)"
    assert ("", said + (", 3.8 errors of the difference away" if away > 0.012 else "")) in rows


JUMP = {"log_z_difference": 1.0}


@pytest.mark.parametrize("changes", [MODE, JUMP, JUMP | {"pareto_k": 0.6}])
def test_figures_of_a_fit_that_misses_mass_are_in_doubt(changes):
    (warning,) = [w for w in warnings_of(GOOD | changes) if w.word == "missed mass"]
    assert "kl" in warning.figures and "more updates" in warning.reason
    assert ("moments" in warning.figures) == (changes != JUMP)  # by good weights they are right

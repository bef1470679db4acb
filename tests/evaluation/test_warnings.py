import json
import math
import re

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from short_runs import POINTS, SHORT, SHORT_VAE, make_run

from nflow_cli import experiments
from nflow_cli.config import presets
from nflow_cli.evaluation.warnings import words


def settings(short=SHORT, **changes):
    return presets.validate({**short, **changes}, "a test")


def marks(of, summary, key):
    return words(warnings_of(of, summary), key)


def warnings_of(of, summary):
    return experiments.of(of).warnings(summary)


@pytest.mark.parametrize(
    ("value", "word"), [(1.0, ""), (2.02, ""), (3.0, "ruined"), (None, "ruined")]
)
def test_a_fit_worse_than_its_base_is_ruined(value, word):
    facts = {"base_free_energy": 2.0, "base_free_energy_standard_error": 0.01}
    assert marks(settings(), {**facts, "free_energy": value}, "kl") == word
    of_points = settings(POINTS)
    facts = {"base_log_likelihood": -2.0, "base_log_likelihood_standard_error": 0.01}
    negated = None if value is None else -value
    assert marks(of_points, {**facts, "log_likelihood": negated}, "log_likelihood") == word


def test_a_vae_worse_than_fair_coins_is_ruined():
    assert marks(settings(SHORT_VAE), {"negative_elbo": 784 * math.log(2) + 1}, "negative_elbo")
    assert not marks(settings(SHORT_VAE), {"negative_elbo": 500.0}, "negative_elbo")
    assert marks(settings(SHORT_VAE), {"negative_elbo": math.nan}, "negative_elbo") == "ruined"


@pytest.mark.parametrize(
    ("share", "tail", "text"),
    [
        (0.05, 0.4, "one sample holds 5% of the squared weights: "),
        (
            0.01,
            0.8,
            "with 10 times as many samples one would hold 4% of the squared weights (k-hat ",
        ),
        (0.01, 400.0, "with 10 times as many samples one would hold 10%"),
    ],
)
def test_weights_of_which_few_samples_hold_most_are_told(share, tail, text):
    facts = {"ess": 0.5, "largest_weight": share, "pareto_k": tail}
    assert marks(settings(), facts, "ess") == "dominated"
    assert marks(settings(), facts, "kl") == ""
    assert warnings_of(settings(), facts)[0].reason.startswith(text)


@pytest.mark.parametrize(
    ("share", "tail"), [(0.01, 0.6), (0.029, -0.3), (3.9e-5, 1.4), (None, 2.0)]
)
def test_weights_that_are_even_are_not_marked(share, tail):
    assert marks(settings(), {"largest_weight": share, "pareto_k": tail}, "ess") == ""


MISSED = {"kl": 0.25, "ess": 0.05, "missed_share": 0.19, "missed_share_standard_error": 0.004}


@pytest.mark.parametrize(
    ("annealed", "restarts", "remedy"),
    [
        (0, 1, "--anneal 0.5 or --restarts 8"),
        (0, 8, "--anneal 0.5"),
        (0.5, 1, "--restarts 8"),
        (0.5, 8, "more flows, or train longer"),
    ],
)
def test_a_lost_mode_is_said_in_place_of_the_weights_that_it_unsettles(annealed, restarts, remedy):
    facts = {**MISSED, "largest_weight": 0.6, "restarts": {"count": restarts}}
    (warning,) = warnings_of(settings(train={"annealing": {"share": annealed}}), facts)
    assert warning.word == "missed mass" and set(warning.figures) == {"ess", "estimated_log_z"}
    text = "q has almost no mass where 19% of p lies: it misses a mode, or part of one"
    assert warning.reason == f"{text}; try {remedy}"


@pytest.mark.parametrize("missed", [{"missed_share": 0.02}, {"missed_share_standard_error": 0.04}])
def test_a_share_of_the_tails_or_of_few_draws_is_no_lost_mode(missed):
    assert marks(settings(), {**MISSED, **missed}, "ess") == ""


@pytest.mark.parametrize(
    ("mass", "error", "word"),
    [
        (0.9999, 1e-4, ""),
        (0.999, 0.225, "unresolved"),
        (0.97, 1e-4, "unresolved"),
        *[(None, None, "unresolved")],
    ],
)
def test_a_mass_that_was_not_resolved_is_told(mass, error, word):
    assert marks(settings(), {"mass": mass, "mass_error": error}, "mass") == word


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"n_effective": 2, "n_test": 2}, "a mean of 2 rows: a 95 % interval is ± 12.7 stand"),
        ({"n_effective": 1, "n": 3, "outside": 2}, "a mean of 1 row: its standard error is unkn"),
        ({"n_effective": 2.0, "n_test": 150}, "150 rows of unequal weights, with an effective sam"),
        ({"n_effective": 9, "n": 10, "n_impossible": 1}, "a mean of 9 rows: a 95 % interval is"),
        ({"n_effective": 1.0, "n": 1_000}, "size of 1.0: its standard error is unknown"),
    ],
)
def test_a_mean_of_few_rows_in_effect_is_marked(facts, text):
    of = settings(POINTS)
    assert marks(of, facts, "log_likelihood") == marks(of, facts, "gain") == "few rows"
    assert text in warnings_of(of, facts)[0].reason


@pytest.mark.parametrize("facts", [{}, {"n_test": 3}, {"n_effective": 10, "n_test": 10}])
def test_ten_rows_and_an_older_run_are_not_marked(facts):
    assert marks(settings(POINTS), facts, "log_likelihood") == ""


@pytest.mark.parametrize("n", range(2, 10))
def test_the_width_of_an_interval_is_that_of_students_t(n):
    (warning,) = warnings_of(settings(POINTS), {"n_effective": n})
    factor = float(re.search("95 % interval is ± ([0-9.]+) standard errors", warning.reason)[1])
    with mpmath.workdps(30):
        v = n - 1  # P(|t| > f) is the regularised incomplete beta of v/(v + f^2)
        beyond = [
            mpmath.betainc(v / 2, 0.5, 0, v / (v + f**2), regularized=True)
            for f in (factor - 0.05, factor + 0.05)
        ]
    assert beyond[0] > 0.05 > beyond[1]


values = st.none() | st.floats() | st.integers()
FACTS = [
    *("steps", "free_energy", "base_free_energy", "base_free_energy_standard_error", "mass"),
    *("mass_error", "largest_weight", "pareto_k", "epochs", "negative_elbo"),
    *("log_likelihood", "base_log_likelihood", "base_log_likelihood_standard_error"),
    *("n_effective", "n_test", "n_impossible", "n", "outside"),
]


@given(st.dictionaries(st.sampled_from(FACTS), values))
def test_whatever_numbers_a_summary_holds_warnings_follow(summary):
    for of in (settings(), settings(POINTS), settings(SHORT_VAE)):
        assert all(warning.reason for warning in warnings_of(of, summary))


def test_a_ruined_fit_says_so_in_its_summary(tmp_path):
    train = {"steps": 300, "chunk": 100, "batch_size": 64, "learning_rate": 1e5}
    summary = json.loads((make_run(tmp_path / "run", train=train) / "summary.json").read_text())
    ruined = next(warning for warning in summary["warnings"] if warning["word"] == "ruined")
    assert {"kl", "free_energy"} <= set(ruined["figures"])
    # KL(N(0, I) || p) of the base, by the entropy and samples of its own.
    z = np.random.default_rng(0).standard_normal((200_000, 2))
    log_p = np.logaddexp(*(-0.5 * ((z - m) ** 2).sum(axis=1) for m in (2, -2))) - math.log(2)
    expected = np.mean(-0.5 * (z**2).sum(axis=1) - log_p)
    assert abs(summary["base_free_energy"] - expected) < 0.3

import json
import math
import re

import numpy as np
from drawable_runs import SUMMARIES
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from short_runs import MIXED, POINTS, SHORT, SHORT_VAE

from nflow_cli.config import presets
from nflow_cli.evaluation.warnings import words
from nflow_cli.experiments.run import kind_of
from nflow_cli.images.vae_report import ImagesSummary
from nflow_cli.inference.reverse_kl_report import ReverseKLSummary
from nflow_cli.tables.scores.pit import Pit
from nflow_cli.tables.table_report import TableSummary


def settings(short=SHORT, **changes):
    return presets.validate({**short, **changes}, "a test")


def marks(of, summary, key):
    return words(warnings_of(of, summary), key)


def warnings_of(of, summary):
    report = kind_of(of).report
    if report.SCHEMA is ReverseKLSummary:
        summary = ReverseKLSummary(**SUMMARIES["fit-2d"] | summary)
    if report.SCHEMA is TableSummary:
        summary = TableSummary.model_construct(**{"pit": Pit(columns={}), **summary})
    return report.warnings_of(of, summary)


def test_a_fit_worse_than_its_base_or_than_fair_coins_is_ruined():
    for value, word in [(1.0, ""), (2.02, ""), (3.0, "ruined"), (None, "ruined")]:
        facts = {"base_free_energy": 2.0, "base_free_energy_standard_error": 0.01}
        assert marks(settings(), {**facts, "free_energy": value}, "kl") == word
        of_points = settings(POINTS)
        facts = {"base_log_likelihood": -2.0, "base_log_likelihood_standard_error": 0.01}
        negated = None if value is None else -value
        assert marks(of_points, {**facts, "log_likelihood": negated}, "log_likelihood") == word
    vae, coins = settings(SHORT_VAE), 784 * math.log(2)
    for value, word in [(500.0, ""), (coins - 1, ""), (coins + 1, "ruined"), (math.nan, "ruined")]:
        summary = ImagesSummary.model_construct(negative_elbo=value)
        assert marks(vae, summary, "negative_elbo") == word


def test_a_mass_that_was_not_resolved_is_told():
    for mass, error, word in [
        (0.9999, 1e-4, ""),
        (0.999, 0.225, "unresolved"),
        (0.97, 1e-4, "unresolved"),
        (None, None, "unresolved"),
    ]:
        assert marks(settings(), {"mass": mass, "mass_error": error}, "mass") == word


def test_a_mean_of_few_rows_in_effect_is_marked():
    of = settings(POINTS)
    for facts, named in [
        ({"n_effective": 2, "n_test": 2}, "2 rows: a 95 % interval is ± 12.7"),
        ({"n_effective": 1, "n": 3, "n_impossible": 2}, "1 row: its standard error is unknown"),
        ({"n_effective": 2.0, "n_test": 150}, "150 rows of unequal weights"),
        ({"n_effective": 9, "n": 10, "n_impossible": 1}, "9 rows: a 95 % interval"),
        ({"n_effective": 1.0, "n": 1_000}, "size of 1.0: its standard error is unknown"),
    ]:
        assert marks(of, facts, "log_likelihood") == marks(of, facts, "gain") == "few rows"
        assert named in warnings_of(of, facts)[0].reason
    for facts in ({}, {"n_test": 3}, {"n_effective": 10, "n_test": 10}):  # {}: an older run
        assert marks(of, facts, "log_likelihood") == ""


def test_the_width_of_an_interval_is_that_of_students_t():
    for n in range(2, 10):
        (warning,) = warnings_of(settings(POINTS), {"n_effective": n})
        factor = float(re.search("95 % interval is ± ([0-9.]+) standard errors", warning.reason)[1])
        assert factor == round(stats.t.isf(0.025, n - 1), 1)


values = st.none() | st.floats() | st.integers()
FACTS = [
    *("steps", "log_likelihood", "base_log_likelihood", "base_log_likelihood_standard_error"),
    *("n_effective", "n_test", "n_impossible", "n", "outside"),
]


@given(st.dictionaries(st.sampled_from(FACTS), values))
def test_whatever_numbers_a_summary_holds_warnings_follow(summary):
    counts = {"steps", "n_test", "n_impossible", "n"}  # which a schema has as whole numbers
    typed = {key: x for key, x in summary.items() if key not in counts or type(x) is int}
    assert all(warning.reason for warning in warnings_of(settings(POINTS), typed))


@given(st.dictionaries(st.sampled_from(["free_energy", "kl", "mass"]), st.none() | st.floats()))
def test_whatever_figures_a_fit_to_a_density_has_warnings_follow(summary):
    assert all(warning.reason for warning in warnings_of(settings(), summary))


def test_a_summary_has_the_free_energy_of_the_base_above_which_a_fit_is_ruined(short_run):
    summary = json.loads((short_run(**MIXED) / "summary.json").read_text())
    # KL(N(0, I) || p) of the base, by the entropy and samples of its own.
    z = np.random.default_rng(0).standard_normal((200_000, 2))
    log_p = np.logaddexp(*(-0.5 * ((z - m) ** 2).sum(axis=1) for m in (2, -2))) - math.log(2)
    expected = np.mean(-0.5 * (z**2).sum(axis=1) - log_p)
    error = summary["base_free_energy_standard_error"]
    assert abs(summary["base_free_energy"] - expected) < 4 * error < 0.3
    for figure in ("kl", "free_energy"):
        ruined = {**summary, "free_energy": expected + 5 * error}
        assert "ruined" in marks(settings(), ruined, figure)
        assert "ruined" not in marks(settings(), summary, figure)

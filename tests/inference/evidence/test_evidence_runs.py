"""Folds, warnings and rounding of an estimate of log Z from draws."""

import numpy as np
import pytest

from nflow_cli.inference.evidence.bridge import bridge_warnings
from nflow_cli.inference.evidence.draws import load_draws
from nflow_cli.inference.evidence.evidence_config import DrawsData
from nflow_cli.inference.evidence.evidence_data import fold_rows
from nflow_cli.inference.evidence.evidence_report import EvidenceSummary, verdict_of, warnings_of
from nflow_cli.inference.evidence.evidence_scoring import rounding_step

GOOD = {
    **{"log_z": 1.0, "log_z_standard_error": 0.01, "pareto_k": 0.2, "is_stan": False},
    **{"rhat": 1.001, "rhat_column": "a", "effective_draws": 900.0, "log_p_step": 1e-6},
    **{"kl": 0.03, "kl_by_likelihood": 0.05, "kl_by_likelihood_standard_error": 0.01},
}


def summary_of(**changes):
    return EvidenceSummary.model_construct(**{**GOOD, **changes})


def words_of(**changes):
    return [warning.word for warning in warnings_of(None, summary_of(**changes))]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"pareto_k": 0.6}, ["rough ratios"]),
        ({"pareto_k": 0.8}, ["poor ratios"]),
        ({"pareto_k": None}, ["poor ratios"]),
        ({"log_z_standard_error": 0.2}, ["rough ratios"]),
        ({"kl": 0.5}, ["rough ratios"]),
        ({"rhat": 1.05}, ["chains disagree"]),
        ({"effective_draws": 120.0}, ["few draws"]),
        ({"log_p_step": 0.1}, ["few digits"]),
    ],
)
def test_unreliable_estimates_have_warnings(changes, words):
    assert words_of(**changes) == words
    summary = summary_of(**changes)
    shown = dict(verdict_of(summary, warnings_of(None, summary)))["k-hat"]
    assert shown.endswith(", good") == (not words)


def test_the_reasons_name_what_may_be_wrong():
    (found,) = warnings_of(None, summary_of(pareto_k=0.87))
    assert "; a parameter may be missing from the columns; else try more draws" in found.reason
    # Chains disagree beyond the limit of their number and length.
    assert words_of(rhat=1.014, rhat_limit=1.02) == []
    (found,) = warnings_of(None, summary_of(rhat=1.01404, rhat_limit=1.01401))
    assert "split R-hat of a is 1.01404" in found.reason and "1.01401" in found.reason


BRIDGED = {
    **GOOD,
    **{"bridge_log_z": 3.02, "bridge_log_z_standard_error": 0.01},
    **{"log_p_difference": 2.0, "log_p_difference_sd": 1e-6},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"bridge_log_z": 3.1}, ["estimates differ"]),
        ({"log_p_difference_sd": 0.2}, ["another density"]),
    ],
)
def test_a_bridge_to_another_density_has_a_warning(changes, words):
    assert [warning.word for warning in bridge_warnings({**BRIDGED, **changes})] == words


def test_a_density_is_fitted_to_no_draw_that_it_judges(tmp_path):
    rng = np.random.default_rng(0)
    table = rng.standard_normal((700, 3))
    chain = np.repeat(np.arange(7), 100)
    np.savez(tmp_path / "a.npz", a=table[:, 0], b=table[:, 1], lp=table[:, 2], chain=chain)
    draws = load_draws(DrawsData(name=str(tmp_path / "a.npz"), log_p="lp"))
    train, validation = fold_rows(draws)
    assert len(train) == len(validation) == 4
    for fold, (some, others) in enumerate(zip(train, validation)):
        judged = np.concatenate([p for p, of in zip(draws.parts, draws.folds) if of == fold])
        assert not set(some) & set(others)
        assert not (set(some) | set(others)) & set(judged)
        assert len(some) + len(others) + len(judged) == 700
        assert set(draws.chains[some]) == set(draws.chains[others])  # of each other chain


@pytest.mark.parametrize(("digits", "step"), [(6, 0.1), (8, 0.001)])
def test_the_step_of_rounded_log_densities_is_found(digits, step):
    values = -31_234.6 + np.random.default_rng(0).standard_normal(500)
    rounded = np.array([float(f"{value:.{digits}g}") for value in values])
    assert rounding_step(rounded) == pytest.approx(step)
    assert rounding_step(values) == 0.0

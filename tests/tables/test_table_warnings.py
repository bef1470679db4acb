"""When the scores of a fit by cells carry a warning, by the facts in a summary."""

from types import SimpleNamespace

import pytest

from nflow_cli.config.table import TableData
from nflow_cli.evaluation.association import LostRelation
from nflow_cli.evaluation.tallies import Likelihood
from nflow_cli.tables import table_report
from nflow_cli.tables.scores.memorisation import Copies, Memorisation
from nflow_cli.tables.scores.pit import Pit
from nflow_cli.tables.table_report import copied, lost, memorised, ruined


def printed(warnings, **facts):
    """Return the printed scores of a summary of these facts alone."""
    none = {"n": 0, "gap": None, "baseline": "independent", "pit": Pit(columns={})}
    config = SimpleNamespace(data=TableData(name="table"))
    summary = table_report.TableSummary.model_construct(**none, **facts)
    return dict(table_report.score_rows(config, summary, warnings))


def attacked(auc, error):
    figures = {"auc": auc, "auc_standard_error": error, "nats": 2.3456, "nats_standard_error": 0.5}
    return Memorisation.model_construct(**figures)


@pytest.mark.parametrize(
    ("auc", "error", "is_printed", "is_marked"),
    [
        (0.75, 0.09, False, False),  # of few rows
        (0.3, 0.01, False, False),
        (None, None, False, False),
        (0.55, 0.006, True, False),  # of many rows
        (0.65, 0.04, True, True),
    ],
)
def test_an_effect_beyond_chance_is_printed_and_a_large_one_marked(
    auc, error, is_printed, is_marked
):
    facts = attacked(auc, error)
    found = [warning for warning in [memorised(facts)] if warning]
    assert [warning.word for warning in found] == ["memorised"] * is_marked
    text = printed(found, memorisation=facts).get("memorisation")
    assert (text is not None) == is_printed
    if is_printed:
        assert f"by 2.346 ± 0.500 nats a row, AUC {auc:.3f} ± {error:.3f}" in text
        assert text.endswith(" [memorised]") == is_marked


def test_the_reason_has_the_effect_and_what_to_do():
    warning = memorised(attacked(0.65, 0.04))
    assert "by 2.346 ± 0.500 nats a row, AUC 0.650 ± 0.040: no error by itself" in warning.reason
    assert "train.weight_decay=…" in warning.reason and "cells.width=…" in warning.reason
    chosen = memorised(attacked(0.65, 0.04), are_chosen=True)
    assert chosen.reason.startswith(warning.reason) and "another distribution" in chosen.reason


@pytest.mark.parametrize(("drawn", "is_beyond"), [(0.01, False), (0.012, False), (0.03, True)])
def test_copies_are_marked_where_draws_have_more_than_held_out_rows(drawn, is_beyond):
    facts = {"drawn": drawn, "held_out": 0.01, "n_drawn": 5_000, "n_held_out": 2_000}
    warning = copied(Copies(**facts))
    assert (warning is not None) == is_beyond
    if warning:
        assert "3.00% of draws equal a training row, and 1.00% of test rows" in warning.reason


def test_a_memorisation_that_is_no_figure_has_no_warning():
    for facts in (None, attacked(0.9, None), attacked(None, None)):
        assert memorised(facts) is None


def test_a_fit_to_few_rows_is_ruined_by_more_standard_errors():
    for n, errors, is_ruined in [
        *((100, 4.1, True), (100, 3.9, False), (2, 20.0, False), (2, 30.0, True), (1, 1e9, False))
    ]:
        facts = {"gain": -0.1 * errors, "gain_standard_error": 0.1, "n_effective": n}
        found = ruined(Likelihood.model_construct(log_likelihood=0.0, **facts))
        assert (found is not None) == is_ruined
    rounding = {"gain": -5.8e-17, "gain_standard_error": 1.2e-18, "n_effective": 2_000}
    assert ruined(Likelihood.model_construct(log_likelihood=0.0, **rounding)) is None


def test_lost_relations_are_named_and_marked():
    pair = {"columns": ["a", "b\n"], "rows": 0.5, "draws": 0.125, "standard_error": 0.01}
    pairs = [LostRelation(**pair)] * 7
    warning = lost(pairs)
    assert warning.word == "lost relations" and "; and 2 more" in warning.reason
    assert "a and b\\n is 0.50 in rows, 0.12 in draws" in warning.reason
    text = printed([warning], lost_relations=pairs)["relations"]
    assert text.startswith("7 lost in draws; the association of a") and text.endswith(
        "[lost relations]"
    )
    assert lost([]) is None and "relations" not in printed([])


def test_columns_whose_fills_hardly_moved_in_training_are_printed():
    text = printed([], fill_acceptance={"a": 0.019, "b": 0.021, "c": 0.0})["fills"]
    assert text.startswith("under 2% of the fills of gaps accepted: a, c;")
    assert "fills" not in printed([], fill_acceptance={"b": 0.5})

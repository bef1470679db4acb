"""When the scores of a fit by cells carry a warning, by the facts in a summary."""

import pytest

from nflow_cli.experiments.cells.report import (
    copied,
    lost,
    lost_rows,
    memorisation_rows,
    memorised,
    notes,
    ruined,
)


def attacked(auc, error, **facts):
    figures = {"auc": auc, "auc_standard_error": error, "nats": 2.3456, **facts}
    return {"memorisation": {**figures, "nats_standard_error": 0.5}}


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
    summary = attacked(auc, error)
    found = [warning for warning in [memorised(summary)] if warning]
    assert [warning.word for warning in found] == ["memorised"] * is_marked
    rows = memorisation_rows(summary, found)
    assert len(rows) == is_printed
    if is_printed:
        assert f"by 2.346 ± 0.500 nats a row, AUC {auc:.3f} ± {error:.3f}" in rows[0][1]
        assert rows[0][1].endswith(" [memorised]") == is_marked


def test_the_reason_has_the_effect_and_what_to_do():
    warning = memorised(attacked(0.65, 0.04))
    assert "by 2.346 ± 0.500 nats a row, AUC 0.650 ± 0.040: no error by itself" in warning.reason
    assert "train.weight_decay=…" in warning.reason and "cells.width=…" in warning.reason
    chosen = memorised(attacked(0.65, 0.04), are_chosen=True)
    assert chosen.reason.startswith(warning.reason) and "another distribution" in chosen.reason


@pytest.mark.parametrize(("drawn", "is_beyond"), [(0.01, False), (0.012, False), (0.03, True)])
def test_copies_are_marked_where_draws_have_more_than_held_out_rows(drawn, is_beyond):
    facts = {"drawn": drawn, "held_out": 0.01, "n_drawn": 5_000, "n_held_out": 2_000}
    warning = copied({"copies": facts})
    assert (warning is not None) == is_beyond
    if warning:
        assert "3.00% of draws equal a training row, and 1.00% of test rows" in warning.reason


def test_a_memorisation_that_is_no_figure_has_no_warning():
    for facts in ({}, {"auc": 0.9}, {"auc": None, "auc_standard_error": None}):
        assert memorised({"memorisation": facts}) is None
        assert memorisation_rows({"memorisation": facts}, []) == []


def test_a_fit_to_few_rows_is_ruined_by_more_standard_errors():
    for n, errors, is_ruined in [
        *((100, 4.1, True), (100, 3.9, False), (2, 20.0, False), (2, 30.0, True), (1, 1e9, False))
    ]:
        facts = {"gain": -0.1 * errors, "gain_standard_error": 0.1, "n_effective": n, "n_test": n}
        assert (ruined(facts) is not None) == is_ruined
    rounding = {"gain": -5.8e-17, "gain_standard_error": 1.2e-18, "n_effective": 2_000}
    assert ruined(rounding) is None


def test_lost_relations_are_named_and_marked():
    pair = {"columns": ["a", "b\n"], "rows": 0.5, "draws": 0.125, "standard_error": 0.01}
    summary = {"lost_relations": [pair] * 7}
    warning = lost(summary)
    assert warning.word == "lost relations" and "; and 2 more" in warning.reason
    assert "a and b\\n is 0.50 in rows, 0.12 in draws" in warning.reason
    ((_, text),) = lost_rows(summary, [warning])
    assert text.startswith("7 lost in draws") and text.endswith("[lost relations]")
    assert lost({}) is None and lost_rows({}, []) == []


def test_columns_whose_fills_hardly_moved_in_training_are_printed():
    facts = dict.fromkeys(("n_impossible", "n_new_levels", "n_unknown"), 0)
    ((name, text),) = notes({**facts, "fill_acceptance": {"a": 0.019, "b": 0.021, "c": 0.0}})
    assert name == "fills" and text.startswith("under 2% of the fills of gaps accepted: a, c;")
    assert not notes(facts) and not notes({**facts, "fill_acceptance": {"b": 0.5}})

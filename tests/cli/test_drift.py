"""`nflow drift`: new rows against the held-out rows of one tiny run."""

import json
import re

import numpy as np
import pytest
from running import read_rows, succeed
from short_runs import CELLS, make_run, without_pictures

import nflow_cli
from nflow_cli.tables.scores.drift_tests import Drift

TABLE = CELLS["data"]["name"]
COLUMNS = ["city", "flag", "day", "rooms", "price", "wage"]


@pytest.fixture(scope="module")
def run(short_run):
    return short_run(**CELLS)


@pytest.fixture
def new(invoke, write):
    """Write a table in which wages are three times as high and one city has another name."""
    rows = read_rows(TABLE)
    for row in rows:
        row["wage"] = row["wage"] and str(3 * int(row["wage"]))
        row["city"] = "Paris" if row["city"] == "Oslo" else row["city"]
    write("new.csv", rows)
    return rows


def drift(invoke, run, *options):
    result = invoke("drift", run, "--data", "new.csv", *options)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_what_moved_is_printed_with_its_effect(invoke, run, new):
    lines = drift(invoke, run).splitlines()
    assert lines[0] == f"data           new.csv: {len(new)} rows, against 30 held-out rows"
    assert lines[1] == "columns        2 of 6 moved"
    rows = {line[:15].strip(): line[15:] for line in lines}
    assert rows["wage"].startswith("p ") and "shift 1." in rows["wage"] and " sd" in rows["wage"]
    known = next(
        c.coded_values for c in nflow_cli.load(run).density.row_columns if c.name == "city"
    )
    count = sum(row["city"] not in ["", *known] for row in new)
    shares = re.search(r"new level ([\d.]+) → ([\d.]+) ± [\d.]+ %", rows["city"])
    assert [*map(float, shares.groups())] == pytest.approx(
        [100 / 30, 100 * count / len(new)], abs=0.5
    )
    assert f"; {count} cells of new levels" in rows["city"]
    assert "relations" in rows and "mean log-probability -" in rows["row"]
    assert "of 12 tests (Bonferroni) [few rows]" in rows["p-value"]


def test_json_is_what_python_returns(invoke, run, new):
    found = json.loads(drift(invoke, run, "--json"))
    assert (found["run"], found["data"]) == (str(run), "new.csv")
    assert [*found["columns"]] == COLUMNS and [*found["relations"]] == COLUMNS[1:]
    assert sorted(found["moved"]) == ["city", "wage"]
    assert [warning["word"] for warning in found["warnings"]] == ["few rows"]
    scores = {key: found[key] for key in Drift.model_fields}
    q = nflow_cli.load(run)
    assert json.loads(q.drift("new.csv").model_dump_json()) == scores
    assert q.drift(q.rows("new.csv")).p_value == scores["p_value"]


def test_the_exit_status_is_that_of_the_whole(invoke, run, new, write):
    result = invoke("drift", run, "--data", "new.csv", "--fail-above", ".99")
    assert result.exit_code == 1 and "p-value" in result.stdout
    assert "new.csv: drift, p = " in result.stderr and "exceeds --fail-above 0.99" in result.stderr
    write("new.csv", read_rows(TABLE)[:120])
    assert "0 of 6 moved" in drift(invoke, run, "--fail-above", ".99")


def test_own_rows_have_a_warning(invoke, run):
    printed = succeed(invoke, "drift", run, "--data", TABLE)
    assert "[own rows, few rows]" in printed and "the held-out rows among them" in printed


def test_a_run_by_given_columns(invoke, short_run, new):
    data = {**CELLS["data"], "columns": ["wage"], "given": ["city", "rooms"]}
    found = json.loads(drift(invoke, short_run(**{**CELLS, "data": data}), "--json"))
    assert sorted(found["columns"]) == ["city", "rooms", "wage"]
    assert [*found["relations"]] == ["wage"] and found["tests"] == 5


def test_unmixed_columns_are_compared_by_ranks(invoke, tmp_path):
    rng = np.random.default_rng(0)
    table = rng.gamma(1.0, size=(1_000, 2)) @ np.array([[1.0, 0.9], [0.8, 1.0]]).T
    np.savetxt("t.csv", table, delimiter=",", header="a,b", comments="")
    cells = {"width": 8, "blocks": 1, "components": 3, "unmixed": True}
    data = {"name": "t.csv", "missing": "model"}
    train = {**CELLS["train"], "steps": 4, "chunk": 2, "ensemble": 1}
    with without_pictures():
        changes = {"data": data, "cells": cells, "train": train}
        path = make_run(tmp_path / "run", **{**CELLS, **changes})
    for values, moved, relations in (
        (table * [1, 2], ["b"], []),
        (np.column_stack([table[:, 0], table[::-1, 1]]), [], ["a", "b"]),
    ):
        np.savetxt("new.csv", values[:800], delimiter=",", header="a,b", comments="")
        found = json.loads(drift(invoke, path, "--json"))
        assert (found["moved"], sorted(found["moved_relations"])) == (moved, relations)

"""`nflow evaluate --explain`: odd rows and why, on one tiny run."""

import json
import os
import shutil

import numpy as np
import pytest
from running import read_rows, succeed
from short_runs import CELLS, edit_json

import nflow_cli

TABLE = CELLS["data"]["name"]
COLUMNS = ["city", "flag", "day", "rooms", "price", "wage"]
ODD = {"city": "<b>Rome</b>\x1b[31m", "rooms": "900"}


@pytest.fixture(scope="module")
def run(short_run):
    return short_run(**CELLS)


@pytest.fixture
def new(invoke, write):
    """Write a table of 30 rows, of which the fifth is odd; return its rows."""
    rows = read_rows(TABLE)[:30]
    rows[4] |= ODD
    write("new.csv", rows)
    return rows


def explain(invoke, run, *options, data="new.csv"):
    result = invoke("evaluate", run, "--data", data, "--explain", "-o", "out.csv", *options)
    assert result.exit_code == 0, result.output
    return result.stdout  # stderr has progress, if it takes long


def test_rows_are_written_with_their_oddness(invoke, run, new):
    explain(invoke, run)
    rows = read_rows("out.csv")
    added = ["log_q", "p_value", "p_adjusted", "oddness", "odd_as_written", "odd_relations"]
    added += ["odd_values", "oddest", "oddest_surprise"]
    added += ["oddest_p_value", "oddest_p_adjusted", *(f"{name}_surprise" for name in COLUMNS)]
    added += ["oddest_reasons"]
    assert [*rows[0]] == [*new[0], *added]
    assert [{name: row[name] for name in new[0]} for row in rows] == new
    for row in rows:
        nats = {name: float(row[f"{name}_surprise"] or "nan") for name in COLUMNS}
        assert row["oddest"] == max(nats, key=lambda name: np.nan_to_num(nats[name], nan=-1.0))
        assert all(value >= 0 for value in nats.values() if not np.isnan(value))
        most = max(map(np.nan_to_num, nats.values()))
        assert float(row["oddest_surprise"]) == pytest.approx(most)
        for of in ("", "oddest_"):
            assert float(row[f"{of}p_value"]) <= float(row[f"{of}p_adjusted"])
    odd = min(range(len(rows)), key=lambda i: float(rows[i]["p_value"]))
    assert rows[odd]["p_value"] == rows[4]["p_value"]
    assert rows[4]["oddest"] in ODD
    found = nflow_cli.load(run).explain("new.csv")  # the numbers of the command
    assert found.column_names == added[:-1]
    assert found["oddest"].to_pylist() == [row["oddest"] for row in rows]
    for name in ("log_q", "oddness", "p_value", "p_adjusted", "oddest_p_value", "wage_surprise"):
        np.testing.assert_array_equal(
            found[name].to_numpy(), [float(row[name] or "nan") for row in rows]
        )


def test_scores_are_those_without_it_and_counts(invoke, run, new):
    words = ["evaluate", run, "--data", "new.csv", "-o", "out.csv", "--json"]
    usual, found = json.loads(succeed(invoke, *words)), json.loads(explain(invoke, run, "--json"))
    assert {key: found[key] for key in usual} == usual
    n = json.loads((run / "summary.json").read_text())["n_test"]
    assert found["n_held_out"] == n and found["smallest_p"] == pytest.approx(1 / (n + 1))
    p = np.array([float(row["p_value"]) for row in read_rows("out.csv")])
    assert found["n_odd"] == np.sum(p <= 0.01) and p.min() >= found["smallest_p"]


def test_the_oddest_rows_are_printed_and_written_with_their_reasons(invoke, run, new):
    printed = explain(invoke, run)
    assert "row 5 " in printed and "rooms: expected " in printed and ", is 900" in printed
    assert "is <b>Rome</b>\\x1b[31m (" in printed and "\x1b" not in printed
    names = [line.split()[1] for line in printed.splitlines() if line.startswith("row ")]
    rows = read_rows("out.csv")
    nats = [float(row["oddest_surprise"]) for row in rows]
    reasons = [row["oddest_reasons"] for row in rows]
    assert len(names) == 3 and sum(map(bool, reasons)) == 20
    assert min(n for n, why in zip(nats, reasons) if why) >= sorted(nats)[-20]
    assert "rooms: expected " in reasons[4] and ", is 900" in reasons[4]
    assert [nats[int(name) - 1] for name in names] == sorted(nats, reverse=True)[:3]


def test_rows_of_the_training_are_known_and_parquet_is_written(invoke, run):
    from pyarrow import parquet

    assert "[trained on]" in explain(invoke, run, "-o", "out.parquet", data=TABLE)
    found = parquet.read_table("out.parquet")
    assert found.num_rows == len(read_rows(TABLE)) and found["p_value"].to_numpy().min() > 0
    assert not os.path.exists("out.csv")


def test_a_run_without_its_table_has_the_same_p_values(invoke, run, new, write, tmp_path):
    write("new.csv", new[:6])
    explain(invoke, run)
    expected = read_rows("out.csv")
    path = shutil.copytree(run, tmp_path / "run") / "run.json"
    data = json.loads(path.read_text())["data"]
    edit_json(path, data={**data, "path": str(tmp_path / "gone.csv")})
    explain(invoke, "run")
    assert read_rows("out.csv") == expected


@pytest.fixture
def computed(monkeypatch):
    """Return a list that has the number of rows of each computation of surprises to be kept."""
    from nflow_cli.tables.answers import explain

    counts, largest = [], explain.largest_of_held_out

    def counted(trained):
        with monkeypatch.context() as patch:
            patch.setattr(explain, "surprises", lambda *of: counts.append(len(of[1])) or known(*of))
            return largest(trained)

    known = explain.surprises
    monkeypatch.setattr(explain, "largest_of_held_out", counted)
    return counts


def test_surprises_of_held_out_rows_are_kept_and_a_strangers_are_checked(
    invoke, run, new, write, tmp_path, computed
):
    write("new.csv", new[:6])
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("surprises.json"))
    kept = tmp_path / "run" / "surprises.json"
    explain(invoke, "run")
    expected, record = read_rows("out.csv"), json.loads(kept.read_text())
    n = json.loads((run / "summary.json").read_text())["n_test"]
    assert computed == [n] and len(record["largest"]) == n
    least = 1 / (n + 1) - 1e-12
    assert (np.array([float(row["oddest_p_value"]) for row in expected]) >= least).all()
    explain(invoke, "run")
    assert read_rows("out.csv") == expected and len(computed) == 1
    wrong = [
        {**record, "sha256": "0"},
        {**record, "largest": record["largest"][1:]},
        {**record, "largest": [28.0, *record["largest"][1:]]},
        {**record, "largest": [None, *record["largest"][1:]]},
    ]
    for i, one in enumerate(wrong, 2):
        kept.write_text(json.dumps(one))
        explain(invoke, "run")
        assert read_rows("out.csv") == expected and len(computed) == i
        assert json.loads(kept.read_text()) == record


def test_a_run_that_cannot_be_written_is_explained(invoke, run, new, tmp_path, computed):
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("surprises.json"))
    (tmp_path / "run" / "surprises.json").mkdir()  # no file can replace it
    explain(invoke, "run")
    assert len(computed) == 1 and len(read_rows("out.csv")) == len(new)
    assert not [*(tmp_path / "run" / "surprises.json").iterdir()]

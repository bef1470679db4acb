"""`nflow audit`: draws of a table, or of a run, beside holdout rows."""

import json

import numpy as np
import pytest
from short_runs import CELLS

pytest.importorskip("sklearn")
SIZES = {"real": 120, "holdout": 90, "draws": 100, "copies": 100}


@pytest.fixture
def tables(tmp_path):
    rng = np.random.default_rng(0)
    written = {}
    for name, n in SIZES.items():
        entry = rng.integers(0, 30, n)
        size = rng.normal(size=n).round(2)
        lines = [
            f"{a},{a + b},{x},{'uvw'[a % 3]}" for a, b, x in zip(entry, rng.poisson(3, n), size)
        ]
        if name == "copies":
            lines[:50] = written["real"][:50]
        written[name] = lines
        (tmp_path / f"{name}.csv").write_text("\n".join(["entry,exit,size,level", *lines]))


def test_copies_are_said(invoke, tables):
    words = ["--real", "real.csv", "--holdout", "holdout.csv", "--json"]
    plain = json.loads(invoke("audit", "draws.csv", *words).stdout)
    copied = json.loads(invoke("audit", "copies.csv", *words).stdout)
    assert plain["leaks"]["copies"]["training"] == 0 == copied["leaks"]["copies"]["holdout"]
    assert copied["leaks"]["copies"]["training"] == pytest.approx(50 / 90, abs=0.2)
    for attack in ("copies", "nearness", "linkability"):
        assert copied["leaks"][attack]["p_value"] < 0.01 < plain["leaks"][attack]["p_value"]
    assert plain["broken"]["entry <= exit"]["draws"] == 0
    assert plain["run"] is None


def test_a_page_is_written_and_sets_of_draws_have_errors(invoke, tables, tmp_path):
    words = ["--real", "real.csv", "--holdout", "holdout.csv", "-o", "audit.html"]
    printed = invoke("audit", "draws.csv", "copies.csv", *words).stdout
    assert printed.splitlines()[-1] == "audit.html"
    assert "100, 100 draws, 120 training and 90 holdout rows" in printed and " ± " in printed
    page = (tmp_path / "audit.html").read_text()
    assert page.count("<img ") == 4 and "no proof of privacy" in page


def test_rows_of_a_group_have_one_label(invoke, tables):
    words = ["audit", "copies.csv", "--real", "real.csv", "--holdout", "holdout.csv", "--json"]
    alone = json.loads(invoke(*words).stdout)["leaks"]["nearness"]
    together = json.loads(invoke(*words, "--group", "level").stdout)["leaks"]["nearness"]
    assert together["difference"] == alone["difference"]
    assert together["p_value"] > alone["p_value"]  # of six groups


def test_a_run_has_its_own_rows(invoke, short_run):
    run = short_run(**CELLS)
    invoke("sample", run, "-n", "200", "-o", "draws.csv")
    found = json.loads(invoke("audit", "draws.csv", "--run", run, "--json").stdout)
    assert len(found["run"]["rows"]) == 10 and found["run"]["memorisation"] is not None


def test_weights_and_groups_of_a_run_are_warned_of(invoke, short_run):
    columns = {"weights": "wage", "group": "rooms", "split": None}
    run = short_run(**CELLS | {"data": CELLS["data"] | columns})
    invoke("sample", run, "-n", "200", "-o", "draws.csv")
    printed = invoke("audit", "draws.csv", "--run", run).stdout
    assert "[grouped rows]" in printed and "[weighted rows]" in printed


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ("draws.csv", 2, "expected either --real or --run"),
        ("draws.csv --real real.csv", 2, "--holdout: expected rows"),
        ("draws.csv --run run --group level", 2, "--group: expected --real"),
        ("gone.csv --real real.csv --holdout holdout.csv", 1, "gone.csv: no such file"),
        ("other.csv --real real.csv --holdout holdout.csv", 1, "other.csv: no column 'exit'"),
        ("one.csv --real real.csv --holdout holdout.csv", 1, "one.csv: expected 20 rows or more"),
    ],
)
def test_what_cannot_be_judged_is_refused(invoke, tables, tmp_path, words, status, reason):
    (tmp_path / "other.csv").write_text("entry,size,level\n1,2.5,u\n" * 30)
    (tmp_path / "one.csv").write_text("entry,exit,size,level\n1,2,2.5,u\n")
    result = invoke("audit", *words.split())
    assert result.exit_code == status and reason in result.stderr
    assert "Traceback" not in result.output

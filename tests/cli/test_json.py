"""``--json`` prints the scores of a table for another program, by the keys of ``summary.json``."""

import json
import shutil

import numpy as np
import pytest
from short_runs import BOX, TABLE, VAE, edit_json

# What each run is judged by that its summary holds too.
SHARED = {
    "target": (BOX, {"kl", "kl_standard_error", "ess", "free_energy", "log_z"}),
    "table": (
        {"command": "fit"},
        {"log_likelihood", "log_likelihood_standard_error", "gain", "gain_standard_error"},
    ),
    "images": (VAE, {"negative_elbo", "negative_log_likelihood", "nll_standard_error"}),
}


def printed(invoke, *args, code=0):
    result = invoke(*args, "--json")
    assert result.exit_code == code, result.stderr
    assert result.stdout.isascii()
    return json.loads(result.stdout), result.stderr


@pytest.mark.parametrize("name", SHARED)
def test_evaluate_gives_the_scores_of_the_summary(invoke, short_run, name):
    changes, shared = SHARED[name]
    run = short_run(**changes)
    summary = json.loads((run / "summary.json").read_text())
    scores, _ = printed(invoke, "evaluate", run)
    assert shared <= scores.keys() & summary.keys()
    for key in shared:
        assert scores[key] == pytest.approx(summary[key], rel=1e-6, abs=1e-9)
    assert scores["run"] == str(run) and scores["data"] is None
    assert [warning["word"] for warning in scores["warnings"]] == [
        warning["word"] for warning in summary["warnings"] if warning["word"] != "unresolved"
    ]


def test_evaluate_judges_and_writes_rows_of_ones_own(invoke, short_run, tmp_path):
    run = short_run(command="fit")
    scores, _ = printed(invoke, "evaluate", run, "--data", TABLE)
    again, _ = printed(invoke, "evaluate", run, "--data", TABLE, "-o", "scored.csv")
    log_q = np.genfromtxt(tmp_path / "scored.csv", delimiter=",", names=True)["log_q"]
    assert again["output"] == "scored.csv" and again["n"] == scores["n"] == len(log_q)
    for figures in (scores, again):
        assert figures["log_likelihood"] == pytest.approx(log_q.mean(), rel=1e-4)
        error = log_q.std(ddof=1) / np.sqrt(len(log_q))
        assert figures["log_likelihood_standard_error"] == pytest.approx(error, rel=1e-3)


def test_what_is_not_finite_is_null(invoke, short_run, tmp_path):
    np.save(tmp_path / "far.npy", np.array([[0.1, 0.2], [50.0, 0.0]]))
    scores, _ = printed(invoke, "evaluate", short_run(**BOX), "--data", "far.npy")
    assert (scores["log_likelihood"], scores["outside"], scores["n"]) == (None, 1, 2)


def test_check_gives_a_record_for_each_line_and_its_exit_code(
    invoke, short_run, tmp_path, monkeypatch
):
    monkeypatch.setattr("nflow_cli.experiments.checked_flows.OF_FLOWS", {})
    copy = shutil.copytree(short_run(**BOX), tmp_path / "copy")
    lines = invoke("check", copy).stdout.splitlines()
    checked, _ = printed(invoke, "check", copy)
    assert [(c["outcome"], c["check"], c["detail"]) for c in checked["checks"]] == [
        (line[:10].strip(), line[11:25].strip(), line[26:]) for line in lines
    ]
    assert (checked["run"], checked["failed"]) == (str(copy), 0)
    edit_json(copy / "summary.json", k=3)
    checked, told = printed(invoke, "check", copy, code=1)
    failed = [c["check"] for c in checked["checks"] if c["outcome"] == "FAIL"]
    assert checked["failed"] == len(failed) and {"record", "files"} <= set(failed)
    assert told == f"nflow: error: {copy}: {len(failed)} of {len(lines)} checks failed\n"


def test_the_schema_of_presets_is_printed(invoke):
    schema = json.loads(invoke("presets", "--schema").stdout)
    kinds = [
        one["properties"]["command"]["const"]
        for one in schema["$defs"].values()
        if "command" in one.get("properties", {})
    ]
    assert {"fit", "fit-2d", "train-vae", "sweep"} <= set(kinds)
    result = invoke("presets", "smoke", "--schema")
    assert (result.exit_code, result.stdout) == (2, "")

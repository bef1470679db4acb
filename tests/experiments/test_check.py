import itertools
import json
import shutil

import numpy as np
import pytest
import yaml
from short_runs import (
    BOX,
    MIXED,
    RETRAINED,
    VAE,
    edit_description,
    edit_json,
    edit_weights,
)

from nflow_cli import experiments
from nflow_cli.evaluation.verdicts import Outcome
from nflow_cli.evaluation.warnings import records
from nflow_cli.experiments.check import check_run
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.versions import signed

slow = pytest.mark.slow


def failures(run):
    """Return the names of the checks that fail, each with what it says."""
    found = list(check_run(str(run)))
    assert found and all(len(finding.detail.splitlines()) == 1 for finding in found)
    return {finding.name: finding.detail for finding in found if finding.outcome == Outcome.FAIL}


def outcome_of(run, name):
    """Result of the check of this name; later ones are not run."""
    return next(finding for finding in check_run(str(run)) if finding.name == name)


def detail_of(run, name):
    """Message of the failed check of this name."""
    finding = outcome_of(run, name)
    assert finding.outcome == Outcome.FAIL
    return finding.detail


def passed(run):
    """Return the names of all checks of a run, none of which fails."""
    found = list(check_run(str(run)))
    assert [finding for finding in found if finding.outcome == Outcome.FAIL] == []
    return [finding.name for finding in found]


SOUND = {
    "u1": {"target": "u1", "flow": {"k": 8}},
    "u2": {"target": "u2", "flow": {"k": 8}},
    "u3": {"target": "u3", "flow": {"k": 8}},
    "u4": {"target": "u4", "flow": {"k": 8}},
    "radial": {"flow": {"pattern": ["radial"], "k": 4}},
    "mixed": MIXED,
    "K = 0": {"flow": {"k": 0}},
    "K = 1": {"flow": {"k": 1}},
    "uniform box": BOX,
    "mixture": {
        "target": {
            "name": "mixture",
            "weights": [1.0, 3.0],
            "means": [[1.0, 0.0], [-1.0, 0.5]],
            "covariances": [[[1.0, 0.3], [0.3, 0.5]], [[0.5, 0.0], [0.0, 0.5]]],
        },
    },
    "early stop": {
        "train": {"steps": 900, "chunk": 10, "batch_size": 64}
        | {"early_stopping": {"patience": 20, "min_delta": 9.0}},
    },
    "restarts": {"train": {"steps": 80, "chunk": 10, "batch_size": 64, "restarts": 3}},
    "trained well": {
        "flow": {"k": 4},
        "train": {"steps": 3_000, "batch_size": 256},
        "evaluate": {"samples": 100_000},
    },
}
OF_A_RUN = ["model", "status", "files", "record", "training", "weights", "checksum", "warnings"]
OF_FLOWS = ["invertibility", "log-det", "round trip"]
OF_A_TARGET = ["mass", "summary", "fresh draws", "arrays"]
QUICK = ("mixed", "uniform box", "K = 0")  # one of each kind of flow and of base, and none


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=slow) for n in SOUND])
def test_a_sound_run_passes_every_check(short_run, name):
    assert passed(short_run(**SOUND[name])) == [*OF_A_RUN, *OF_FLOWS, *OF_A_TARGET]


@pytest.fixture(scope="module")
def other(short_run):
    """Return another run of the same flow, target and seed."""
    return short_run(**RETRAINED)


@pytest.fixture
def broken(short_run, tmp_path, monkeypatch):
    """Return a copy to edit; what its flows are checked for in themselves is left out."""
    monkeypatch.setattr("nflow_cli.experiments.checked_flows.OF_FLOWS", {})
    return shutil.copytree(short_run(**MIXED), tmp_path / "broken")


def edit_config(run, change):
    data = yaml.safe_load((run / "config.yaml").read_text())
    change(data)
    (run / "config.yaml").write_text(yaml.safe_dump(data))


def moved(weights):
    return [w + 1 for w in weights]


def nudged(weights):
    """Change one number of all by a hundredth."""
    first = weights[0].copy()
    first.flat[0] *= 1.01
    return [first, *weights[1:]]


def swapped(weights):
    """Change the order of the planar flows."""
    return [w[::-1] if i < 3 else w for i, w in enumerate(weights)]


def rounded(weights):
    return [w.astype(np.float16).astype(w.dtype) for w in weights]


def lost(weights):
    return [np.full_like(weights[0], np.nan), *weights[1:]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (moved, {"checksum", "summary", "fresh draws"}),
        (swapped, {"checksum", "summary"}),
        (lost, {"model"}),
    ],
)
def test_edited_weights_fail(broken, change, expected):
    edit_weights(broken, change)
    assert set(failures(broken)) >= expected


@pytest.mark.parametrize("change", [nudged, rounded])
def test_weights_that_are_nearly_the_same_fail(broken, change):
    edit_weights(broken, change)
    assert detail_of(broken, "checksum").startswith("expected SHA-256 ")


def test_the_checksum_is_of_the_weights_and_not_of_the_file(broken):
    before = (broken / "model.keras").read_bytes()
    edit_weights(broken, lambda weights: weights)
    edit_description(broken, lambda data: data["config"].update(name="another_name"))
    assert (broken / "model.keras").read_bytes() != before
    assert failures(broken) == {}


def test_another_runs_summary_fails(broken, other):
    shutil.copy(other / "summary.json", broken)
    assert set(failures(broken)) >= {"checksum", "summary"}


def test_another_runs_model_fails(broken, other):
    shutil.copy(other / "model.keras", broken)
    assert set(failures(broken)) >= {"checksum", "summary"}


def test_a_missing_flow_fails(broken):
    edit_description(broken, lambda data: data["config"].update(k=3))
    assert "k: expected 5, received 3" in detail_of(broken, "model")


@pytest.mark.parametrize(
    ("seed", "problem"),
    [
        (0, "seed: expected 3, received 0"),
        ("3", "damaged: seed: expected a whole number (received as text"),
        (None, "damaged: seed: expected a whole number. Received: None"),
    ],
)
def test_a_wrong_seed_in_the_summary_fails(broken, seed, problem):
    edit_json(broken / "summary.json", seed=seed)
    assert f"summary.json: {problem}" in detail_of(broken, "record")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda data: data["flow"].update(k=6), "model"),
        (lambda data: data["flow"].update(pattern=["radial", "planar"]), "model"),
        (lambda data: data.update(target={"name": "u1"}), "record"),
        (lambda data: data.update(base="uniform-box"), "record"),
        (lambda data: data.update(seed=4), "record"),
        (lambda data: data["train"].update(steps=21), "record"),
        (lambda data: data["train"].update(learning_rate=0.02), "record"),
        (lambda data: data.update(flow="planar"), "model"),
        (lambda data: data.clear(), "model"),
    ],
)
def test_an_edited_config_fails(broken, change, name):
    edit_config(broken, change)
    assert detail_of(broken, name)


def test_a_config_laid_out_otherwise_passes(broken):
    edit_config(broken, lambda data: None)
    assert failures(broken) == {}


def test_a_truncated_model_fails_in_one_line(broken):
    model = broken / "model.keras"
    model.write_bytes(model.read_bytes()[:-200])
    assert list(failures(broken)) == ["model"]


FIGURES = ["kl", "free_energy", "ess", "kl_standard_error", "mass"]
EDITS = [lambda x: x + 0.05, lambda x: None, str, lambda x: [x]]
SOME = [("kl", EDITS[0]), ("mass", EDITS[0]), ("ess", EDITS[1]), ("free_energy", EDITS[3])]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param(*pair, marks=() if pair in SOME else slow)
        for pair in itertools.product(FIGURES, EDITS)
    ],
)
def test_a_figure_that_was_edited_fails(broken, key, value):
    before = json.loads((broken / "summary.json").read_text())
    edit_json(broken / "summary.json", **{key: value(before[key])})
    assert any(finding.outcome == Outcome.FAIL for finding in check_run(str(broken)))


@pytest.mark.parametrize(
    ("name", "content"),
    [("summary.json", text) for text in ("{", "[]", "{}")] + [("run.json", json.dumps(signed({})))],
)
def test_a_damaged_record_fails(broken, name, content):
    (broken / name).write_text(content)
    assert detail_of(broken, "record")


def test_an_edited_warning_fails(broken):
    edit_json(broken / "summary.json", free_energy=1e3)  # far above that of the base
    summary = json.loads((broken / "summary.json").read_text())
    said = records(experiments.of(RunDirectory(broken).read_config()).warnings(summary))
    assert "ruined" in [warning["word"] for warning in said]
    edit_json(broken / "summary.json", warnings=said)
    assert outcome_of(broken, "warnings").outcome != Outcome.FAIL
    for edited in (said[1:], [{**said[0], "reason": "in other words"}, *said[1:]]):
        edit_json(broken / "summary.json", warnings=edited)
        assert detail_of(broken, "warnings")


def test_a_run_that_was_interrupted_fails(broken):
    edit_json(broken / "run.json", status="interrupted")
    assert failures(broken) == {"status": "interrupted"}
    (broken / "summary.json").unlink()
    of_figures = {"warnings", "mass", "summary", "fresh draws"}
    of_files = {"status", "files", "record", "training", "checksum"}
    assert set(failures(broken)) == of_files | of_figures


@pytest.fixture(scope="module")
def vae(short_run):
    return short_run(**VAE)


@slow
@pytest.mark.parametrize("flow", [{"k": 0}, {"k": 2, "amortized": False}])
def test_a_sound_vae_of_another_kind_passes(short_run, flow):
    assert failures(short_run(command="train-vae", flow=flow)) == {}


def test_a_sound_vae_passes_every_check(vae):
    assert passed(vae) == [*OF_A_RUN, "data", *OF_FLOWS, "bound", "arrays"]


@slow
def test_a_sound_vae_with_a_prior_of_flows_passes_every_check(short_run, tmp_path):
    run = short_run(**VAE, prior={"k": 2})
    of_prior = ["prior margin", "prior log-det", "prior inverse"]
    assert passed(run) == [*OF_A_RUN, "data", *OF_FLOWS, *of_prior, "bound", "arrays"]
    broken = shutil.copytree(run, tmp_path / "broken")
    edit_weights(broken, lambda weights: [*weights[:-1], weights[-1] + 0.5])  # of the last affine
    assert set(failures(broken)) >= {"checksum", "bound", "arrays"}
    with np.load(run / "evaluation.npz") as arrays:
        np.savez(broken / "evaluation.npz", **{k: arrays[k] for k in arrays if "prior" not in k})
    assert "evaluation.npz: damaged" in failures(broken)["arrays"]


@slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (moved, {"checksum", "bound"}),
        (nudged, {"checksum"}),
        (rounded, {"checksum"}),
        (lost, {"model"}),
    ],
)
def test_edited_weights_of_a_vae_fail(vae, tmp_path, change, expected):
    broken = shutil.copytree(vae, tmp_path / "broken")
    edit_weights(broken, change)
    assert set(failures(broken)) >= expected


@slow
def test_an_edited_record_of_a_vae_fails(vae, tmp_path):
    broken = shutil.copytree(vae, tmp_path / "broken")
    edit_json(broken / "summary.json", negative_elbo=100.0, amortized=False)
    edit_json(broken / "run.json", data={"name": "mnist-sample", "sha256": "0"})
    assert set(failures(broken)) >= {"record", "data", "bound"}
    edit_json(broken / "run.json", data=None)
    assert "data" in failures(broken)

"""What `check` must find: any figure that is another, and any file of another run."""

import json
import shutil

import numpy as np
import pytest
from short_runs import KINDS, RETRAINED, SHORT_VAE, edit_json

from nflow_cli.evaluation.verdicts import Outcome
from nflow_cli.experiments.check import check_run
from nflow_cli.runs.directory import RunDirectory

slow = pytest.mark.slow

# Another training of the same shape, by the same seed.
TRAININGS = {
    "target": RETRAINED["train"],
    "points": RETRAINED["train"],
    "table": RETRAINED["train"],
    "images": {**SHORT_VAE["train"], "learning_rate": 0.003},
}
FILES = [
    *("config.yaml", "run.json", "summary.json"),
    *("metrics.csv", "model.keras", "evaluation.npz", "estimates.npz"),
]
OF_NOTHING = {
    **{"best_epoch": 1, "prior": "planar", "given": ["a"]},
    "warnings": [{"word": "dominated", "figures": ["ess"], "reason": "none"}],
}
# To compute these again is to train again.
TIMES = "compile_seconds", "train_seconds", "steps_per_second", "seconds_per_epoch"
RECORDED = *TIMES, "fill_acceptance"


def first(quick):
    """Return the kinds of run as parameters, all slow but one."""
    return [pytest.param(kind, marks=() if kind == quick else slow) for kind in TRAININGS]


@pytest.fixture
def copy(short_run, tmp_path, monkeypatch):
    """Return a function that copies a run; what flows are checked for in themselves is left out."""
    monkeypatch.setattr("nflow_cli.experiments.checked_flows.OF_FLOWS", {})
    return lambda kind: shutil.copytree(short_run(**KINDS[kind]), tmp_path / "copy")


def seal(run):
    """Record the files as they are now, as who edits them with care would."""
    edit_json(run / "run.json", files=RunDirectory(run).checksums())


def outcomes(run):
    return {finding.name: finding for finding in check_run(str(run))}


def failures(run):
    found = outcomes(run)
    return {name: f.detail for name, f in found.items() if f.outcome == Outcome.FAIL}


def altered(value, digit):
    """Change a value in one digit, the last that is printed."""
    if isinstance(value, dict):
        key = next(key for key in ("sha256", "n", "seed", "reason") if key in value)
        return {**value, key: altered(value[key], digit)}
    if isinstance(value, bool):
        return not value
    if value is None:
        return digit
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1)
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [altered(one, digit) for one in value]
    return value + digit


def altered_figures(run):
    """Return every figure that can be computed again, changed in one digit."""
    summary = json.loads((run / "summary.json").read_text())
    digit = 0.01 if "negative_elbo" in summary else 1e-5
    edits = {key: altered(v, digit) for key, v in summary.items() if key not in RECORDED}
    if "n_effective" in edits:
        edits["n_effective"] = summary["n_effective"] + 1
    edits |= {key: value for key, value in OF_NOTHING.items() if summary.get(key, 0) in (None, [])}
    return {key: value for key, value in edits.items() if (key, summary[key]) != ("target", None)}


@pytest.mark.parametrize("kind", TRAININGS)
def test_every_figure_that_can_be_computed_again_is(copy, kind):
    run = copy(kind)
    edits = altered_figures(run)
    edit_json(run / "summary.json", **edits)
    seal(run)
    found = failures(run)
    assert "files" not in found
    told = " ".join(found.values())
    named = {key for key in edits if f"{key}: " in told or key in found}
    assert set(edits) - named == ({"model_sha256"} if "checksum" in found else set())


@pytest.mark.parametrize("kind", first("target"))
def test_what_cannot_be_computed_again_is_recorded(copy, kind):
    run = copy(kind)
    assert outcomes(run)["files"].outcome == Outcome.UNCHANGED
    summary = json.loads((run / "summary.json").read_text())
    key = next(key for key in RECORDED if isinstance(summary.get(key), float))
    edit_json(run / "summary.json", **{key: 1e9})
    assert set(failures(run)) == {"files"}
    assert "summary.json: not what the run ended with" in failures(run)["files"]


SWAPS = [(k, name) for k in TRAININGS for name in FILES if name != "estimates.npz" or k == "images"]


@pytest.mark.parametrize(
    ("kind", "name"),
    [pytest.param(kind, name, marks=() if kind == "target" else slow) for kind, name in SWAPS],
)
def test_a_file_of_another_run_is_found(short_run, copy, kind, name):
    run = copy(kind)
    shutil.copy(short_run(**KINDS[kind], train=TRAININGS[kind]) / name, run)
    if name == "metrics.csv":
        assert set(failures(run)) == {"files"}
    elif name.endswith(".npz"):
        assert {"files", "arrays" if name == "evaluation.npz" else "bound"} <= set(failures(run))
    else:
        assert any(finding.outcome == Outcome.FAIL for finding in check_run(str(run)))


@slow
@pytest.mark.parametrize("kind", TRAININGS)
def test_each_figure_alone_is_found(copy, kind):
    run = copy(kind)
    whole = (run / "summary.json").read_text()
    for key, value in altered_figures(run).items():
        edit_json(run / "summary.json", **{key: value})
        seal(run)
        assert failures(run), key
        (run / "summary.json").write_text(whole)


LAYOUT = ("axis_1", "axis_2", "deformation_axis_1", "deformation_axis_2", "deformation_k")
LAYOUT = (*LAYOUT, "latent_axes", "manifold_axis")  # where the others are computed


def arrays_by_file(run):
    return {
        name: dict(np.load(run / name))
        for name in ("evaluation.npz", "estimates.npz")
        if (run / name).exists()
    }


def another(array):
    return (array[::-1] + array.std()).astype(array.dtype)


@pytest.mark.parametrize("kind", TRAININGS)
def test_every_array_is_computed_again(copy, kind):
    run = copy(kind)
    expected = set()
    for file, arrays in arrays_by_file(run).items():
        others = {k: a if k in LAYOUT else another(a) for k, a in arrays.items()}
        np.savez(run / file, **others)
        expected |= {f"{file}: {k}:" for k, a in arrays.items() if a.size and k not in LAYOUT}
    seal(run)
    told = " ".join(failures(run).values())
    assert {name for name in expected if name not in told} == set()


@slow
@pytest.mark.parametrize("kind", TRAININGS)
@pytest.mark.parametrize("change", ["missing", "shape", "value"])
def test_every_array_is_looked_at(copy, kind, change):
    run = copy(kind)
    for file, arrays in arrays_by_file(run).items():
        for name, array in arrays.items():
            edited = dict(arrays)
            if change == "missing":
                del edited[name]
            else:
                edited[name] = array[:-1] if change == "shape" else another(array) + 1
            np.savez(run / file, **edited)
            seal(run)
            assert failures(run), name
        np.savez(run / file, **arrays)

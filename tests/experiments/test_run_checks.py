"""What `check` finds: nothing in a sound run; in others each file, figure and array altered."""

import json
import shutil

import numpy as np
import pytest
from checks import edit_config, failures, finding_of, seal
from short_runs import (
    BOX,
    KINDS,
    MIXED,
    RETRAINED,
    SHORT_VAE,
    VAE,
    edit_description,
    edit_json,
    edit_weights,
)

from nflow_cli.evaluation.warnings import records
from nflow_cli.experiments.comparison import Outcome
from nflow_cli.experiments.run import Run
from nflow_cli.experiments.run_checks import check_run
from nflow_cli.runs.directory import signed

slow = pytest.mark.slow

SOUND = {
    **{target: {"target": target, "flow": {"k": 8}} for target in ("u1", "u2", "u3", "u4")},
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
        }
    },
    "early stop": {
        "train": {"steps": 900, "chunk": 10, "batch_size": 64}
        | {"early_stopping": {"patience": 20, "min_delta": 9.0, "cool_down": 20}}
    },
    "restarts": {"train": {"steps": 80, "chunk": 10, "batch_size": 64, "restarts": 3}},
    "trained well": {
        "flow": {"k": 4},
        "train": {"steps": 3_000, "batch_size": 256},
        "evaluate": {"samples": 100_000},
    },
    "images": VAE,
    "images, K = 0": {"command": "train-vae", "flow": {"k": 0}},
    "images, one flow for all": {"command": "train-vae", "flow": {"k": 2, "amortized": False}},
    "images, prior of flows": {**VAE, "prior": {"k": 2}},
}
QUICK = ("mixed", "uniform box", "K = 0", "images")  # a base and a flow of each kind, and none
OF_A_RUN = ["model", "status", "files", "record", "training", "weights", "checksum", "warnings"]
OF_FLOWS = ["invertibility", "log-det", "round trip"]
OF_A_TARGET = ["mass", "summary", "arrays"]
OF_A_PRIOR = ["prior margin", "prior log-det", "prior inverse"]


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=slow) for n in SOUND])
def test_a_sound_run_passes_every_check(short_run, name):
    expected = [*OF_A_RUN, *OF_FLOWS, *OF_A_TARGET]
    if name.startswith("images"):
        of_prior = OF_A_PRIOR if "prior" in name else []
        expected = [*OF_A_RUN, "data", *OF_FLOWS, *of_prior, "bound", "arrays"]
    found = list(check_run(str(short_run(**SOUND[name]))))
    assert [finding.name for finding in found] == expected
    assert [finding for finding in found if finding.outcome == Outcome.FAIL] == []


@pytest.fixture
def copy(short_run, tmp_path, monkeypatch):
    """Return a function that copies a run; what flows are checked for in themselves is left out."""
    monkeypatch.setattr("nflow_cli.experiments.flow_checks.OF_FLOWS", {})
    return lambda kind: shutil.copytree(short_run(**KINDS[kind]), tmp_path / "copy")


@pytest.fixture
def broken(copy):
    return copy("target")


# Edits of one file of a run.


def weights(change):
    return lambda run: edit_weights(run, change)


def config(change):
    return lambda run: edit_config(run, change)


def summary(**changes):
    return lambda run: edit_json(run / "summary.json", **changes)


def written(name, text):
    return lambda run: (run / name).write_text(text)


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


def one_flow_less(run):
    edit_description(run, lambda data: data["config"].update(k=3))


def truncated(run):
    (run / "model.keras").write_bytes((run / "model.keras").read_bytes()[:-200])


@pytest.mark.parametrize(
    ("edit", "name", "words"),
    [
        (weights(lost), "model", "not finite"),
        (weights(nudged), "checksum", "expected SHA-256 "),
        (weights(rounded), "checksum", "expected SHA-256 "),
        (one_flow_less, "model", "k: expected 5, received 3"),
        (truncated, "model", "model.keras"),
        (config(lambda data: data["flow"].update(k=6)), "model", "k"),
        (
            config(lambda data: data["flow"].update(pattern=["radial", "planar"])),
            "model",
            "pattern",
        ),
        (config(lambda data: data.update(flow="planar")), "model", "flow"),
        (config(lambda data: data.clear()), "model", "config.yaml"),
        (config(lambda data: data.update(target={"name": "u1"})), "record", "target"),
        (config(lambda data: data.update(base="uniform-box")), "record", "base"),
        (config(lambda data: data.update(seed=4)), "record", "seed"),
        (config(lambda data: data["train"].update(steps=21)), "record", "config_sha256"),
        (config(lambda data: data["train"].update(learning_rate=0.1)), "record", "config_sha256"),
        (summary(seed=0), "record", "summary.json: seed: expected 3, received 0"),
        (summary(seed="3"), "record", "damaged: seed: "),
        (summary(seed=None), "record", "damaged: seed: "),
        (summary(ess=None), "summary", "ess: "),
        (summary(kl="1.5"), "record", "damaged: kl: "),
        (summary(free_energy=[1.5]), "record", "damaged: free_energy: "),
        (written("summary.json", "{"), "record", "summary.json"),
        (written("summary.json", "[]"), "record", "summary.json"),
        (written("summary.json", "{}"), "record", "summary.json"),
        (written("run.json", json.dumps(signed({}))), "record", "run.json"),
    ],
)
def test_an_edited_file_is_found_and_named(broken, edit, name, words):
    edit(broken)
    finding = finding_of(broken, name)
    assert finding.outcome == Outcome.FAIL and words in finding.detail


@pytest.mark.parametrize(
    ("kind", "change", "expected"),
    [
        ("target", moved, {"checksum", "summary"}),
        ("target", swapped, {"checksum", "summary"}),
        pytest.param("images", moved, {"checksum", "bound"}, marks=slow),
        pytest.param("images", nudged, {"checksum"}, marks=slow),
        pytest.param("images", rounded, {"checksum"}, marks=slow),
        pytest.param("images", lost, {"model"}, marks=slow),
    ],
)
def test_edited_weights_have_other_scores(copy, kind, change, expected):
    run = copy(kind)
    edit_weights(run, change)
    assert set(failures(run)) >= expected


def test_the_checksum_is_of_the_weights_and_not_of_the_file(broken):
    before = (broken / "model.keras").read_bytes()
    edit_weights(broken, lambda weights: weights)
    edit_description(broken, lambda data: data["config"].update(name="another_name"))
    edit_config(broken, lambda data: None)  # laid out otherwise
    assert (broken / "model.keras").read_bytes() != before
    assert failures(broken) == {}


def test_an_edited_warning_fails(broken):
    edit_json(broken / "summary.json", free_energy=1e3)  # far above that of the base
    said = records(Run.open(broken).warnings)
    assert "ruined" in [warning["word"] for warning in said]
    edit_json(broken / "summary.json", warnings=said)
    assert finding_of(broken, "warnings").outcome != Outcome.FAIL
    for edited in (said[1:], [{**said[0], "reason": "in other words"}, *said[1:]]):
        edit_json(broken / "summary.json", warnings=edited)
        assert finding_of(broken, "warnings").outcome == Outcome.FAIL


def test_a_run_that_was_interrupted_fails(broken):
    edit_json(broken / "run.json", status="interrupted")
    assert failures(broken) == {"status": "interrupted"}
    (broken / "summary.json").unlink()
    of_figures = {"warnings", "mass", "summary"}
    of_files = {"status", "files", "record", "training", "checksum"}
    assert set(failures(broken)) == of_files | of_figures


@slow
def test_other_flows_of_a_prior_are_found(short_run, tmp_path):
    run = short_run(**SOUND["images, prior of flows"])
    broken = shutil.copytree(run, tmp_path / "broken")
    edit_weights(broken, lambda weights: [*weights[:-1], weights[-1] + 0.5])  # of the last affine
    assert set(failures(broken)) >= {"checksum", "bound", "arrays"}
    with np.load(run / "evaluation.npz") as arrays:
        np.savez(broken / "evaluation.npz", **{k: arrays[k] for k in arrays if "prior" not in k})
    assert "evaluation.npz: damaged" in failures(broken)["arrays"]


@slow
def test_an_edited_record_of_a_vae_fails(copy):
    broken = copy("images")
    edit_json(broken / "summary.json", negative_elbo=100.0, amortized=False)
    edit_json(broken / "run.json", data={"name": "mnist-sample", "sha256": "0"})
    assert set(failures(broken)) >= {"record", "data", "bound"}
    edit_json(broken / "run.json", data=None)
    assert "data" in failures(broken)


# Any figure that is another, and any file of another run.

# Another training of the same shape, by the same seed.
TRAININGS = {
    "target": RETRAINED["train"],
    "points": RETRAINED["train"],
    "table": RETRAINED["train"],
    "images": {**SHORT_VAE["train"], "learning_rate": 0.003},
}
FOUND_BY = {  # the check that finds a file of another run
    **{"config.yaml": "record", "run.json": "files", "metrics.csv": "files"},
    **{"summary.json": "checksum", "model.keras": "checksum"},
    **{"evaluation.npz": "arrays", "estimates.npz": "bound"},
}
DOMINANT = {
    **{"row": 1, "share": 0.9, "nats": 62.0, "column": None, "column_nats": 62.0},
    "others_log_likelihood": 0.0,
}
OF_NOTHING = {
    **{"best_epoch": 1, "prior": "planar", "given": ["a"], "missed_mode": {"z1": 1.0}},
    "dominant_row": DOMINANT,
    "warnings": [{"word": "dominated", "figures": ["ess"], "reason": "none"}],
}
# To compute these again is to train again.
TIMES = "compile_seconds", "train_seconds", "steps_per_second", "seconds_per_epoch"
RECORDED = *TIMES, "fill_acceptance", "member_seconds"


def kinds(*quick):
    """Return the kinds of run as parameters, slow but for these."""
    return [pytest.param(kind, marks=() if kind in quick else slow) for kind in TRAININGS]


def altered(value, digit):
    """Change a value in one digit, the last that is printed."""
    if isinstance(value, dict):
        known = [key for key in ("sha256", "n", "seed", "reason") if key in value]
        key, digit = (known[0], digit) if known else (next(iter(value)), 1.0)
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


@pytest.mark.parametrize("kind", kinds("target", "table", "images"))
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


@pytest.mark.parametrize("kind", kinds("target"))
def test_what_cannot_be_computed_again_is_recorded(copy, kind):
    run = copy(kind)
    assert finding_of(run, "files").outcome == Outcome.UNCHANGED
    summary = json.loads((run / "summary.json").read_text())
    key = next(key for key in RECORDED if isinstance(summary.get(key), float))
    edit_json(run / "summary.json", **{key: 1e9})
    found = failures(run)
    assert set(found) == {"files"}
    assert "summary.json: SHA-256 not that recorded" in found["files"]


@pytest.mark.parametrize("kind", kinds("target"))
def test_a_file_of_another_run_is_found(short_run, copy, kind):
    run, other = copy(kind), short_run(**KINDS[kind], train=TRAININGS[kind])
    for name, check in FOUND_BY.items():
        if name == "estimates.npz" and kind != "images":
            continue
        whole = (run / name).read_bytes()
        shutil.copy(other / name, run)
        assert finding_of(run, check).outcome == Outcome.FAIL, name
        (run / name).write_bytes(whole)


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


@pytest.mark.parametrize("kind", kinds("target", "images"))
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

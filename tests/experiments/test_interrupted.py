"""What is drawn from a run whose training was interrupted, by its last checkpoint."""

import shutil

import numpy as np
import pytest
from running import read_rows
from short_runs import CELLS, MIXED, VAE, edit_json

import nflow_cli
from nflow_cli.densities.bases import StandardNormal
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.errors import DataError, NflowError, UnfinishedWarning
from nflow_cli.flows import FlowStack
from nflow_cli.runs.checkpoints import Checkpoint, Checkpoints
from nflow_cli.runs.directory import RunDirectory

SIDE_BY_SIDE = {"command": "fit", "train": {"steps": 4, "chunk": 2, "ensemble": 2}}
KINDS = {"target": MIXED, "members": SIDE_BY_SIDE, "cells": CELLS, "images": VAE}
END = "model.keras", "weights.npz", "summary.json", "evaluation.npz"


def interrupted(run, folder, change=lambda saved: saved):
    """Copy a finished run as if it had been killed after its last checkpoint, once changed."""
    shutil.copytree(run, folder)
    for name in END:
        (folder / name).unlink(missing_ok=True)
    edit_json(folder / "run.json", status="interrupted")
    store = Checkpoints(RunDirectory(folder))
    changed = change(store.load())
    for update in (10**6, 10**6 + 1):  # in place of both
        store.save(update, changed)
    return folder


def loaded(run):
    with pytest.warns(UnfinishedWarning) as caught:
        q = nflow_cli.load(run)
    (text,) = (str(one.message) for one in caught if one.category is UnfinishedWarning)
    return q, text


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[] if k == "members" else pytest.mark.slow) for k in KINDS]
)
def test_weights_of_the_end_are_read_from_a_checkpoint_as_from_a_finished_run(
    short_run, tmp_path, kind
):
    run = short_run(**KINDS[kind])
    q, warning = loaded(interrupted(run, tmp_path / "run"))
    finished = nflow_cli.load(run)
    draws = finished.sample(50, seed=3)
    np.testing.assert_array_equal(q.sample(50, seed=3), draws)
    if kind != "images":
        np.testing.assert_array_equal(q.log_prob(draws), finished.log_prob(draws))
    made = 80 if kind == "images" else 4
    which = "best weights so far, by the validation loss"
    which = "weights at that update" if kind in ("target", "images") else which
    assert warning.endswith(
        f"run: interrupted at update {made} of {made}; these are its {which}; "
        f"to go on: nflow resume {tmp_path / 'run'}"
    )


def by_hand(weights):
    flow = FlowStack(["planar", "radial"], 5, seed=3)
    flow.build((None, 2))
    flow.set_weights(weights)
    return FlowDensity(StandardNormal(), flow)


def of_flows(saved):
    return [saved.arrays[f"variable/{i}"] for i in range(6)]


def with_best(saved):
    """Return a checkpoint whose best weights are half its last ones."""
    best = {f"Log/best_weights/{i}": w / 2 for i, w in enumerate(of_flows(saved))}
    return Checkpoint({**saved.arrays, **best}, {**saved.state, "Log": {}})


def with_restarts(kl, saved):
    """Return a checkpoint of restarts 0, 2 and 3, of which the second has a third of the weights.

    The moments of the optimizer are as many.
    """
    arrays = {
        name: np.stack([0 * array, array / 3, array]) if array.ndim else array
        for name, array in saved.arrays.items()
    }
    restarts = {"alive": [0, 2, 3], "kl": kl, "updates": [4, 2, 4, 4]}
    return Checkpoint(arrays, {**saved.state, "Restarts": restarts})


@pytest.mark.parametrize(
    ("change", "share", "which"),
    [
        (lambda saved: saved, 1, "weights at that update; "),
        (with_best, 2, "best weights so far, by the validation loss; "),
        (
            lambda saved: with_restarts([0.3, 0.01, 0.2, None], saved),
            3,
            "weights at that update, of the best of 3 restarts when last compared; ",
        ),
    ],
)
def test_draws_are_those_of_flows_built_by_hand(invoke, short_run, tmp_path, change, share, which):
    run = short_run(**MIXED)
    interrupted(run, tmp_path / "run", change)
    result = invoke("sample", "run", "-n", 30, "-o", "x.csv", "--seed", 4)
    assert (result.exit_code, result.stdout) == (0, "x.csv\n"), result.stderr
    (line,) = result.stderr.splitlines()
    assert line == (
        f"warning: run: interrupted at update 4 of 4; these are its {which}"
        "to go on: nflow resume run"
    )
    rows = np.array([[*map(float, row.values())] for row in read_rows("x.csv")])
    q = by_hand([w / np.float32(share) for w in of_flows(Checkpoints(RunDirectory(run)).load())])
    np.testing.assert_allclose(rows[:, :2], q.sample(30, seed=4), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows[:, 2], q.log_prob(rows[:, :2]), rtol=1e-4, atol=1e-4)


def test_restarts_that_were_never_compared_are_refused(invoke, short_run, tmp_path):
    interrupted(
        short_run(**MIXED), tmp_path / "run", lambda saved: with_restarts([None] * 4, saved)
    )
    result = invoke("sample", "run", "-o", "x.csv")
    assert (result.exit_code, result.stderr) == (
        1,
        "nflow: error: run: interrupted at update 4 of 4, before its restarts were compared; "
        "to go on: nflow resume run\n",
    )


def test_a_density_of_cells_needs_its_table_again(short_run, tmp_path):
    folder = interrupted(short_run(**CELLS), tmp_path / "run")
    record = RunDirectory(folder).read_json("run.json")["data"]
    edit_json(folder / "run.json", data={**record, "sha256": "0" * 64})
    with pytest.raises(DataError, match="not the data of this run"):
        nflow_cli.load(folder)


def test_commands_that_need_scores_refuse_it_still(invoke, short_run, tmp_path):
    interrupted(short_run(**MIXED), tmp_path / "run")
    for command in ("evaluate", "plot", "check"):
        result = invoke(command, "run")
        assert result.exit_code == 1 and "has no model yet" in result.stdout + result.stderr


def of_weights(change):
    return lambda saved: Checkpoint(
        {**saved.arrays, "variable/0": change(saved.arrays["variable/0"])}, saved.state
    )


def large(saved):
    return Checkpoint({**saved.arrays, "more": np.zeros(2**20)}, saved.state)


def of_state(**parts):
    return lambda saved: Checkpoint(saved.arrays, {**saved.state, **parts})


OTHERS = [
    (of_weights(lambda weights: weights[1:]), "checkpoints: damaged: a checkpoint of another"),
    (of_weights(lambda weights: np.nan * weights), "damaged: weights that are not finite"),
    (large, "no intact checkpoint"),
    (of_state(Clock={"updates": []}), "checkpoints: damaged: updates"),
    (of_state(Clock=3), "checkpoints: damaged: updates"),
    (of_state(steps=-1), "checkpoints: damaged: steps"),
    (of_state(Restarts={"alive": [0, 9], "kl": [1.0], "updates": []}), "damaged: expected"),
    (of_state(config={"command": "fit-2d"}), "differs from the config of its checkpoints"),
]


def test_a_checkpoint_of_something_else_or_a_link_is_one_line(short_run, tmp_path, monkeypatch):
    monkeypatch.setattr("nflow_cli.experiments.interrupted.MAX_METRICS", 2**20)
    for number, (change, line) in enumerate(OTHERS):
        folder = interrupted(short_run(**MIXED), tmp_path / f"run-{number}", change)
        with pytest.raises(NflowError, match=line) as caught:
            nflow_cli.load(folder)
        assert len(str(caught.value).splitlines()) == 1
    folder = interrupted(short_run(**MIXED), tmp_path / "run")
    (folder / "checkpoints").rename(tmp_path / "elsewhere")
    (folder / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NflowError, match="a link"):
        nflow_cli.load(folder)

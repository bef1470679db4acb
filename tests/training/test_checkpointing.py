"""Whether a training may go on from a checkpoint: by its config, key by key."""

import json
import shutil

import pytest
from click.testing import CliRunner

from nflow_cli.cli import main
from nflow_cli.runs.checkpoints import Checkpoints
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.checkpointing import Checkpointer
from nflow_cli.training.trainer import Clock

EXTENDED = ["resume", "--steps", "30"]


@pytest.fixture
def trained(short_run):
    return short_run()


def resumed(trained, tmp_path, edit):
    """Edit the state of a run's checkpoints, and extend the run."""
    shutil.copytree(trained, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    saved = Checkpoints(run).load()
    edit(saved.state)
    Checkpoints(run).save(20, saved)
    return CliRunner().invoke(main, [*EXTENDED, str(run.path)])


def without_a_key(state):
    del state["config"]["train"]["halving"]  # which has its default in this run


def test_a_key_that_a_checkpoint_has_not_has_its_default(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("nflow_cli.experiments.drawing.draw", lambda *_: [])
    result = resumed(trained, tmp_path, without_a_key)
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 30


def another_value(state):
    state["config"]["train"]["schedule"] = "constant"


def without_what_the_run_sets(state):
    del state["config"]["train"]["batch_size"]


def no_config(state):
    del state["config"]


def a_list(state):
    state["config"] = ["fit-2d"]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (another_value, "config.yaml: differs from the config of its checkpoints (train.s"),
        (without_what_the_run_sets, "of its checkpoints (train.batch_size); restore it"),
        (no_config, "checkpoints: damaged: a checkpoint's config"),
        (a_list, "checkpoints: damaged: a checkpoint's config"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_by_its_key(trained, tmp_path, edit, expected):
    result = resumed(trained, tmp_path, edit)
    assert (result.exit_code, result.stdout) == (1, "")
    assert expected in result.stderr.splitlines()[-1]


def test_two_states_that_checkpoints_keep_by_one_name_are_refused(trained):
    run = RunDirectory(trained)
    with pytest.raises(ValueError, match="two of Clock"):
        Checkpointer(Checkpoints(run), run.read_config(), 20, [Clock(), Clock()])


def test_a_checkpoint_holds_its_own_config(trained):
    config = Checkpoints(RunDirectory(trained)).load().state["config"]
    assert config["train"]["batch_size"] == 64
    assert "steps" not in config["train"]  # which may change

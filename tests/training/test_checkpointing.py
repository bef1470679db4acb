"""Whether a training may go on from a checkpoint: by its config, key by key."""

import json
import shutil

import pytest
from click.testing import CliRunner

from nflow_cli.cli import main
from nflow_cli.experiments.run import Run
from nflow_cli.runs.checkpoints import Checkpoints
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.observers import Clock
from nflow_cli.training.session import Checkpointer

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
    monkeypatch.setattr("nflow_cli.experiments.run_report.draw", lambda *_: [])
    result = resumed(trained, tmp_path, without_a_key)
    assert result.exit_code == 0, result.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 30


def test_a_checkpoint_of_another_training_is_refused_by_its_key(trained, tmp_path):
    for number, (edit, expected) in enumerate(
        [
            (lambda state: state["config"]["train"].update(schedule="constant"), "train.schedule"),
            (lambda state: state["config"]["train"].pop("batch_size"), "(train.batch_size)"),
            (lambda state: state.pop("config"), "damaged: a checkpoint's config"),
            (lambda state: state.update(config=["fit-2d"]), "damaged: a checkpoint's config"),
        ]
    ):
        result = resumed(trained, tmp_path / str(number), edit)
        assert (result.exit_code, result.stdout) == (1, "")
        assert expected in result.stderr.splitlines()[-1]


def test_a_checkpoint_holds_its_own_config_and_each_state_by_a_name_of_its_own(trained):
    config = Checkpoints(RunDirectory(trained)).load().state["config"]
    assert config["train"]["batch_size"] == 64
    assert "steps" not in config["train"]  # which may change
    run = RunDirectory(trained)
    with pytest.raises(ValueError, match="two of Clock"):
        Checkpointer(Checkpoints(run), Run(run).config, 20, [Clock(), Clock()])

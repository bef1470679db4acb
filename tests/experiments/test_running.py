"""Length of a training by the time of its command, and rows of a large table that fit in it."""

import re

import numpy as np
import pytest

import nflow_cli
from nflow_cli.config import presets
from nflow_cli.deadline import Deadline
from nflow_cli.errors import ConfigError
from nflow_cli.experiments.running import in_time
from nflow_cli.images import vae_training as images_fit
from nflow_cli.inference import reverse_kl_training as infer_fit
from nflow_cli.tables import cells_trial, flows_trial
from nflow_cli.tables.table_data import load
from nflow_cli.training.budget import Cost

LOG_DENSITY = {
    "command": "infer",
    "density": "banana",
    "train": {"steps": 6_000, "chunk": 20},
    "description": "6,000 updates",
}
IMAGES = {"command": "train-vae", "data": "mnist-sample", "train": {"epochs": 40}}
FLOWS = ["planar"]


@pytest.fixture(autouse=True)
def still(monkeypatch):
    """A clock that stands, and no TensorFlow to be started."""
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    monkeypatch.setattr("nflow_cli.experiments.running.start_tensorflow", lambda _: None)


def in_a_minute(monkeypatch, preset, cost, load=lambda config: None):
    """Return the config, and the data, of a minute in which a training has some cost."""
    for of in (infer_fit, images_fit, cells_trial, flows_trial):
        monkeypatch.setattr(of, "trial", lambda *_: cost)
    config = presets.validate(preset, "a test")
    return in_time(config, load(config), None, Deadline(1.0))


@pytest.mark.parametrize(
    ("preset", "key", "least", "minutes"),
    [(LOG_DENSITY, "steps", 20, 6.2), (IMAGES, "epochs", 1, 2.1)],
)
def test_the_length_is_that_of_the_time_and_all_else_as_it_was(
    monkeypatch, capsys, preset, key, least, minutes
):
    config, _ = in_a_minute(monkeypatch, preset, Cost(0.5, 0.0))
    said = {**preset, "train": {**preset["train"], key: 100}, "description": ""}
    assert config == presets.validate(said, "a test")
    text = f"--minutes: --{key} 100, as the run records, about 60 s left\n"
    assert capsys.readouterr().err == text
    seconds = 10 + 88 + least * 12  # a chunk, or an epoch; a tenth more is asked for
    with pytest.raises(ConfigError) as refused:
        in_a_minute(monkeypatch, preset, Cost(12.0, 88.0))
    assert str(refused.value) == (
        f"--minutes 1: expected at least {minutes}: 0 s for reading, building and timing a model, "
        f"and about {seconds} s more for the least training and its scores"
    )


@pytest.mark.parametrize("options", [{}, {"flow": {"k": 2, "pattern": FLOWS}}])
def test_of_a_large_table_as_many_rows_are_drawn_as_leave_half_of_the_time(
    monkeypatch, capsys, tmp_path, options
):
    path = tmp_path / "t.csv"
    rows = np.random.default_rng(0).normal(size=(10_000, 2))
    np.savetxt(path, rows, delimiter=",", header="a,b", comments="")
    preset = {"command": "fit", "data": {"name": str(path), "size": None}, **options}
    cost = Cost(0.01, 85.0, rows=9_000, others_by_row=0.01)  # 25 s of half of 60 - 10 s
    config, data = in_a_minute(monkeypatch, preset, cost, load)
    assert config.data.max_rows == 3_333  # of 10,000: 3,000 training rows
    assert len(data.train) + len(data.validation) + len(data.test) == 3_333
    assert "--minutes: a sample of the rows" in capsys.readouterr().err
    assert config.train.steps == 2_500
    again = load(config)
    assert again.sha256 == data.sha256


def test_a_table_whose_rows_take_less_than_half_of_the_time_is_fitted_whole():
    cost = Cost(0.01, 24.0, rows=9_000, others_by_row=0.0025)
    assert cost.rows_in(60.0) == 9_000
    assert cost.rows_in(50.0) == 7_400
    assert cost.rows_in(20.0) == 2_000  # at least
    assert cost.of_rows(2_000).others == pytest.approx(6.5)


def test_a_time_that_is_too_short_is_refused_and_leaves_no_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(infer_fit, "trial", lambda *_: Cost(1.0, 88.0))
    with pytest.raises(ConfigError, match=re.escape("minutes 1: expected at least ")):
        nflow_cli.infer("banana", minutes=1, output=tmp_path / "run")
    assert not list(tmp_path.iterdir())

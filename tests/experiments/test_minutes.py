import pytest

from nflow_cli.config import presets
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.experiments.minutes import in_time
from nflow_cli.training.budget import Cost, Trial

LOG_DENSITY = {
    "command": "infer",
    "density": "banana",
    "train": {"steps": 6_000, "chunk": 20},
    "description": "6,000 updates",
}
IMAGES = {"command": "train-vae", "data": "mnist-sample", "train": {"epochs": 40}}
COST = Cost(0.5, before=3.0, after=7.0)


def in_a_minute(monkeypatch, preset, cost):
    """Return the length that a config gets for a minute, and its experiment."""
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    monkeypatch.setattr("nflow_cli.experiments.minutes.start_tensorflow", lambda _: None)
    monkeypatch.setattr(Experiment, "trial", lambda *_: Trial(cost, "a model"))
    config = presets.validate(preset, "a test")
    with in_time(config, None, None, 160.0) as experiment:
        return experiment.config.length, experiment


@pytest.mark.parametrize(("preset", "key"), [(LOG_DENSITY, "steps"), (IMAGES, "epochs")])
def test_the_length_is_that_of_the_time_and_all_else_as_it_was(monkeypatch, capsys, preset, key):
    length, experiment = in_a_minute(monkeypatch, preset, COST)
    assert (length, experiment.built) == (100, "a model")
    said = {**preset, "train": {**preset["train"], key: 100}, "description": ""}
    assert experiment.config == presets.validate(said, "a test")
    assert capsys.readouterr().err == (
        f"--minutes: --{key} 100, as the run records, about 60 s left\n"
    )


@pytest.mark.parametrize(("preset", "least", "late"), [(LOG_DENSITY, 20, 4.6), (IMAGES, 1, 0.8)])
def test_the_least_training_is_a_chunk_or_an_epoch(monkeypatch, capsys, preset, least, late):
    length, _ = in_a_minute(monkeypatch, preset, Cost(12.0, after=98.0))
    assert length == least
    text = f"--minutes: about {late:.1f} minutes too few for the least training\n"
    assert capsys.readouterr().err.startswith(text)


def test_without_minutes_the_config_has_the_length():
    config = presets.validate(LOG_DENSITY, "a test")
    with in_time(config, None, None, None) as experiment:
        assert (experiment.config, experiment.built) == (config, None)

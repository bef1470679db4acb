"""What commands and Python say of a run whose training has not ended."""

import pytest
from drawable_runs import written_unfinished
from short_runs import edit_json

import nflow_cli
from nflow_cli.backend import start as backend
from nflow_cli.config import presets
from nflow_cli.errors import RunDirectoryError

FAR = {
    "fit-2d": ("after 20 of 20,000 updates", "csv"),
    "fit": ("after 20 of 4,000 updates", "csv"),
    "train-vae": ("after 20 of 100 epochs", "npy"),
}


@pytest.fixture
def unloaded(monkeypatch):
    """Let nobody start TensorFlow, which takes seconds."""
    monkeypatch.setattr(backend, "start_tensorflow", lambda *_: pytest.fail("TensorFlow"))


def line_of(result):
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    return line.removeprefix("nflow: error: ")


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize("kind", FAR)
def test_an_interrupted_run_names_at_once_how_to_go_on(invoke, tmp_path, kind):
    written_unfinished(tmp_path / "run", kind)
    far, ending = FAR[kind]
    expected = f"run: interrupted {far}, so it has no model yet; to go on: nflow resume run"
    for words in (["sample", "run", "-o", f"x.{ending}"], ["evaluate", "run"], ["plot", "run"]):
        assert line_of(invoke(*words)) == expected
    with pytest.raises(RunDirectoryError) as caught:
        nflow_cli.load("run")
    assert str(caught.value) == expected


def test_the_check_of_an_interrupted_run_names_how_to_go_on(invoke, tmp_path):
    written_unfinished(tmp_path / "run", "fit")
    result = invoke("check", "run")
    assert result.exit_code == 1 and result.stderr == "nflow: error: run: 1 of 1 checks failed\n"
    words = " ".join(result.stdout.split())
    assert words == (
        "FAIL model run: interrupted after 20 of 4,000 updates, so it has no model yet; "
        "to go on: nflow resume run"
    )


@pytest.mark.usefixtures("unloaded")
def test_a_function_is_named_again_in_the_way_on_of_an_infer_run(invoke, tmp_path):
    written_unfinished(tmp_path / "run", "fit-2d")
    density = {"name": "log_p", "path": "my models/m.py", "sha256": "0" * 64, "dim": 3}
    config = presets.validate({"command": "infer", "density": density}, "test")
    (tmp_path / "run" / "config.yaml").write_text(presets.dump(config))
    (tmp_path / "run" / "metrics.csv").unlink()
    assert line_of(invoke("sample", "run", "-o", "x.csv")) == (
        "run: interrupted after 0 of 6,000 updates, so it has no model yet; to go on: "
        "nflow resume run --density 'my models/m.py:log_p'"
    )


@pytest.mark.usefixtures("unloaded")
def test_a_run_in_training_and_one_that_diverged_have_no_way_on_by_resume(invoke, tmp_path):
    run = written_unfinished(tmp_path / "run", "fit-2d")
    with run.locked():
        assert line_of(invoke("evaluate", "run")) == (
            "run: still in training after 20 of 20,000 updates, so it has no model yet; it has one "
            "at its end"
        )
    edit_json(run.path / "run.json", status="diverged")
    assert line_of(invoke("evaluate", "run")) == (
        "run: diverged after 20 of 20,000 updates, so it has no model yet; train again with a "
        "smaller train.learning_rate"
    )

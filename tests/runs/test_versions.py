"""Which runs a version reads: of its format, and of a development version only its own."""

import pytest
from drawable_runs import written_run
from short_runs import edit_json

import nflow_cli
from nflow_cli.errors import RunDirectoryError
from nflow_cli.runs import directory
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.sweeps import plan

REFUSED = [  # what the record is changed to, and what is named
    ({"format": 4}, ("format 4, which nflow ", "of format 6: train it again")),
    ({"versions": {"nflow-cli": "0.1.0.dev999"}}, ("0.1.0.dev999", nflow_cli.__version__)),
]
COMMANDS = [
    *("plot run", "sample run -o drawn.csv", "evaluate run", "check run", "resume run"),
    *("resume run --steps 30000", "report run", "compare run other"),
]


@pytest.fixture(params=REFUSED)
def refused(request, invoke, tmp_path):
    """Return a run that this version does not read, beside one that it does; and what is named."""
    changes, named = request.param
    written_run(tmp_path / "other", "fit-2d")
    run = written_run(tmp_path / "run", "fit-2d")
    edit_json(run.path / "run.json", **changes)
    return run, named


def assert_refused(result, path, named):
    """Check that a command printed one line, of a file and of versions."""
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"nflow: error: {path}: ") and line.endswith(": train it again")
    assert all(name in line for name in named)


def test_every_command_and_python_refuse_the_run_of_another_version(refused, invoke):
    run, named = refused
    before = {path: path.read_bytes() for path in run.path.rglob("*")}
    for words in COMMANDS:
        assert_refused(invoke(*words.split()), "run/run.json", named)
    with pytest.raises(RunDirectoryError, match=named[0]):
        nflow_cli.load("run")
    assert {path: path.read_bytes() for path in run.path.rglob("*")} == before


def test_a_sweep_does_not_train_again_what_another_version_finished(refused, invoke):
    run, named = refused
    folder = run.path.with_name("sweep")
    sweep = plan.resolve({"command": "sweep", "presets": ["u1-planar-k2"]}, "a test", folder)
    plan.claim(RunDirectory.at(str(folder)), sweep)
    run.path.rename(folder / "u1-planar-k2")
    (folder / "u1-planar-k2" / "config.yaml").write_text("command: fit-2d\nkey: of another\n")
    words = ("sweep", "sweep/sweep.yaml", "--output", "sweep")
    for line in ((*words, "--only", "u1-planar-k2"), ("compare", "sweep")):
        assert_refused(invoke(*line), "sweep/u1-planar-k2/run.json", named)
    result = invoke(*words)
    assert result.exit_code == 1 and named[0] in result.stderr
    assert "1 of 1 runs failed" in result.stderr


@pytest.mark.parametrize(
    ("writer", "reader", "reads"),
    [
        ("0.1.0.dev1", "0.1.0.dev1", True),
        ("0.1.0.dev1", "0.1.0.dev2", False),
        ("0.1.0.dev1", "0.1.0", False),
        ("0.1.0", "0.2.0.dev2", True),
        ("0.1.0", "0.2.0", True),
        ("0.2.0", "0.1.0", True),
    ],
)
def test_releases_read_each_others_runs_of_their_format(monkeypatch, writer, reader, reads):
    monkeypatch.setattr(directory, "__version__", reader)
    record = {"format": directory.FORMAT, "versions": {"nflow-cli": writer}}
    if reads:
        directory.expect_readable("run.json", record)
        return
    with pytest.raises(RunDirectoryError, match=f"written by nflow {writer}; this is {reader}"):
        directory.expect_readable("run.json", record)


def test_a_run_records_the_version_that_wrote_it(tmp_path):
    run = RunDirectory.create("any", str(tmp_path / "run"))
    with run.recorded({"versions": {"python": "3"}}):
        pass
    recorded = run.read_json("run.json")["versions"]
    assert recorded == {"nflow-cli": nflow_cli.__version__, "python": "3"}
    RunDirectory.open(str(run.path))

"""Which runs a version reads: of its format, and of a development version only its own."""

import pytest
from drawable_runs import written_run
from short_runs import edit_json

import nflow_cli
from nflow_cli.errors import RunDirectoryError
from nflow_cli.runs import versions
from nflow_cli.runs.directory import RunDirectory

OTHER = {"nflow-cli": "0.1.0.dev999"}
REFUSED = {
    "another format": (
        {"format": 3},
        "a run of format 3, of an earlier version of nflow; this one reads format 4 of "
        f"{nflow_cli.__version__}: train it again",
    ),
    "another version": (
        {"versions": OTHER},
        f"written by nflow 0.1.0.dev999; this is {nflow_cli.__version__}, and a development "
        "version's runs are read by no other: train it again",
    ),
}
COMMANDS = [
    *("plot run", "sample run -o drawn.csv", "evaluate run", "check run", "resume run"),
    *("resume run --steps 30000", "report run", "compare run other"),
]


@pytest.fixture(params=REFUSED)
def refused(request, invoke, tmp_path):
    """Return a run that this version does not read, beside one that it does; and why."""
    changes, why = REFUSED[request.param]
    written_run(tmp_path / "other", "fit-2d")
    run = written_run(tmp_path / "run", "fit-2d")
    edit_json(run.path / "run.json", **changes)
    return run, f"run/run.json: {why}"


def test_every_command_and_python_refuse_the_run_of_another_version(refused, invoke):
    run, why = refused
    before = {path: path.read_bytes() for path in run.path.rglob("*")}
    for words in COMMANDS:
        result = invoke(*words.split())
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == f"nflow: error: {why}\n"
    with pytest.raises(RunDirectoryError) as caught:
        nflow_cli.load("run")
    assert str(caught.value) == why
    assert {path: path.read_bytes() for path in run.path.rglob("*")} == before


def test_a_sweep_does_not_train_again_what_another_version_finished(refused, invoke):
    run, why = refused
    folder = run.path.with_name("sweep")
    folder.mkdir()
    run.path.rename(folder / "u1-planar-k2")
    (folder / "u1-planar-k2" / "config.yaml").write_text("command: fit-2d\nkey: of another\n")
    (folder / "sweep.yaml").write_text("command: sweep\npresets: [u1-planar-k2]\n")
    said = why.replace("run/", "sweep/u1-planar-k2/", 1)
    sweep = ("sweep", "sweep/sweep.yaml", "--output", "sweep")
    result = invoke(*sweep, "--only", "u1-planar-k2")
    assert (result.exit_code, result.stderr) == (1, f"nflow: error: {said}\n")
    result = invoke(*sweep)
    assert result.exit_code == 1 and said in result.stderr
    assert "1 of 1 runs failed" in result.stderr
    result = invoke("compare", "sweep")
    assert (result.exit_code, result.stderr) == (1, f"nflow: error: {said}\n")


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
    monkeypatch.setattr(versions, "__version__", reader)
    record = {"format": versions.FORMAT, "versions": {"nflow-cli": writer}}
    if reads:
        versions.expect_readable("run.json", record)
        return
    with pytest.raises(RunDirectoryError, match=f"written by nflow {writer}; this is {reader}"):
        versions.expect_readable("run.json", record)


def test_a_run_records_the_version_that_wrote_it(tmp_path):
    run = RunDirectory.create("any", str(tmp_path / "run"))
    with run.recorded({"versions": {"python": "3"}}):
        pass
    recorded = run.read_json("run.json")["versions"]
    assert recorded == {"nflow-cli": nflow_cli.__version__, "python": "3"}
    RunDirectory.open(str(run.path))

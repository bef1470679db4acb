"""Real links, named pipes and folders where a run should hold plain files."""

import os
import socket
import subprocess
import sys

import pytest

from nflow_cli.errors import RunDirectoryError
from nflow_cli.experiments.run import Run, plain_preset
from nflow_cli.runs.checkpoints import Checkpoint, Checkpoints
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.sweeps import plan


def link_to_a_file(path, aside):
    path.symlink_to(aside / "victim.txt")


def link_to_nothing(path, aside):
    path.symlink_to(aside / "nowhere")


def bound_socket(path, aside):
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # a path longer than 108 bytes is none of a socket
        server.bind(path.name)


FORMS = [
    ("a link", link_to_a_file),
    ("a link", link_to_nothing),
    ("a named pipe", lambda path, aside: os.mkfifo(path)),
    ("a folder", lambda path, aside: path.mkdir()),
    ("a socket", bound_socket),
]


@pytest.fixture
def aside(tmp_path, monkeypatch):
    """Return a folder outside of the run whose content must not change."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "aside"
    folder.mkdir()
    for name in ("victim.txt", "000000000007.npz", "mine.npz", ".nflow-abcdefgh.keras"):
        (folder / name).write_text("precious")
    yield folder
    contents = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(contents.values()) == {"precious"} and len(contents) == 4


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create("any", str(tmp_path / "run"))


def complaint(function, *args):
    with pytest.raises(RunDirectoryError) as caught:
        function(*args)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


USES = {
    "config.yaml": [lambda run: Run(run).config],
    "sweep.yaml": [lambda run: plain_preset(run, "sweep.yaml")],
    "run.json": [
        lambda run: RunDirectory.open(str(run.path)),
        lambda run: run.recorded({}).__enter__(),
    ],
    "summary.json": [lambda run: run.read_json("summary.json")],
    "evaluation.npz": [lambda run: run.read_arrays("evaluation.npz", {}), RunDirectory.checksums],
    "estimates.npz": [lambda run: run.read_arrays("estimates.npz", {})],
    "metrics.csv": [
        RunDirectory.read_metrics,
        lambda run: run.metrics_writer().__enter__(),
        lambda run: run.metrics_writer(0).__enter__(),
        RunDirectory.sync_metrics,
    ],
    ".lock": [lambda run: run.locked().__enter__()],
    "log.txt": [lambda run: run.open_log().__enter__()],
}


@pytest.mark.parametrize("name", USES)
def test_only_a_plain_file_of_a_run_is_opened(tmp_path, aside, name):
    for number, (form, put) in enumerate(FORMS):
        run = RunDirectory.create("any", str(tmp_path / f"run-{number}"))
        put(run.path / name, aside)
        for use in USES[name]:
            expected = f"{run.path / name}: {form}; expected a plain file"
            assert complaint(use, run) == expected


def test_what_is_written_whole_takes_the_place_of_a_link(run, aside):
    for name in ("config.yaml", "run.json", "summary.json", "metrics.csv"):
        link_to_a_file(run.path / name, aside)
        run.write_text(name, "new")
        assert (run.path / name).read_text() == "new"
        assert not (run.path / name).is_symlink()


def test_the_folder_that_the_user_names_may_be_a_link(run, tmp_path):
    (tmp_path / "latest").symlink_to(run.path)
    same = RunDirectory.create("any", str(tmp_path / "latest"))
    with same.locked(), same.recorded({}), same.metrics_writer() as add:
        add({"update": 1})
        same.write("plots/density.png", lambda file: file.write(b"new"))
    assert RunDirectory.open(str(tmp_path / "latest")).read_metrics()["update"] == [1]


def test_a_folder_of_a_run_that_is_a_link_is_not_written_to(run, aside):
    store = Checkpoints(run, print)
    for name in ("plots", "checkpoints"):
        (run.path / name).symlink_to(aside)
    for name, use in (
        ("plots", lambda: run.write("plots/victim.txt", lambda file: None)),
        ("checkpoints", lambda: store.save(1, Checkpoint({}, {}))),
        ("checkpoints", store.load),
    ):
        assert complaint(use) == f"{run.path / name}: a link; expected a folder"
    with run.locked():  # which removes what is unfinished
        pass


def test_checkpoints_that_are_no_longer_kept_are_removed_and_nothing_else(run, aside):
    store = Checkpoints(run, print)
    store.save(1, Checkpoint({}, {}))
    checkpoints = run.path / "checkpoints"
    (checkpoints / "mine.npz").write_text("mine")
    (checkpoints / "000000000000.npz").symlink_to(aside / "000000000007.npz")
    for update in (2, 3):
        store.save(update, Checkpoint({}, {}))
    assert sorted(path.name for path in checkpoints.iterdir()) == [
        *("000000000000.npz", "000000000002.npz", "000000000003.npz", "manifest.json", "mine.npz")
    ]


KILLED = """
import os, sys
from pathlib import Path
from nflow_cli.runs.directory import RunDirectory
def die(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), 9)
RunDirectory(Path(sys.argv[1])).write(sys.argv[2], die)
"""


def test_what_a_killed_process_left_unfinished_goes_with_the_next_lock(run, aside):
    """Plain files alone, and those alone that nflow wrote."""
    others = {".mine.keras", ".nflow-notes.txt", "nflow-abcdefgh.png", ".nflow-abcdefgh.keras"}
    for name in ("model.keras", "plots/density.png", "checkpoints/manifest.json"):
        subprocess.run([sys.executable, "-c", KILLED, run.path, name])
        folder = (run.path / name).parent
        assert [path.read_text() for path in folder.iterdir() if path.is_file()] == ["half"]
        for other in others - {".nflow-abcdefgh.keras"}:
            (folder / other).touch()
        (folder / ".nflow-abcdefgh.keras").symlink_to(aside / "victim.txt")
        (folder / ".nflow-folder00.npz").mkdir()
    with run.locked():
        pass
    for name in ("", "plots", "checkpoints"):
        kept = {path.name for path in (run.path / name).iterdir()} - {"plots", "checkpoints"}
        assert kept == others | {".nflow-folder00.npz"}


def test_no_command_waits_for_a_named_pipe(invoke, run):
    with run.recorded({"command": "fit-2d"}):
        pass
    os.mkfifo(run.path / "config.yaml")
    line = f"{run.path / 'config.yaml'}: a named pipe; expected a plain file"
    for command in ("check", "compare", "evaluate", "plot", "resume", "sample -o p.csv"):
        result = invoke(*command.split(), run.path)
        assert result.exit_code == 1 and line in result.stdout + result.stderr, command


def test_a_run_of_a_sweep_is_no_link_to_a_run_elsewhere(invoke, run, tmp_path):
    """It would be written to."""
    with run.recorded({"command": "fit-2d"}):
        pass
    data = {"command": "sweep", "presets": ["u1-planar-k2"]}
    folder = RunDirectory.at(str(tmp_path / "sweep"))
    plan.claim(folder, plan.resolve(data, "a test", tmp_path))
    (folder.path / "u1-planar-k2").symlink_to(run.path)
    expected = f"{folder.path / 'u1-planar-k2'}: a link; expected a folder"
    result = invoke("compare", folder.path)
    assert (result.exit_code, result.stderr) == (1, f"nflow: error: {expected}\n")
    result = invoke("sweep", "--preset", "u1-planar-k2", "--output", folder.path)
    assert result.exit_code == 1 and expected in result.stderr
    assert [path.name for path in run.path.iterdir()] == ["run.json"]

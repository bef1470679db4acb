import errno
import hashlib
import io
import json
import os
import pickle
import stat
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest

from nflow_cli.errors import DivergenceError, NflowError, RunDirectoryError
from nflow_cli.runs import directory
from nflow_cli.runs.directory import RunDirectory


@pytest.fixture
def run(tmp_path):
    return RunDirectory.create("some-preset", str(tmp_path / "run"))


def complaint(function, *args):
    with pytest.raises(RunDirectoryError) as caught:
        function(*args)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_runs_are_named_by_their_time_and_preset_each_in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = RunDirectory.create("u1-planar-k8").path
    assert path.is_dir() and path.match("outputs/[0-9]*-[0-9]*-u1-planar-k8")
    monkeypatch.setattr(directory.time, "strftime", lambda _: "20260102-030405")
    stem = "20260102-030405-u1-planar-k8"
    made = [RunDirectory.create("u1-planar-k8").path.name for _ in range(3)]
    assert made == [stem, f"{stem}-2", f"{stem}-3"]


def test_output_may_be_new_nested_or_empty_and_nothing_else(tmp_path, monkeypatch):
    for path in (tmp_path / "new", tmp_path / "a" / "b", tmp_path / "new"):
        assert RunDirectory.create("any", str(path)).path == path
        assert path.is_dir()
    (tmp_path / "new" / ".hidden").touch()
    (tmp_path / "file").touch()
    for below in ("new", "file", "file/run", "file/a/b", 300 * "a"):
        path = tmp_path / below
        assert complaint(RunDirectory.create, "any", str(path)).startswith(f"{path}: ")
    assert names(tmp_path) == ["a", "file", "new"] and names(tmp_path / "new") == [".hidden"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").touch()
    assert complaint(RunDirectory.create, "any").startswith("outputs: ")


def test_a_run_says_what_it_was_trained_on_each_time_that_it_moved(run):
    processor, gpu = {"device": "cpu", "threads": 2}, {"device": "gpu:0", "card": "H100"}
    for machine in (processor, processor, gpu, processor):
        with run.recorded({"machines": [machine]}):
            pass
    assert run.read_json("run.json")["machines"] == [processor, gpu, processor]
    run.write_json("run.json", {**run.read_json("run.json"), "machines": "none"})
    with run.recorded({"machines": [gpu]}):
        pass
    assert run.read_json("run.json")["machines"] == [gpu]


def test_only_a_folder_with_a_run_in_it_opens(tmp_path, run):
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path / "nowhere", "no such run directory"),
        (tmp_path / "file", "no such run directory"),
        (tmp_path / (300 * "a"), "name too long"),
        (run.path, "no run.json"),
    ):
        assert why in complaint(RunDirectory.open, str(path))
    with run.recorded({}):
        pass
    assert RunDirectory.open(str(run.path)).path == run.path


def test_a_run_of_a_newer_nflow_or_of_something_else_does_not_open(run):
    path = run.path / "run.json"
    for content, why in (
        (b'{"format": 7}', "format 7, written by a newer nflow; this one reads 6"),
        (b'{"format": 0}', "damaged: expected a format number"),
        (b'{"format": "1"}', "damaged: expected a format number"),
        (b'{"format": [1]}', "damaged: expected a format number"),
        (b'{"format": 1' + 5000 * b"0" + b"}", "damaged: expected numbers of at most 300 digits"),
        (b'{"name": "some other tool"}', "damaged: expected a format number"),
        (b'{"format": 6}', "damaged: expected the version of nflow-cli"),
        (b'{"format": 6, "versions": {"nflow-cli": 1}}', "damaged: expected the version of nflow-"),
        (b"", "damaged: expected a JSON object"),
    ):
        path.write_bytes(content)
        assert complaint(RunDirectory.open, str(run.path)).startswith(f"{path}: {why}")


def test_a_file_is_replaced_whole_or_not_at_all(run):
    def fill(file):
        file.write(b"half of the n")
        raise RuntimeError("the power went")

    run.write_text("config.yaml", "old")
    with pytest.raises(RuntimeError, match="the power went"):
        run.write("config.yaml", fill)
    assert (run.path / "config.yaml").read_text() == "old"
    run.write_text("config.yaml", "new")
    assert (run.path / "config.yaml").read_text() == "new"
    assert names(run.path) == ["config.yaml"]


@pytest.mark.parametrize("umask", [0o077, 0o002])
def test_a_file_has_the_permissions_of_the_umask_and_keeps_its_own(run, umask):
    before = os.umask(umask)
    try:
        path = run.write_text("config.yaml", "new")
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
        path.chmod(0o640)
        run.write("config.yaml", lambda file: expect_private(run.path, file))
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    finally:
        os.umask(before)


def expect_private(folder, file):
    """Check that nobody else can read a file that is not yet whole."""
    (unfinished,) = (path for path in folder.iterdir() if path.name.startswith("."))
    assert stat.S_IMODE(unfinished.stat().st_mode) == 0o600


def test_a_folder_that_is_gone_is_explained_and_not_made_again(run):
    run.path.rmdir()
    for write in (
        lambda: run.write_text("config.yaml", ""),
        lambda: run.locked().__enter__(),
        lambda: run.write("plots/density.png", lambda file: None),
        lambda: run.metrics_writer().__enter__(),
    ):
        assert str(run.path) in complaint(write)
    assert not run.path.exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "completed"),
        (DivergenceError("loss nan"), "diverged"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(143), "interrupted"),
        (NflowError("bad target"), "interrupted"),
    ],
)
def test_the_status_of_a_run_says_how_it_ended(run, error, status):
    raised = pytest.raises(type(error)) if error else nullcontext()
    with raised, run.recorded({"command": "fit-2d", "seed": 0}):
        assert run.read_json("run.json")["status"] == "running"
        if error:
            raise error
    record = run.read_json("run.json")
    assert (record["status"], record["format"]) == (status, 6)
    assert (record["command"], record["seed"]) == ("fit-2d", 0)
    assert record["end_seconds"] >= record["start_seconds"]


def test_a_completed_run_says_the_sha256_of_what_it_ended_with_until_it_goes_on(run):
    with run.recorded({}):
        run.write_json("summary.json", {"kl": 1.0})
    content = (run.path / "summary.json").read_bytes()
    expected = {"summary.json": hashlib.sha256(content).hexdigest()}
    assert run.read_json("run.json")["files"] == run.checksums() == expected
    with pytest.raises(KeyboardInterrupt), run.recorded({}):
        assert "files" not in run.read_json("run.json")
        raise KeyboardInterrupt
    assert "files" not in run.read_json("run.json")
    with run.recorded({}):
        run.write_arrays("evaluation.npz", {"axis_1": np.zeros(3)})
    assert set(run.read_json("run.json")["files"]) == {"summary.json", "evaluation.npz"}


def test_a_disk_that_fills_up_does_not_hide_how_a_run_ended(run, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DivergenceError), run.recorded({}):
        monkeypatch.setattr(os, "fsync", fail)
        raise DivergenceError("loss nan")
    assert run.read_json("run.json")["status"] == "running"
    monkeypatch.undo()
    with pytest.raises(RunDirectoryError), run.recorded({}):
        monkeypatch.setattr(os, "fsync", fail)


def test_arguments_that_are_not_utf8_and_figures_that_are_not_finite_are_in_json(run):
    record = {"argv": [os.fsdecode(b"caf\xe9"), "β"]}
    run.write_json("run.json", record)
    assert run.read_json("run.json") == record
    values = {"kl": float("nan"), "ess": np.float64("inf"), "mass": 1.0, "k": 8, "log_z": None}
    run.write_json("summary.json", values)
    text = (run.path / "summary.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == values | {"kl": None, "ess": None}
    assert run.read_json("summary.json")["mass"] == 1.0
    (run.path / "run.json").write_text('{"a": [NaN, -Infinity, 1e999, 1.5, 1e-999, -2]}')
    assert run.read_json("run.json") == {"a": [None, None, None, 1.5, 0.0, -2]}


def test_metrics_are_appended_under_one_header(run):
    for rows in ([(1, 0.5), (2, 1.0)], [(3, float("nan"))]):
        with run.metrics_writer() as add:
            for update, loss in rows:
                add({"update": update, "loss": loss})
                assert (run.path / "metrics.csv").read_text().endswith(f"{update},{loss}\n")
    metrics = run.read_metrics()
    assert list(metrics) == ["update", "loss"]
    np.testing.assert_array_equal(metrics["update"], [1, 2, 3])
    np.testing.assert_array_equal(metrics["loss"], [0.5, 1.0, np.nan])


def test_the_arrays_of_the_evaluation_come_back(run):
    arrays = {"axis_1": np.linspace(0, 1, 5), "deformation_k": np.arange(3)}
    run.write_arrays("evaluation.npz", arrays)
    back = run.read_arrays("evaluation.npz", {"axis_1": "x", "deformation_k": "k"})
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


def evaluation(run):
    return run.read_arrays("evaluation.npz", {"a": "n"})


def saved(save, *args, **kwargs):
    file = io.BytesIO()
    save(file, *args, **kwargs)
    return file.getvalue()


class Trap:
    def __reduce__(self):
        return pytest.fail, ("code from the file was run",)


ARRAYS = saved(np.savez_compressed, a=np.arange(1000.0))
OBJECTS = saved(np.savez, a=np.array([{"any": "object"}], dtype=object))
HUGE_HEADER = saved(
    np.lib.format.write_array_header_1_0,
    {"descr": "<f8", "fortran_order": False, "shape": (2**40,)},
)


def zipped(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def flipped(content):
    middle = len(content) // 2
    wrong = bytes(255 - byte for byte in content[middle : middle + 8])
    return content[:middle] + wrong + content[middle + 8 :]


READ = {"evaluation.npz": evaluation, "metrics.csv": RunDirectory.read_metrics} | {
    name: lambda run, name=name: run.read_json(name) for name in ("summary.json", "run.json")
}


DAMAGED = {
    "evaluation.npz": [
        *(b"", b"not an archive", ARRAYS[:-30], ARRAYS[:100], flipped(ARRAYS), OBJECTS),
        *(saved(np.save, np.zeros(3)), pickle.dumps(Trap())),
        *(zipped("a.npy", b"\x93NUMPY\x01\x00"), zipped("a.npy", HUGE_HEADER)),
        zipped("a\nb.npy", saved(np.save, np.zeros(3))),
        zipped("a.npy", saved(np.save, Trap(), allow_pickle=True)),
        *(saved(np.savez, a=np.zeros(2, t)) for t in ("U4", "c16", "M8[s]", [("x", float)])),
    ],
    "metrics.csv": [
        *(b"", b"\r\n", b"update,loss\r\n", b"update,loss\r\n\r\n\r\n", b"\xff\xfe\x00\x01"),
        *(b"update,loss\r\n" + rows for rows in (b"1,0.5\r\n2", b"1,abc\r\n", b"1,2,3\r\n")),
    ],
    "summary.json": [b"", b'{"kl": 0.', b"[1, 2]", b"\xff\xfe", 100_000 * b"["],
    "run.json": [b"null"],
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, content) for name in DAMAGED for content in DAMAGED[name]]
)
def test_a_damaged_file_is_named_and_no_code_in_it_runs(run, name, content):
    (run.path / name).write_bytes(content)
    assert complaint(READ[name], run).startswith(f"{run.path / name}: damaged")


@pytest.mark.parametrize(
    ("name", "limit"),
    [("evaluation.npz", 2**30), ("metrics.csv", 256 * 2**20), ("summary.json", 16 * 2**20)],
)
def test_a_missing_or_vast_file_is_refused_unread(run, name, limit, monkeypatch):
    assert complaint(READ[name], run).startswith(f"{run.path / name}: missing")
    with open(run.path / name, "wb") as file:
        file.truncate(limit + 1)  # takes no room on the disk
    monkeypatch.setattr(io, "FileIO", type("Unread", (io.FileIO,), {"readall": None}))
    line = complaint(READ[name], run)
    assert line == f"{run.path / name}: damaged: expected at most {limit:,} bytes"


def test_arrays_that_would_fill_the_memory_are_refused_packed(run):
    def bomb(file):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for i in range(3):
                with archive.open(f"a{i}.npy", "w") as member:
                    member.write(bytes(10**6))
            for info in archive.filelist:
                info.file_size = 10**9  # what a gigabyte of zeros would say

    run.write("evaluation.npz", bomb)
    line = complaint(run.read_arrays, "evaluation.npz", {f"a{i}": "n" for i in range(3)})
    assert line.endswith("at most 2,147,483,648 bytes uncompressed, received 3,000,000,000")

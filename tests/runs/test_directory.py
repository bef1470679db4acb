import errno
import hashlib
import io
import json
import os
import pickle
import zipfile

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


def test_runs_started_in_the_same_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(directory.time, "strftime", lambda _: "20260102-030405")
    for _ in range(3):
        RunDirectory.create("u1-planar-k8")
    stem = "20260102-030405-u1-planar-k8"
    assert names(tmp_path / "outputs") == [stem, f"{stem}-2", f"{stem}-3"]


def test_a_run_is_named_by_its_time_and_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = RunDirectory.create("u1-planar-k8").path
    assert path.is_dir()
    assert path.match("outputs/[0-9]*-[0-9]*-u1-planar-k8")


def test_output_may_be_new_nested_or_empty(tmp_path):
    for path in (tmp_path / "new", tmp_path / "a" / "b", tmp_path / "new"):
        assert RunDirectory.create("any", str(path)).path == path
        assert path.is_dir()


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


def test_output_must_not_hold_anything(tmp_path):
    (tmp_path / ".hidden").touch()
    assert complaint(RunDirectory.create, "any", str(tmp_path)).startswith(f"{tmp_path}: not empty")
    assert names(tmp_path) == [".hidden"]


@pytest.mark.parametrize("below", ["file", "file/run", "file/a/b", 300 * "a"])
def test_an_output_that_cannot_be_made_is_named(tmp_path, below):
    (tmp_path / "file").touch()
    path = tmp_path / below
    assert complaint(RunDirectory.create, "any", str(path)).startswith(f"{path}: ")


def test_outputs_that_is_a_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").touch()
    assert complaint(RunDirectory.create, "any").startswith("outputs: ")


def test_only_a_folder_with_a_run_in_it_opens(tmp_path, run):
    assert "no such run directory" in complaint(RunDirectory.open, str(tmp_path / "nowhere"))
    assert "it has no run.json" in complaint(RunDirectory.open, str(run.path))
    assert "name too long" in complaint(RunDirectory.open, str(tmp_path / (300 * "a")))
    (tmp_path / "file").touch()
    assert "no such run directory" in complaint(RunDirectory.open, str(tmp_path / "file"))
    with run.recorded({}):
        pass
    assert RunDirectory.open(str(run.path)).path == run.path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"format": 4}', "format 4, written by a newer nflow; this one reads 3"),
        (b'{"format": 0}', "damaged: expected a format number"),
        (b'{"format": "1"}', "damaged: expected a format number"),
        (b'{"format": [1]}', "damaged: expected a format number"),
        (b'{"format": 1' + 5000 * b"0" + b"}", "damaged: expected numbers of at most 300 digits"),
        (b'{"name": "some other tool"}', "damaged: expected a format number"),
        (b'{"format": 3}', "damaged: expected the version of nflow-cli"),
        (
            b'{"format": 3, "versions": {"nflow-cli": 1}}',
            "damaged: expected the version of nflow-cli",
        ),
        (b"", "damaged: expected a JSON object"),
    ],
)
def test_a_run_of_a_newer_nflow_or_of_something_else_does_not_open(run, content, expected):
    (run.path / "run.json").write_bytes(content)
    line = complaint(RunDirectory.open, str(run.path))
    assert line == f"{run.path / 'run.json'}: {expected}"


def test_a_file_is_replaced_whole_or_not_at_all(run):
    run.write_text("config.yaml", "old")

    def fill(file):
        file.write(b"half of the n")
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        run.write("config.yaml", fill)
    assert (run.path / "config.yaml").read_text() == "old"
    assert names(run.path) == ["config.yaml"]
    run.write_text("config.yaml", "new")
    assert (run.path / "config.yaml").read_text() == "new"
    assert names(run.path) == ["config.yaml"]


def test_a_folder_that_is_gone_is_explained_and_not_made_again(run):
    run.path.rmdir()
    for write in (
        lambda: run.write_text("config.yaml", ""),
        lambda: run.locked().__enter__(),
        lambda: run.write_plot("density", "png", lambda file: None),
        lambda: run.write_model(lambda path: None),
        lambda: run.metrics_writer().__enter__(),
    ):
        assert str(run.path) in complaint(write)
    assert not run.path.exists()


def test_a_model_that_fails_to_save_leaves_nothing_behind(run):
    def save(path):
        with open(path, "w") as file:
            file.write("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        run.write_model(save)
    assert names(run.path) == []


def test_files_are_readable_by_others(run):
    assert run.write_text("config.yaml", "").stat().st_mode & 0o777 == 0o644


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
    def block():
        with run.recorded({"command": "fit-2d", "seed": 0}):
            assert run.read_json("run.json")["status"] == "running"
            if error:
                raise error

    if error:
        with pytest.raises(type(error)):
            block()
    else:
        block()
    record = run.read_json("run.json")
    assert (record["status"], record["format"]) == (status, 3)
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
        run.write_evaluation({"axis_1": np.zeros(3)})
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


def test_an_argument_that_is_not_utf8_comes_back_from_json(run):
    record = {"argv": [os.fsdecode(b"caf\xe9"), "β"]}
    run.write_json("run.json", record)
    assert run.read_json("run.json") == record


def test_a_figure_that_is_not_finite_becomes_null(run):
    values = {"kl": float("nan"), "ess": np.float64("inf"), "mass": 1.0, "k": 8, "log_z": None}
    run.write_json("summary.json", values)
    text = (run.path / "summary.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == values | {"kl": None, "ess": None}
    assert run.read_json("summary.json")["mass"] == 1.0


def test_numbers_that_are_not_finite_are_read_as_none(run):
    (run.path / "run.json").write_text('{"a": [NaN, -Infinity, 1e999, 1.5, 1e-999, -2]}')
    assert run.read_json("run.json") == {"a": [None, None, None, 1.5, 0.0, -2]}


def test_metrics_are_appended_under_one_header(run):
    for updates in ([1, 2], [3]):
        with run.metrics_writer() as add:
            for update in updates:
                add({"update": update, "loss": update / 2})
                assert (run.path / "metrics.csv").read_text().endswith(f"{update},{update / 2}\n")
    metrics = run.read_metrics()
    assert list(metrics) == ["update", "loss"]
    np.testing.assert_array_equal(metrics["update"], [1, 2, 3])
    np.testing.assert_array_equal(metrics["loss"], [0.5, 1.0, 1.5])


def test_a_diverged_loss_can_be_written_and_read(run):
    with run.metrics_writer() as add:
        add({"update": 1, "loss": float("nan")})
    assert np.isnan(run.read_metrics()["loss"]).all()


def test_the_arrays_of_the_evaluation_come_back(run):
    arrays = {"axis_1": np.linspace(0, 1, 5), "deformation_k": np.arange(3)}
    run.write_evaluation(arrays)
    back = run.read_evaluation({"axis_1": "x", "deformation_k": "k"})
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)


def evaluation(run):
    return run.read_evaluation({"a": "n"})


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
    return (
        content[:middle]
        + bytes(255 - byte for byte in content[middle : middle + 8])
        + (content[middle + 8 :])
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluation.npz", b""),
        ("evaluation.npz", b"not an archive"),
        ("evaluation.npz", ARRAYS[:-30]),
        ("evaluation.npz", ARRAYS[:100]),
        ("evaluation.npz", flipped(ARRAYS)),
        ("evaluation.npz", OBJECTS),
        ("evaluation.npz", saved(np.save, np.zeros(3))),
        ("evaluation.npz", pickle.dumps(Trap())),
        ("evaluation.npz", zipped("a.npy", b"\x93NUMPY\x01\x00")),
        ("evaluation.npz", zipped("a.npy", HUGE_HEADER)),
        ("evaluation.npz", zipped("a\nb.npy", saved(np.save, np.zeros(3)))),
        ("evaluation.npz", saved(np.savez, a=np.array(["text"]))),
        ("evaluation.npz", saved(np.savez, a=np.zeros(2, "c16"))),
        ("evaluation.npz", saved(np.savez, a=np.zeros(2, "M8[s]"))),
        ("evaluation.npz", saved(np.savez, a=np.zeros(2, [("x", float)]))),
        ("evaluation.npz", zipped("a.npy", saved(np.save, Trap(), allow_pickle=True))),
        ("metrics.csv", b""),
        ("metrics.csv", b"update,loss\r\n"),
        ("metrics.csv", b"update,loss\r\n1,0.5\r\n2"),
        ("metrics.csv", b"update,loss\r\n\r\n\r\n"),
        ("metrics.csv", b"\r\n"),
        ("metrics.csv", b"update,loss\r\n1,abc\r\n"),
        ("metrics.csv", b"update,loss\r\n1,2,3\r\n"),
        ("metrics.csv", b"\xff\xfe\x00\x01"),
        ("summary.json", b""),
        ("summary.json", b'{"kl": 0.'),
        ("summary.json", b"[1, 2]"),
        ("summary.json", b"\xff\xfe"),
        ("summary.json", 100_000 * b"["),
        ("run.json", b"null"),
    ],
)
def test_a_damaged_file_is_named_and_no_code_in_it_runs(run, name, content):
    read = {"evaluation.npz": lambda: evaluation(run), "metrics.csv": run.read_metrics}
    (run.path / name).write_bytes(content)
    line = complaint(read.get(name, lambda: run.read_json(name)))
    assert line.startswith(f"{run.path / name}: damaged")


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("evaluation.npz", 2**30),
        ("metrics.csv", 256 * 2**20),
        ("summary.json", 16 * 2**20),
    ],
)
def test_a_vast_file_is_refused_unread(run, name, limit, monkeypatch):
    with open(run.path / name, "wb") as file:
        file.truncate(limit + 1)  # takes no room on the disk
    monkeypatch.setattr(io, "FileIO", type("Unread", (io.FileIO,), {"readall": None}))
    read = {"evaluation.npz": lambda: evaluation(run), "metrics.csv": run.read_metrics}
    line = complaint(read.get(name, lambda: run.read_json(name)))
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
    line = complaint(run.read_evaluation, {f"a{i}": "n" for i in range(3)})
    assert line.endswith("at most 2,147,483,648 bytes uncompressed, received 3,000,000,000")


def test_a_missing_file_is_named(run):
    for read, name in (
        (lambda: evaluation(run), "evaluation.npz"),
        (run.read_metrics, "metrics.csv"),
        (lambda: run.read_json("summary.json"), "summary.json"),
    ):
        assert complaint(read).startswith(f"{run.path / name}: missing")
        (run.path / name).mkdir()
        assert complaint(read) == f"{run.path / name}: a folder; expected a plain file"

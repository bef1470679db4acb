import hashlib
import json
import os

import numpy as np
import pytest
from faults import Disk

from nflow_cli.errors import RunDirectoryError
from nflow_cli.runs.checkpoints import Checkpoint, Checkpoints
from nflow_cli.runs.directory import RunDirectory


def checkpoint(update):
    arrays = {"variable/0": np.full((3, 2), update, np.float32), "variable/1": np.array(update)}
    return Checkpoint(arrays, {"finished": False, "best": float("inf"), "rows": update})


@pytest.fixture
def lines():
    return []


@pytest.fixture
def store(tmp_path, lines):
    return Checkpoints(RunDirectory.create("any", str(tmp_path / "run")), lines.append)


def folder(store):
    return store.directory.path / "checkpoints"


def files(store):
    return sorted(path.name for path in folder(store).iterdir())


def assert_is(loaded, update):
    expected = checkpoint(update)
    assert loaded.state == expected.state
    assert loaded.arrays.keys() == expected.arrays.keys()
    for name, array in loaded.arrays.items():
        assert array.dtype == expected.arrays[name].dtype
        np.testing.assert_array_equal(array, expected.arrays[name])


def test_the_newest_is_loaded_bit_for_bit_and_two_are_kept(store):
    assert store.load() is None
    for update in (7, 90, 1000, 10**9):
        store.save(update, checkpoint(update))
    assert_is(store.load(), 10**9)
    assert files(store) == ["000000001000.npz", "001000000000.npz", "manifest.json"]


def test_rows_outlast_a_power_cut_that_the_checkpoint_counting_on_them_does(store, monkeypatch):
    synced, fsync = [], os.fsync

    def noted(handle):
        fsync(handle)
        synced.append((os.fstat(handle).st_ino, os.fstat(handle).st_size))

    monkeypatch.setattr(os, "fsync", noted)
    with store.directory.metrics_writer() as add:
        for update in (1, 2):
            add({"update": update, "loss": 0.5})
            rows = (store.directory.path / "metrics.csv").stat()
            synced.clear()
            store.save(update, checkpoint(update))
            assert synced[0] == (rows.st_ino, rows.st_size) and len(synced) > 2


@pytest.mark.parametrize("content", [b"", b"foreign", None, "flipped"])
def test_a_damaged_newest_one_falls_back_to_the_one_before_and_says_so(store, lines, content):
    for update in (1, 2):
        store.save(update, checkpoint(update))
    newest = folder(store) / "000000000002.npz"
    if content is None:
        newest.unlink()
    elif content == "flipped":
        whole = bytearray(newest.read_bytes())
        whole[len(whole) // 2] ^= 1
        newest.write_bytes(whole)
    else:
        newest.write_bytes(content)
    assert_is(store.load(), 1)
    assert len(lines) == 1 and "000000000002.npz" in lines[0] and "previous" in lines[0]


def test_no_whole_checkpoint_is_one_line(store, lines):
    for update in (1, 2):
        store.save(update, checkpoint(update))
        (folder(store) / f"{update:012d}.npz").write_bytes(b"")
    with pytest.raises(RunDirectoryError, match="no intact checkpoint"):
        store.load()
    assert [line.endswith("loading the previous checkpoint") for line in lines] == [True, False]


def test_a_damaged_manifest_is_named(store):
    store.save(1, checkpoint(1))
    for content in (b"", b"[1]", b'{"../../x.npz": "0"}', b"\xff"):
        (folder(store) / "manifest.json").write_bytes(content)
        with pytest.raises(RunDirectoryError, match=r"manifest\.json"):
            store.load()


@pytest.mark.parametrize("content", [None, b"[1]", b"null", b"{", 10_000 * b"[", b"\xff"])
def test_a_file_that_the_manifest_vouches_for_may_still_be_no_checkpoint(store, lines, content):
    store.save(1, checkpoint(1))
    path = folder(store) / "000000000001.npz"
    arrays = {"other": np.zeros(3)} if content is None else {"state": np.frombuffer(content, "u1")}
    np.savez(path, **arrays)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder(store) / "manifest.json").write_text(json.dumps({path.name: digest}))
    with pytest.raises(RunDirectoryError, match="no intact checkpoint"):
        store.load()
    assert len(lines) == 1 and str(path) in lines[0]


def test_whatever_operation_fails_the_last_checkpoint_stays(tmp_path):
    """Every file operation of a save fails once: then the old or the new one is loaded."""
    turn = 0
    while True:
        turn += 1
        store = Checkpoints(RunDirectory.create("any", str(tmp_path / f"run-{turn}")), print)
        for update in (1, 2):
            store.save(update, checkpoint(update))
        with pytest.MonkeyPatch.context() as patch:
            disk = Disk(patch, turn)
            saved = True
            try:
                store.save(3, checkpoint(3))
            except RunDirectoryError as error:
                saved = False
                assert "checkpoints" in str(error)
        loaded = store.load()
        assert_is(loaded, loaded.state["rows"])
        assert loaded.state["rows"] in ((3,) if saved else (2, 3))
        assert not [name for name in files(store) if name.startswith(".")]
        if not disk.failed:
            assert saved
            break
    assert turn > 10

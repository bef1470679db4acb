"""Arrays of a run, ``weights.npz`` among them: what is written is read, anything else refused."""

import io
import re
import tracemalloc
import zipfile

import numpy as np
import pytest

from nflow_cli.errors import RunDirectoryError
from nflow_cli.runs import npz
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.npz import ArrayError, read_arrays, read_values
from nflow_cli.runs.weights_file import load_weights, save_weights, sha256_of

ARRAYS = {
    "grid": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "scalar": np.array(2.5),
    "nothing": np.zeros((0, 2)),
    "swapped": np.arange(4, dtype=">i2"),
}


def archive(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return zipfile.ZipFile(file)


def packed(content, claimed=None):
    """Return an archive of the one array ``a``, whose size unpacked can be a lie."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("a.npy", content)
        written.filelist[0].file_size = claimed or len(content)
    return zipfile.ZipFile(file)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def anything(*_):
    pass


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_numpy_reads_them_and_only_those_asked_for(save):
    back = read_arrays(archive(save, **ARRAYS), ARRAYS, anything)
    for key, array in ARRAYS.items():
        assert (back[key].dtype, back[key].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(back[key], array)
    assert list(read_arrays(archive(save, **ARRAYS), ["scalar"], anything)) == ["scalar"]


def test_nothing_is_read_that_is_too_large_or_not_wanted(monkeypatch):
    def check(key, shape, dtype):
        raise ArrayError(f"{key} {shape} {dtype}")

    monkeypatch.setattr(npz, "read_values", None)
    with pytest.raises(ArrayError, match=r"^grid \(3, 4\) float32$"):
        read_arrays(archive(**ARRAYS), ["grid"], check)
    monkeypatch.setattr(npz, "MAX_BYTES", 1000)
    monkeypatch.setattr(npz, "_read_member", None)
    with pytest.raises(ArrayError, match="at most 1,000 bytes uncompressed, received 1,8"):
        read_arrays(archive(a=np.zeros(100), b=np.zeros(100)), ["a", "b"], anything)


def test_a_size_that_is_a_lie_takes_no_memory():
    bomb = packed(npy(np.zeros(2**25, np.uint8)), claimed=1000)
    tracemalloc.start()
    with pytest.raises(zipfile.BadZipFile, match="CRC"):  # the sum is of what came out
        read_arrays(bomb, ["a"], anything)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_nothing_pickled_or_otherwise_packed_is_loaded():
    objects = archive(a=np.array([{}, None]))
    with pytest.raises(ArrayError, match="a holds pickled Python objects, which are never loaded"):
        read_arrays(objects, ["a"], pytest.fail)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as written:
        written.writestr("a.npy", npy(np.zeros(3)))
    with pytest.raises(ArrayError, match="a: expected deflated, received method 14"):
        read_arrays(zipfile.ZipFile(file), ["a"], anything)


def test_values_are_as_many_as_the_shape_says_and_cannot_be_written_to():
    for n, received in ((3, "more"), (5, "4"), (10**18, "4"), (-1, "more")):
        with pytest.raises(ArrayError, match=f"received {received}"):
            read_values(io.BytesIO(b"\1\2\3\4"), "a", (n,), np.dtype(np.uint8))
    assert not read_values(io.BytesIO(bytes(8)), "a", (1,), np.dtype(float)).flags.writeable


WEIGHTS = {
    "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "normals": np.linspace(0, 1, 12).reshape(3, 4),
    "none": np.zeros((0, 5)),
}
SHAPES = {"kernel": (2, 3), "normals": (3, -1), "none": (0, 5)}


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create("test", str(tmp_path / "run"))
    save_weights(run, WEIGHTS)
    return run


def rewritten(run, **changes):
    arrays = {name: array for name, array in {**WEIGHTS, **changes}.items() if array is not None}
    np.savez(run.path / "weights.npz", **arrays)


def refused(run, words):
    with pytest.raises(RunDirectoryError, match=re.escape(words)) as error:
        load_weights(run, SHAPES)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_arrays_are_read_as_they_were_written(run):
    arrays = load_weights(run, SHAPES)
    assert arrays.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert save_weights(run, WEIGHTS) == sha256_of(arrays)


def test_another_number_shape_type_or_name_has_another_fingerprint():
    kernel = WEIGHTS["kernel"]
    for change in (
        {"kernel": kernel + np.eye(2, 3, dtype=np.float32) * 1e-7},
        {"kernel": kernel.reshape(3, 2)},
        {"kernel": kernel.astype(float)},
        {"none": np.zeros((0, 6))},
        {"other": np.zeros(1)},
        {"normals": -np.abs(WEIGHTS["normals"]) * 0.0},
    ):
        assert sha256_of({**WEIGHTS, **change}) != sha256_of(WEIGHTS)
    turned = {name: np.asfortranarray(WEIGHTS[name]) for name in reversed(WEIGHTS)}
    assert sha256_of(turned) == sha256_of(WEIGHTS)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        *(
            ({"kernel": kernel}, "kernel: expected (2, 3), received")
            for kernel in (
                *(np.zeros((3, 2), "f4"), np.zeros(6, "f4"), np.zeros((2, 3), int)),
                *(np.zeros((2, 3), complex), np.full((2, 3), "a")),
            )
        ),
        ({"kernel": None}, "an array kernel"),
        ({"normals": np.zeros((3, 2**17 + 1))}, "normals: expected (3, -1)"),
        ({"normals": np.zeros((4, 4))}, "normals: expected (3, -1)"),
        ({"kernel": np.full((2, 3), np.nan, "f4")}, "6 of its numbers are not finite"),
        ({"normals": np.array([[1.0, np.inf]] * 3)}, "3 of its numbers are not finite"),
        ({"kernel": np.array([[{}] * 3] * 2)}, "pickled"),
    ],
)
def test_other_arrays_are_one_line(run, changes, named):
    rewritten(run, **changes)
    refused(run, named)


def test_what_is_larger_than_the_arrays_is_not_read(run):
    rewritten(run, more=np.random.default_rng(0).random(10**6))
    refused(run, "weights.npz")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in WEIGHTS:
            archive.writestr(f"{name}.npy", bytes(10**7))  # 10 kB unpack to 10 MB
    (run.path / "weights.npz").write_bytes(content.getvalue())
    refused(run, "weights.npz")


def test_damaged_bytes_are_one_line(run):
    path = run.path / "weights.npz"
    whole = path.read_bytes()
    halves = [whole[:size] for size in range(0, len(whole), 97)]
    for content in (b"PK", b"\x93NUMPY", bytes(100), *halves):
        path.write_bytes(content)
        refused(run, "weights.npz")
    path.unlink()
    refused(run, "weights.npz: missing")

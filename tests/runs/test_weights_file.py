"""``weights.npz``: what is written is read, and what is anything else is one line."""

import io
import re
import zipfile

import numpy as np
import pytest

from nflow_cli.errors import RunDirectoryError
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.weights_file import load_weights, save_weights, sha256_of

ARRAYS = {
    "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "normals": np.linspace(0, 1, 12).reshape(3, 4),
    "none": np.zeros((0, 5)),
}
SHAPES = {"kernel": (2, 3), "normals": (3, -1), "none": (0, 5)}


@pytest.fixture
def run(tmp_path):
    run = RunDirectory.create("test", str(tmp_path / "run"))
    save_weights(run, ARRAYS)
    return run


def rewritten(run, **changes):
    arrays = {name: array for name, array in {**ARRAYS, **changes}.items() if array is not None}
    np.savez(run.path / "weights.npz", **arrays)


def refused(run, words):
    with pytest.raises(RunDirectoryError, match=re.escape(words)) as error:
        load_weights(run, SHAPES)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_arrays_are_read_as_they_were_written(run):
    arrays = load_weights(run, SHAPES)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert save_weights(run, ARRAYS) == sha256_of(arrays)


def test_another_number_shape_type_or_name_has_another_fingerprint():
    kernel = ARRAYS["kernel"]
    for change in (
        {"kernel": kernel + np.eye(2, 3, dtype=np.float32) * 1e-7},
        {"kernel": kernel.reshape(3, 2)},
        {"kernel": kernel.astype(float)},
        {"none": np.zeros((0, 6))},
        {"other": np.zeros(1)},
        {"normals": -np.abs(ARRAYS["normals"]) * 0.0},
    ):
        assert sha256_of({**ARRAYS, **change}) != sha256_of(ARRAYS)
    turned = {name: np.asfortranarray(ARRAYS[name]) for name in reversed(ARRAYS)}
    assert sha256_of(turned) == sha256_of(ARRAYS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kernel": np.zeros((3, 2), "f4")}, "kernel: expected (2, 3), received (3, 2)"),
        ({"kernel": np.zeros(6, "f4")}, "kernel: expected (2, 3)"),
        ({"kernel": np.zeros((2, 3), int)}, "kernel: expected (2, 3)"),
        ({"kernel": np.zeros((2, 3), complex)}, "kernel: expected (2, 3)"),
        ({"kernel": np.full((2, 3), "a")}, "kernel: expected (2, 3)"),
        ({"kernel": None}, "expected an array kernel"),
        ({"normals": np.zeros((3, 2**17 + 1))}, "normals: expected (3, -1)"),
        ({"normals": np.zeros((4, 4))}, "normals: expected (3, -1)"),
        ({"kernel": np.full((2, 3), np.nan, "f4")}, "6 of its numbers are not finite"),
        ({"normals": np.array([[1.0, np.inf]] * 3)}, "3 of its numbers are not finite"),
        ({"kernel": np.array([[{}] * 3] * 2)}, "pickled"),
    ],
)
def test_other_arrays_are_one_line(run, changes, words):
    rewritten(run, **changes)
    refused(run, words)


def test_what_is_larger_than_the_arrays_is_not_read(run):
    rewritten(run, more=np.random.default_rng(0).random(10**6))
    refused(run, "weights.npz")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ARRAYS:
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

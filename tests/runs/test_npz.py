import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from nflow_cli.runs import npz
from nflow_cli.runs.npz import ArrayError, read_arrays, read_values

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


def test_sizes_are_added_up_before_anything_is_read(monkeypatch):
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


def test_an_array_that_is_not_wanted_is_refused_before_its_values_are_read(monkeypatch):
    def check(key, shape, dtype):
        raise ArrayError(f"{key} {shape} {dtype}")

    monkeypatch.setattr(npz, "read_values", None)
    with pytest.raises(ArrayError, match=r"^grid \(3, 4\) float32$"):
        read_arrays(archive(**ARRAYS), ["grid"], check)


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

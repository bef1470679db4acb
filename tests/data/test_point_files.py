import os
import pickle

import numpy as np
import pytest

from nflow_cli.data import point_files
from nflow_cli.data.point_files import read_points
from nflow_cli.errors import DataError

EXPECTED = np.array([[0.5, -1.25], [3.0, 1e-3]])


@pytest.fixture
def write(tmp_path):
    def write(content, name="points.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def complaint(path):
    with pytest.raises(DataError) as caught:
        read_points(path)
    line = str(caught.value)
    assert len(line.splitlines()) == 1 and len(line) < 400 + len(str(path))
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    "text",
    [
        "0.5,-1.25\n3,0.001\n",
        "0.5,-1.25\n3,0.001",
        "x,y\n0.5,-1.25\n3,1e-3\n",
        '"x","y"\r\n"0.5","-1.25"\r\n"3.0","1e-3"\r\n',
        "\ufeffx,y\n0.5,-1.25\n3,0.001\n",
        "\n\n 0.5 , -1.25 \n\n3,0.001\n\n",
        "0.5,-1.25\n \t \n3,0.001\n  \n",
        "# made, by hand\n+0.5,-1.25\n3,.001\n",
        "z1,z2,log_q\n0.5,-1.25,-3\n3,0.001,-4\n",
        "n,z2,log_q,z1\n1,-1.25,oops,0.5\n2,0.001,nan,3\n",
    ],
)
def test_text_with_a_header_or_none_is_read(write, text):
    read = read_points(write(text))
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, EXPECTED)


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_read(tmp_path, dtype, order):
    np.save(tmp_path / "points.npy", np.array(EXPECTED, dtype, order=order))
    np.testing.assert_array_equal(read_points(tmp_path / "points.npy"), EXPECTED.astype(dtype))
    np.save(tmp_path / "whole.NPY.npy", np.array([[1, 2]], "i4"))
    np.testing.assert_array_equal(read_points(str(tmp_path / "whole.NPY.npy")), [[1.0, 2.0]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x,y\n", "no points in it; expected 2 columns of numbers"),
        ('1,2\n"3", "4"\n', "which looks like a space before a quotation mark"),
        ("１,２\n３,４\n", "line 2, column '１': expected a number, received '３'"),
        ("1,2\n" + 399 * "3," + "4\n", "line 2: expected 2 columns, received 400: '3,3,3"),
        (399 * "3," + "4\n", "received 400: '1', '2', '3', …"),
        ("1,2,3\n4,5,6\n", "expected two columns of numbers, or z1 and z2 among others"),
        ("x,y,w\n4,5,6\n", "received 3: 'x', 'y', 'w'"),
        ("1 2\n3 4\n", "called '1 2', which looks like columns separated by spaces"),
        ("1\n2\n", "expected two columns of numbers, received one, called '1'"),
        ("x,y\n\n1,2\n3,four\n", "line 4, column 'y': expected a number, received 'four'"),
        ("1,2\nx,y\n", "line 2, column '1': expected a number, received 'x'"),
        ("1,\n", "line 1: expected 2 finite numbers, received [1.0, nan]"),
        ("1,2\n3,nan\n", "line 2: expected 2 finite numbers, received [3.0, nan]"),
        ("nan,nan\n", "line 1: expected 2 finite numbers"),
        ("1,2\n\n-inf,2\n", "line 3: expected 2 finite numbers, received [-inf, 2.0]"),
        ("1,2\n1e999,2\n", "line 2: expected 2 finite numbers, received [inf, 2.0]"),
        ("1,2\n1_0,2\n", "line 2, column '1': expected a number, received '1_0'"),
        ("z1,z2,log_q\n1,x,3\n", "line 2, column 'z2': expected a number, received 'x'"),
        ("2020_01,2020_02\n1,2\n3,x\n", "line 3, column '2020_02': expected a number"),
        ("1,\u00a02\n3,x\n", "line 2, column '2': expected a number"),
    ],
)
def test_bad_text_is_one_line_that_says_where(write, text, expected):
    assert expected in complaint(write(text))


def test_no_file_and_no_right_are_one_line(tmp_path, write):
    assert "no such file" in complaint(tmp_path / "nowhere.csv")
    assert "name too long" in complaint(tmp_path / (300 * "a")).lower()
    closed = write("1,2\n")
    closed.chmod(0)
    if not os.access(closed, os.R_OK):
        assert "Permission denied" in complaint(closed)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_is_never_loaded(tmp_path, write):
    made = str(tmp_path / "made")
    line = complaint(write(pickle.dumps(Bomb(made)), "p.npy"))
    assert "a file that begins with b'\\x80" in line
    np.save(tmp_path / "objects.npy", np.array([[Bomb(made), 1]], dtype=object))
    line = complaint(tmp_path / "objects.npy")
    assert "expected an array (n,) or (n, D) of numbers" in line and "Python objects" in line
    assert "allow_pickle" not in line and "pickle.load" not in line
    assert not os.path.exists(made)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros(4), "expected two columns of numbers, received one"),
        (np.zeros((4, 3)), "received 3: '1', '2', '3'"),
        (np.zeros((2, 2, 2)), "received shape (2, 2, 2)"),
        (np.zeros((0, 2)), "no points in it"),
        (np.zeros((4, 2), bool), "row 0 counted from 0, column '1': expected a number, received"),
        (np.array([["1", "2"]]), "dtype <U1"),
        (np.array([[1.0, 2.0], [np.nan, 0.0]]), "row 1 counted from 0: expected 2 finite"),
        (np.array([[np.inf, 2.0]], "f4"), "row 0 counted from 0: expected 2 finite numbers"),
    ],
)
def test_a_bad_array_is_one_line(tmp_path, array, expected):
    np.save(tmp_path / "points.npy", array)
    assert expected in complaint(tmp_path / "points.npy")


def test_a_damaged_array_is_one_line(tmp_path, write):
    np.save(tmp_path / "points.npy", EXPECTED)
    whole = (tmp_path / "points.npy").read_bytes()
    np.savez(tmp_path / "points.npz", EXPECTED)
    archive = (tmp_path / "points.npz").read_bytes()
    huge = whole.replace(b"(2, 2)", b"(2**9, 2)"), whole.replace(b"(2, 2), ", b"(99999999, 2),")
    for content in (whole[:-1], whole[:20], b"1,2\n", archive, *huge):
        assert complaint(write(content, "bad.npy")).startswith(
            ("expected an array (n,) or (n, D) of numbers", "expected the content of a .npy file")
        )


def test_too_many_points_are_refused(tmp_path, write, monkeypatch):
    monkeypatch.setattr(point_files, "MAX_POINTS", 3)
    assert len(read_points(write(3 * "1,2\n"))) == 3
    assert complaint(write(4 * "1,2\n")) == "expected at most 3 rows, received more"
    np.save(tmp_path / "points.npy", np.zeros((5, 2)))
    assert complaint(tmp_path / "points.npy") == "expected at most 3 rows, received 5"


@pytest.mark.slow
def test_ten_million_rows_are_read_and_their_last_fault_is_found(tmp_path):
    path = tmp_path / "points.csv"
    rows = np.random.default_rng(0).standard_normal((1_000, 2))
    block = "".join(f"{a:.6f},{b:.6f}\n" for a, b in rows)
    with path.open("w") as file:
        file.writelines([block] * 10_000)
    read = read_points(path)
    assert read.shape == (10**7, 2)
    np.testing.assert_allclose(read[-1_000:], rows, atol=1e-6)
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"x\n")
    assert complaint(path).startswith("line 10000000, column '2': expected a number")

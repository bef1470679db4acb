"""Tables of every make, good and bad: what is read, and the one line that refuses."""

import gzip
import io
import os
import pickle
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.lib import format as npy
from pyarrow import parquet

from nflow_cli.data.files import array_tables, delimited, table_files
from nflow_cli.data.files import columns as raw_columns
from nflow_cli.data.files.columns import numbers_of, read_columns, read_points, text_of
from nflow_cli.data.files.table_files import open_table, table_of
from nflow_cli.data.files.writing import write_table
from nflow_cli.errors import DataError, RunDirectoryError

NAN = np.nan


@pytest.fixture
def write(tmp_path):
    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def packed(text):
    return gzip.compress(text.encode(), mtime=0)  # or names of tests hold the time


def parquet_of(**columns):
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file)
    return file.getvalue()


def npy_of(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz_of(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def content(table):
    """Return what a table holds: numbers as lists, text as it is."""
    return {
        column.name: column.numbers.tolist()
        if column.cell_type == "number"
        else text_of(table, column.name).tolist()
        for column in read_columns(table)[0]
    }


def matrix(table):
    return np.column_stack([column.numbers for column in read_columns(table)[0]])


def read_all(path):
    table = open_table(path)
    read_columns(table)
    return [*blocks(table)]


def blocks(table):
    return table.blocks([column.name for column in table.columns])


def complaint(call, path):
    with pytest.raises(DataError) as caught:
        call()
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and line.isprintable()
    assert len(line) < 500 + len(str(path))
    return line.removeprefix(f"{path}: ")


XY = {"x": [1.5, 3.0], "y": [2.5, 4.0]}
TEXT = [  # of a .csv, and what it holds
    *((f"x{s}y\n1.5{s}2.5\n3{s}4\n", XY) for s in ",;|\t"),
    *((f"x,y{end}1.5,2.5{end}3,4{end}", XY) for end in ("\r\n", "\r")),
    *((f"x{s}y\n1,5{s}2,5\n3{s}4", XY) for s in ";\t"),
    *(('"x" , y\n"1.5", 2.5 \n 3,"4"\n', XY), ("\n \n# x,y\n\n1.5,2.5\n  \t\n3,4\n\n\n", XY)),
    (b"\xef\xbb\xbfx,y\n1.5,2.5\n3,4\n", XY),
    ("x,y\n1.5,2.5\n3,4\n".encode("utf-16"), XY),
    (b"\xfe\xff" + "x,y\n1.5,2.5\n3,4\n".encode("utf-16-be"), XY),
    (packed("x,y\n1.5,2.5\n3,4\n"), XY),
    ("größe,город\n1,2\n", {"größe": [1.0], "город": [2.0]}),
    ("größe,b\n1,né\n".encode("latin-1"), {"größe": [1.0], "b": ["né"]}),
    ("Umsatz €,b\n1,“né”\n".encode("cp1252"), {"Umsatz €": [1.0], "b": ["“né”"]}),
    ("Größe\tb\r1,5\té\r".encode("mac-roman"), {"Größe": [1.5], "b": ["é"]}),
    (
        "CAFÉ’S,«\u00a0café\u00a0»\n1,2\n".encode("cp1252"),
        {"CAFÉ’S": [1.0], "«\xa0café\xa0»": [2.0]},
    ),
    ("1.5,2.5\n3,4\n", {"1": [1.5, 3.0], "2": [2.5, 4.0]}),
    ("5.1,setosa\n4.9,setosa\n", {"1": [5.1, 4.9], "2": ["setosa", "setosa"]}),
    ("1,2,log_q\n0.5,1.5,-3\n", {"1": [0.5], "2": [1.5], "log_q": [-3.0]}),
    ("7\n8.25\n\n9e-3\n", {"1": [7.0, 8.25, 0.009]}),
    (",a\n0,1.5\n1,2.5\n", {"index": [0.0, 1.0], "a": [1.5, 2.5]}),
    (",0,1\n0,1.5,2.5\n1,3,4\n", {"index": [0, 1.0], "0": [1.5, 3.0], "1": [2.5, 4.0]}),
    ("name,city\nBo,Oslo\n", {"name": ["Bo"], "city": ["Oslo"]}),
    ("a,b\n1,\n,2\nNA,null\nn/a,NaN\n", {"a": [1, NAN, NAN, NAN], "b": [NAN, 2, NAN, NAN]}),
    ("year,inf\n1959,2.5\n", {"year": [1959.0], "inf": [2.5]}),
    (
        '"year" "inf"\n"1" 1959 2.5\n"2" 1960 inf\n',  # write.table of R
        {"index": [1, 2], "year": [1959, 1960], "inf": [2.5, np.inf]},
    ),
    ("a,-inf\n1,2\n", {"1": ["a", "1"], "2": [-np.inf, 2.0]}),
    ("a,inf\nb,2\n", {"1": ["a", "b"], "2": [np.inf, 2.0]}),
    ("a,b\n1,inf\n2,-Infinity\n3,1e999\n", {"a": [1, 2, 3], "b": [np.inf, -np.inf, np.inf]}),
    ("a,day\n1,2024-01-31\n", {"a": [1.0], "day": ["2024-01-31"]}),
    ("a,b\n1,true\n2,false\n", {"a": [1.0, 2.0], "b": ["true", "false"]}),
    ('a,b\n1,"two\nlines, ""quoted"""\n', {"a": [1.0], "b": ['two\nlines, "quoted"']}),
    ('"a\nb",c\n1,2\n', {"a\nb": [1.0], "c": [2.0]}),
    ("a,price\n1,1_000\n", {"a": [1.0], "price": ["1_000"]}),
    ('a,price\n1,"1,000"\n', {"a": [1.0], "price": ["1,000"]}),
    ("a;b;c\n1,5;1.000;2,5\n", {"a": [1.5], "b": ["1.000"], "c": [2.5]}),
    ("a,b\n,\n,\n", {"a": [NAN, NAN], "b": [NAN, NAN]}),
    ("x,,\n1,2,3\n4,5,6\n7,8,9\n", {"x": [1, 4, 7], "2": [2, 5, 8], "3": [3, 6, 9]}),
    ("x y\n 1.5  2.5\n3     4 \n", XY),
    ("# x y\n1.5 2.5\n\n  \n3 4\n", XY),  # numpy.savetxt(…, header="x y")
    ("x   y\r\n1,5 2,5\r\n3   4\r\n", XY),
    ("1,5 2,5\n3,5 4,5\n", {"1": [1.5, 3.5], "2": [2.5, 4.5]}),
    (
        '"x" "the s"\n"a" 1 "u  v"\n"b" NA "w ""x"""\n',  # write.table of R
        {"index": ["a", "b"], "x": [1, NAN], "the s": ["u  v", 'w "x"']},
    ),
    (
        "a   b\n1   1,200.5\n2      30\n3      40\n",
        {"a": [1, 2, 3], "b": ["1,200.5", "30", "40"]},
    ),
    ("first last\nBo Ek\nAl Holm\n", {"first last": ["Bo Ek", "Al Holm"]}),
    ("price\n1 000\n2 500\n3 500\n", {"price": ["1 000", "2 500", "3 500"]}),
    ("a;b\n10 kg;5 m\n12 kg;6 m\n", {"a": ["10 kg", "12 kg"], "b": ["5 m", "6 m"]}),
    ("a,b\n", {"a": [], "b": []}),
    ("0.1,9007199254740993\n", {"1": [0.1], "2": [9007199254740992.0]}),
]


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        *(("t.csv", text, expected) for text, expected in TEXT),
        ("t.tsv", "x\ty\n1.5\t2.5\n3\t4\n", XY),
        ("t.tsv.gz", packed("x\ty\n1.5\t2.5\n3\t4\n"), XY),
        *((name, '{"x":1.5,"y":2.5}\n\n {"y":4,"x":3} ', XY) for name in ("t.jsonl", "t.csv")),
        ("t.ndjson.gz", packed('{"x":1.5,"y":2.5}\r\n{"x":3,"y":4}\r\n'), XY),
        (
            "t.jsonl",
            '\ufeff{"n":1,"s":"é,1","d":"2024-02-29","b":true}\n'
            '{"n":null,"t":"2024-02-29T10:30:00"}\n{"d":"2024-03-01","t":"2024-03-01 00:00:00"}\n',
            {"n": [1, NAN, NAN], "s": ["é,1", "", ""], "d": ["2024-02-29", "", "2024-03-01"]}
            | {"b": ["true", "", ""], "t": ["", "2024-02-29 10:30:00", "2024-03-01 00:00:00"]},
        ),
        (
            "t.jsonl",
            '{"a":{"b":1.5,"c":{"d":"2024-02-29"}},"n":1}\n{"a":{"b":2},"n":2}\n{"n":3}\n',
            {"a.b": [1.5, 2, NAN], "a.c.d": ["2024-02-29", "", ""], "n": [1, 2, 3]},
        ),
        ("t.csv", "[kg],{a}\n1,2\n", {"[kg]": [1], "{a}": [2]}),
        ("t.parquet", parquet_of(**XY), XY),
        ("t.csv", parquet_of(**XY), XY),
        ("t.npy", npy_of(np.array([[1, 2], [3, 4]], ">i2")), {"1": [1, 3], "2": [2, 4]}),
        ("t.npy", npy_of(np.asfortranarray([[1, 2.5], [3, 4]])), {"1": [1, 3], "2": [2.5, 4]}),
        ("t.npy", npy_of(np.array([1.5, 2.0], "f2")), {"1": [1.5, 2.0]}),
        ("t.npy", npy_of(np.zeros((0, 2))), {"1": [], "2": []}),
        ("t.npz", npz_of(rows=np.array([[1.5, 2.5], [3, 4]]), columns=["x", "y"]), XY),
        ("t.npz", npz_of(points=np.array([[1.5, 2.5]], "f4")), {"1": [1.5], "2": [2.5]}),
        ("t.npz", npz_of(x=[1.5, 3], s=["a", "b"]), {"x": [1.5, 3.0], "s": ["a", "b"]}),
        ("t.npz", npz_of(x=[1, 3], columns=[1.5, 2.5]), {"x": [1, 3], "columns": [1.5, 2.5]}),
        (
            "t.parquet",
            parquet_of(
                i=pa.array([1, None, 2**60], pa.int64()),
                f=pa.array([1.5, NAN, None], pa.float32()),
                d=pa.array([1, 2, 3]).cast(pa.decimal128(21, 2)),
                s=pa.array(["a", None, "c"]),
                c=pa.array(["a", "b", "a"]).dictionary_encode(),
                b=pa.array([True, None, False]),
                t=pa.array([0, 1, None], pa.date32()),
            ),
            {"i": [1.0, NAN, 2.0**60], "f": [1.5, NAN, NAN], "d": [1.0, 2.0, 3.0]}
            | {"s": ["a", "", "c"], "c": ["a", "b", "a"], "b": ["true", "", "false"]}
            | {"t": ["1970-01-01", "1970-01-02", ""]},
        ),
        ("t.parquet", parquet_of(a=[1.5], __index_level_0__=[7]), {"a": [1.5], "index": [7.0]}),
    ],
)
def test_files_of_every_make_are_read(write, name, file, expected):
    np.testing.assert_equal(content(open_table(write(file, name))), expected)


BAD = [  # name, content, what is said
    ("t.csv", "", "an empty file; expected a table as .csv, .tsv"),
    ("t.csv", "\n \n", "no rows in it"),
    ("t.csv", "a,b\n1,2\n\n3\n", "line 4: expected 2 columns, received 1: '3'"),
    ("t.csv", 'a,b\n"1\n\n",2\n3\n', "line 5: expected 2 columns, received 1: '3'"),
    ("t.csv", "a,b\n" + "1,2\n" * 300 + "\x1b[31m\n", "line 302: expected 2 columns, received 1: "),
    ("t.csv", "a,b\n1," + 3 * 2**20 * "9" + "\n", "a row of more than 1,048,576 bytes"),
    ("t.csv", 'a,b\n1,"2\n' + 10**6 * "1,2\n", "a row of more than 1,048,576 bytes"),
    ("t.csv", 'a,b\n1,"2\n' + 18 * "1,2\n", "line 2: a quotation mark opens a cell that goes on"),
    ("t.csv", "x\n" + 18 * "1\n" + '"2\n3\n4"\n', "goes on to line 22 and swallows rows"),
    ("t.csv", 9 * "a,b\n" + '"' + 50_000 * "1,2\n" + '3",4\n', "line 10: a quotation mark opens"),
    (
        "t.csv",
        "c\n" + 9 * "a\nb\n" + '"' + 9 * "b\na\n" + 'b"\n',
        "line 20: a quotation mark opens",
    ),
    (
        "t.csv",
        'c\n"' + "".join(f"z{i}\n" for i in range(60)) + '"\n',
        "line 2: a quotation mark op",
    ),
    ("t.csv", 'a,"b\n1,"2"\n', "line 1: a quotation mark opens a cell that goes on to line 2"),
    ("t.csv", 2**20 * "a" + ",b\n1,2\n", "no rows in it; expected cells of at most 131,072"),
    ("t.csv", 10_001 * "1," + "1\n", "expected 1 to 10,000 columns, received 10,002"),
    ("t.csv", ("é,b\n" + 2**19 * "1,2\n").encode() + b"\xe9,2\n", "line 524290: expected text in"),
    ("t.csv", "a,b\n1,é\n\n".encode() + b"2,\xe9\n", "line 2: 'é' in UTF-8, line 4 is in cp1252"),
    ("t.csv", "id,x\n1,売上日\n".encode("cp932"), "line 2: expected text in UTF-8, UTF-16 or Wind"),
    (
        "t.csv",
        b"a,\xe9\n" + 2**19 * b"1,2\n" + "1,“\n".encode(),
        "line 524290: '“' in UTF-8, line 1",
    ),
    ("t.csv", b"\x89PNG\r\n\x1a\n" + bytes(64), "expected text, an array of NumPy, or Parquet"),
    ("t.csv", npz_of(a=[1]), "received a zip archive, as Excel's .xlsx is"),
    ("t.h5", b"\x89HDF\r\n\x1a\n", "expected ArviZ's InferenceData, a netCDF-4 file"),
    ("t.nc", b"CDF\x01", "expected the content of a .nc file"),
    ("t.csv.gz", packed(1000 * "1,2\n")[:-9], "damaged: "),
    ("t.csv.gz", packed("1,2\n")[:14] + b"\xff\xff\xff\xff" + packed("1,2\n")[18:], "damaged: "),
    ("t.csv.gz", "1,2\n", "expected the content of a .gz file"),
    ("t.json", '[{"a":1},\n{"a":2}]\n', "of JSON one object a line (.jsonl, which jq -c '.[]' wri"),
    ("t.csv", '{\n"a": [1, 2]}\n', "received other JSON"),
    ("t.csv", 9 * "[" + "1" + 9 * "]", "received a JSON array"),
    ("t.jsonl", "a,b\n1,2\n", "line 1: expected one JSON object, received 'a,b'"),
    (
        "t.jsonl",
        '{"a":1}\n\n{"a":"x"}\n',
        "line 3: expected one JSON object: Column(/a) changed",
    ),
    (
        "t.jsonl",
        '{"a":1}\n\n{"a":2\n',
        "line 3: expected one JSON object, received '{\"a\":2'",
    ),
    ("t.jsonl", '{"a":1,"a":2}\n', "line 1: expected one JSON object: Column(/a) was speci"),
    ("t.jsonl", b'{"a":1}\n{"\x93":2}\n', "expected JSON lines; received: 'utf-8'"),
    ("t.jsonl", '{"a":' + 10**5 * "[" + 10**5 * "]" + "}\n", "expected a table, of JSON"),
    ("t.jsonl", '{"a":1}\n{"a":' + 10**5 * "[" + 10**5 * "]" + "}\n", "line 2: expected one JSON"),
    ("t.jsonl", '{"a":1}\n' + 10**5 * '{"a":\n' + 10**5 * "}", "line 2: expected one JSON"),
    ("t.jsonl.gz", packed('{"a":1}\n')[:-9], "expected JSON lines; received: Compressed file"),
    ("t.parquet", "1,2\n", "expected the content of a .parquet file"),
    ("t.parquet", parquet_of(a=[1.0])[:-4] + b"PARX", "expected a Parquet file; received: "),
    ("t.npy", "1,2\n", "expected the content of a .npy file"),
    ("t.npy", npy_of(np.zeros(3))[:-1], "expected an array (n,) or (n, D)"),
    ("t.npy", npy_of(np.zeros((2, 2, 2))), "received shape (2, 2, 2), dtype float64"),
    ("t.npy", npy_of(np.array(1.0)), "received shape ()"),
    ("t.npy", npy_of(np.zeros(3, complex)), "dtype complex128"),
    ("t.npy", npy_of(np.array([{}], object)), "received: Array can't be memory-mapped"),
    ("t.npz", npz_of(a=np.array([{}], object)), "pickled Python objects, which are never loaded"),
    ("t.npz", npz_of(a=[1], b=[1, 2]), "expected columns of one length, received 'a' 1, 'b' 2"),
    ("t.npz", npz_of(a=[[1]], b=[[1]]), "expected one array (n, D) of numbers"),
    ("t.npz", npz_of(a=[[1]], columns=["x", "y"]), "expected 1 names of columns, received 2"),
    ("t.npz", npz_of(), "expected the content of a .npz file"),
    ("t.npz", npz_of(a=[1.0])[:-30], "expected one array (n, D) of numbers"),
]
POINTS = [[0.5, -1.25], [3.0, 1e-3]]


@pytest.mark.parametrize(
    "text",
    [
        "0.5 -1.25\n3 1e-3\n",
        '"x","y"\r\n"0.5","-1.25"\r\n"3.0","1e-3"\r\n',
        "# made, by hand\n+0.5,-1.25\n3,.001\n",
        "z1,z2,log_q\n0.5,-1.25,-3\n3,0.001,-4\n",
        "n,z2,log_q,z1\n1,-1.25,oops,0.5\n2,0.001,nan,3\n",
        npy_of(np.array(POINTS)),
        npy_of(np.array(POINTS, ">f8", order="F")),
    ],
)
def test_points_are_two_columns_or_those_of_their_names(write, text):
    read = read_points(write(text))
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, POINTS)


NO_POINTS = [  # content, what is said
    ("x,y\n", "expected rows of numbers, received none"),
    ('1,2\n"3", "4"\n', "a space before a quotation mark"),
    ("１,２\n３,４\n", "line 2, column '１': expected a finite number, received '３'"),
    ("1,2\n" + 399 * "3," + "4\n", "line 2: expected 2 columns, received 400: '3,3,3"),
    (399 * "3," + "4\n", "received 400: '1', '2', '3', '4'"),
    ("1 2\n3 4 5\n6\n", "received 1: '1 2', which looks like columns separated by spaces"),
    ("1\n2\n", "received 1: '1'"),
    ("x,y\n\n1,2\n3,four\n", "line 4, column 'y': expected a finite number, received 'four'"),
    ("1,\n", "line 1, column '2': expected a finite number, received 'nan'"),
    ("1,2\n\n-inf,2\n", "line 3, column '1': expected a finite number, received '-inf'"),
    ("1,2\n1_0,2\n", "line 2, column '1': expected a finite number, received '1_0'"),
    ("z1,z2,log_q\n1,x,3\n", "line 2, column 'z2': expected a finite number, received 'x'"),
    ("2020_01,2020_02\n1,2\n3,x\n", "line 3, column '2020_02'"),
    ("1,\u00a02\n3,x\n", "line 2, column '2'"),
    (npy_of(np.zeros((4, 3))), "received 3: '1', '2', '3'"),
    (npy_of(np.zeros((0, 2))), "expected rows"),
    (npy_of(np.zeros((4, 2), bool)), "row 0 counted from 0, column '1'"),
    (npy_of(np.array([["1", "2"]])), "dtype <U1"),
    (npy_of(np.array([[1.0, 2.0], [np.nan, 0.0]])), "row 1 counted from 0"),
    (npy_of(np.zeros((2, 2))).replace(b"(2, 2), ", b"(99999999, 2),"), "(n, D) of numbers"),
    (npy_of(np.zeros((2, 2))).replace(b"(2, 2)", b"(2**9, 2)"), "(n, D) of numbers"),
]


@pytest.mark.parametrize(
    ("read", "name", "file", "expected"),
    [
        *((read_all, *one) for one in BAD),
        *((read_points, "t.csv", *one) for one in NO_POINTS),
    ],
)
def test_bad_files_are_one_line_that_says_where(write, read, name, file, expected):
    path = write(file, name)
    assert expected in complaint(lambda: read(path), path)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_is_never_loaded(tmp_path, write):
    made = tmp_path / "made"
    objects = npy_of(np.array([[Bomb(str(made)), 1]], dtype=object))
    for name, file, named in (
        ("p.csv", pickle.dumps(Bomb(str(made))), "Parquet"),
        ("p.npy", pickle.dumps(Bomb(str(made))), r"b'\x80"),
        ("o.npy", objects, "Python objects"),
    ):
        path = write(file, name)
        line = complaint(lambda path=path: read_points(path), path)
        assert named in line and "allow_pickle" not in line and "pickle.load" not in line
    assert not made.exists()


def test_what_is_no_file_is_one_line(tmp_path, monkeypatch, write):
    closed = write("1,2\n", "closed.csv")
    closed.chmod(0)
    for path, named in (
        (tmp_path / "a.csv", "no such file"),
        (tmp_path / (300 * "a"), "name too long"),
        (tmp_path, "a folder"),
        ("/dev/zero", "not a regular file"),
        *([] if os.access(closed, os.R_OK) else [(closed, "permission denied")]),
    ):
        assert named in complaint(lambda path=path: open_table(path), path).lower()
    with pytest.raises(DataError, match="no such file"):
        open_table("a\0b")
    monkeypatch.setattr(delimited, "MAX_BYTES", 100)
    for path in (write(101 * "1"), write(gzip.compress(101 * b"1\n", mtime=0), "b.gz")):
        assert "at most 100 bytes" in complaint(lambda path=path: open_table(path), path)


LATE = 2**18  # rows of "1,2", which fill the first MiB


@pytest.mark.parametrize("header", ["", "\na,b\n\n"])
def test_text_that_comes_late_is_named_by_its_line(write, header):
    path = write(header + LATE * "1,2\n" + "\n3,\x1b[31m" + 90 * "z" + "\n")
    table = open_table(path)
    b = table.columns[1]
    row = LATE + header.count(chr(10)) + 2
    place = f"line {row}, column {b.name!r}: expected a finite number, received "
    line = complaint(lambda: numbers_of(table, [b.name]), path)
    assert line.startswith(place + r"'\x1b[31mzzz")
    assert len(line) <= len(place) + 60
    assert text_of(table, b.name)[-1].endswith("z")
    assert len(numbers_of(table, [table.columns[0].name])) == LATE + 1
    whole = open_table(write("a\n" + 600_000 * "1\n" + "0.1\n1e3\n"))
    assert numbers_of(whole, ["a"])[-3:, 0].tolist() == [1.0, 0.1, 1000.0]


def changed(path, how):
    if how == "grown":
        with path.open("ab") as file:
            file.write(b"3,4")
    elif how == "replaced":
        path.with_suffix(".new").write_bytes(path.read_bytes())
        path.with_suffix(".new").replace(path)
    else:
        os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("how", ["grown", "replaced", "rewritten"])
@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.npy", "t.jsonl"])
def test_a_table_that_changes_while_it_is_read_is_refused(tmp_path, name, how):
    """Or columns of two files would stand side by side."""
    path = tmp_path / name
    write_table(path, ["x", "y"], blocks(table_of(XY)))
    if name == "t.jsonl":
        path.write_text('{"x": 1, "y": 2}\n{"x": 3, "y": 4}\n')
    table = open_table(path)
    parts = blocks(table)
    assert next(parts).num_rows == 2
    changed(path, how)
    for read in (lambda: [*parts], lambda: read_columns(table)):
        assert complaint(read, path).startswith("changed while it was read")


def test_a_line_that_grows_is_no_line_of_too_few_cells(write):
    path = write("x,y\n1,2\n3")
    table = open_table(path)
    assert "received 1" in complaint(lambda: [*blocks(table)], path)
    changed(path, "grown")
    assert "changed while it was read" in complaint(lambda: [*blocks(table)], path)


def test_columns_are_taken_in_the_order_asked_for(write):
    for name, file in (("t.csv", "a,a.b,c\n1,2,x\n"), ("t.parquet", None)):
        file = file or parquet_of(**{"a": [1], "a.b": [2], "c": ["x"]})
        table = open_table(write(file, name))
        values = numbers_of(table, ["a.b", "a"])
        assert values.tolist() == [[2.0, 1.0]]
        assert values.dtype == np.float64 and values.flags["C_CONTIGUOUS"]
        assert text_of(table, "a").tolist() == ["1"]
        line = complaint(lambda table=table: numbers_of(table, ["a", "c"]), table.name)
        assert line.endswith("column 'c': expected a finite number, received 'x'")
        line = complaint(lambda table=table: numbers_of(table, ["aa.b"]), table.name)
        assert "no column 'aa.b' (did you mean 'a.b'?)" in line


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.npy"])
def test_more_rows_than_allowed_are_refused(tmp_path, monkeypatch, name):
    path, rows = tmp_path / name, np.arange(6.0).reshape(3, 2)
    write_table(path, ["1", "2"], blocks(table_of(rows)))
    table = open_table(path)
    assert table.n_rows == (None if name == "t.csv" else 3)
    np.testing.assert_array_equal(numbers_of(table, ["1", "2"]), rows)
    monkeypatch.setattr(raw_columns, "MAX_ROWS", 2)
    line = complaint(lambda: read_points(path), path)
    assert line.startswith("expected at most 2 rows, received ")


def test_a_table_that_is_not_read_to_its_end_keeps_python_from_ending_no_longer(write):
    path = write("a,b\n" + 2**21 * "1,2\n")
    code = "from nflow_cli.data.files.table_files import open_table\n"
    code += f"blocks = open_table({str(path)!r}).blocks(['a', 'b'])\nnext(blocks)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_places_are_told_as_the_file_counts_them_and_quoted_rows_are_whole(write):
    table = open_table(write('\n"a\nb",c\n1,2\n\n \n3,"x\ny"\n5,6\n'))
    assert [table.place(row) for row in range(3)] == ["line 4", "line 7", "line 9"]
    assert table.place(99) == "data row 100"
    assert table_of(np.zeros(3)).place(2) == "row 2 counted from 0"
    n = 60_000  # across blocks
    rows = [f'{i},"{i}\n, ""{"z" * (i % 50)}"""' for i in range(n)]
    table = open_table(write("n,s\r\n" + "\r\n".join(rows)))
    assert numbers_of(table, ["n"])[:, 0].tolist() == list(range(n))
    assert text_of(table, "s").tolist() == [f'{i}\n, "{"z" * (i % 50)}"' for i in range(n)]
    assert table.place(n - 1) == f"line {2 * n}"


def test_what_is_told_apart_is_said(write):
    table = open_table(write("größe;b\n1,5;2\n".encode("latin-1")))
    dialect = table.dialect
    assert (dialect.encoding, dialect.delimiter, dialect.decimal) == ("cp1252", ";", ",")
    said = "text is read in Windows-1252, as '{}' in line {}: if that is garbled, save the table"
    assert table.notes == [f"{said.format('größe', 1)} in UTF-8"]
    table = open_table(write("id;x\n1;Kraków\n2;Łódź\n".encode("cp1250")))
    assert table.notes == [f"{said.format('£ódŸ', 3)} in UTF-8"]


@pytest.mark.parametrize(
    "header",
    [
        *("a,a,a", "a,a,a.1", "a,a.1,a", "a.1,a,a,a", "a,a,a.1,a.1", "b,index,index", "2,b,2"),
        *("\x1b[31m,\x1b[31m", "é,é"),
    ],
)
def test_repeated_names_are_those_of_pandas(write, header):
    table = open_table(write(header + "\n" + ",".join("1234"[: header.count(",") + 1]) + "\n"))
    names = [*pytest.importorskip("pandas").read_csv(io.StringIO(header)).columns]
    assert [column.name for column in table.columns] == names
    new = sorted({*names} - {*header.split(",")})
    (note,) = table.notes
    assert note.startswith("columns named anew") and all(repr(name) in note for name in new)


ROWS = "Bo;1,5;2\nAl;2,5;3\nCy;3,5;9\nDi;4;8\n"  # as a spreadsheet writes them
NAMED = {"Name": ["Bo", "Al", "Cy", "Di"], "x": [1.5, 2.5, 3.5, 4], "y": [2, 3, 9, 8]}
MARGINS = [  # above the rows, below them, lines of the first and last row, lines left out
    ("Name;x;y\n", "", "2 5", []),
    ("Sales 2023\n\nName;x;y\n", "", "4 7", ["line 1, 'Sales 2023'"]),
    ("Sales 2023;;\n;;\nName;x;y\n", "", "4 7", ["line 1, 'Sales 2023'"]),
    ("On:;31.12.2023;\n2023;;\nName;x;y\n", "", "4 7", ["lines 1 to 2, 'On: 31.12.2023'"]),
    ("Name;x;y\n", "Summe;11,5;22\n", "2 5", ["line 6, 'Summe 11,5 22'"]),
    ("Name;x;y\n", "Total;11,5\n", "2 5", ["line 6, 'Total 11,5'"]),
    ("Name;x;y\n", "\nTotal général:;;22", "2 5", ["line 7, 'Total général: 22'"]),
    ("Name;x;y\n", ";;22\n", "2 5", ["line 6, '22'"]),
    ("Name;x;y\n", ";;\n;;\n\n", "2 5", ["lines 6 to 7, empty"]),
    ("Name;x;y\n", "(4 rows)\n", "2 5", ["line 6, '(4 rows)'"]),
    ("sep=;\nName;x;y\n", "", "3 6", ["line 1, 'sep='"]),
    ("Name;x;y\n;kg;[m]\n", "", "3 6", ["line 2, 'kg [m]'"]),
    ("Name;x;y\n", ";;\nEnd Time;14:05;\nby hand;;\n", "2 5", ["lines 6 to 8, 'End Time 14:05'"]),
    (
        "Name;x;y\nYour name?;How many?;Of which size?\n",
        "",
        "3 6",
        ["line 2, 'Your name? How many? Of which size?'"],
    ),
    (
        'Name;x;y\nName;x;size\n{"ImportId":"n"};{"ImportId":"x"};{"ImportId":"y"}\n',
        "",
        "4 7",
        ["lines 2 to 3, 'Name x size'"],
    ),
    (
        "T\nName;x;y\n",
        "Total;11,5;22\n\nSource: the office; 2023\n",
        "3 6",
        ["line 1, 'T'", "lines 7 to 9, 'Total 11,5 22'"],
    ),
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("above", "below", "places", "left_out"), MARGINS)
def test_titles_and_totals_are_left_out_and_said(write, above, below, places, left_out, end):
    path = write((above + ROWS + below).replace("\n", end))
    table = open_table(path)
    assert content(table) == content(table) == NAMED
    assert [table.place(row) for row in (0, 3)] == [f"line {line}" for line in places.split()]
    assert [note.partition(": ")[2] for note in table.notes] == left_out


def test_rows_below_an_empty_one_are_rows_where_they_are_like_those_above(write):
    days = [f"2013-04-{day:02d}" for day in range(1, 12)]
    table = open_table(write("day\n" + "\n".join([*days[:6], '""', *days[6:]]) + "\n"))
    assert (table.notes, text_of(table, "day").tolist()) == ([], [*days[:6], "", *days[6:]])
    rows = [f"{day},{place},1.5" for place, day in enumerate(days)]
    table = open_table(write("day,n,x\n" + "\n".join([*rows[:6], ",,", *rows[6:]]) + "\n"))
    assert table.notes == [] and len(text_of(table, "day")) == 12


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_header_that_stands_again_is_no_row_and_is_said(write, end):
    table = open_table(write(("Name;x;y\n" + ROWS + "Name;x;y\n" + ROWS).replace("\n", end)))
    assert content(table) == {name: 2 * cells for name, cells in NAMED.items()}
    assert table.notes == ["left out: the header again, in line 6"]
    assert table.place(4) == "line 7"


@pytest.mark.parametrize(
    ("first", "rows", "names"),
    [
        ("S\t12.5 g", ["S\t12.25 g", "S\t13 g"], ["1", "2"]),
        ("2024-07-08,open,56 %", ["2024-07-09,shut,7 %", "2024-07-10,open,9 %"], ["1", "2", "3"]),
        ("07.10.2023;rent;252,43 €", ["01.11.2023;gas;9,10 €"], ["1", "2", "3"]),
        ("place,2024-01-01,2024-02-01", ["a,1,2", "b,2,3"], ["place", "2024-01-01", "2024-02-01"]),
        ("day,size kg", ["2024-07-09,7 kg", "2024-07-10,9 kg"], ["day", "size kg"]),
    ],
)
def test_a_first_row_with_dates_or_units_like_the_others_is_no_header(write, first, rows, names):
    table = open_table(write("\n".join([first, *(4 * rows), ""])))
    assert [column.name for column in table.columns] == names
    said = "line 1 is read as the first row, and no header, as it is like the others: "
    is_row = names[0] == "1"
    assert [note[: len(said)] for note in table.notes] == [said] * is_row
    assert len(read_columns(table)[1]) == 4 * len(rows) + is_row


@pytest.mark.parametrize(
    ("text", "n", "notes"),
    [
        ("k,x\n" + "k,1\n" * 5 + ",\n" + "k,2\n" * 3, 9, []),
        ("sex,n\n" + "m,1\nf,2\ntotal,3\n" * 3, 9, []),
        ("k,n\n" + "k,1\n" * 5 + ",5\n", 6, ["line 7 may be a total"]),
        ("k,n\n" + "k,1\n" * 5 + "k,\n" * 2, 7, []),
        ("k,n,m\n" + "k,1,\n" * 5 + "k,,\n", 6, []),
        ("a,b,c\n" + "1,2,3,\n" * 4, 4, ["the header has no name for column 4", "columns named"]),
        ("a,b,c\n" + "n,1,2,3\n" * 4, 4, ["the header has no name for column 1"]),
        ("a,b\n,kg\n" + ",2\n" * 4, 5, []),
        ("a,b\nm,kg\n1,-\n" + "1,2\n" * 4, 5, ["left out below the header: line 2"]),
        (
            "t,a,b\nTS,V,C\n,Min,Avg\n" + "2024-01-30,1,NAN\n" * 4,
            4,
            ["left out below the header: l"],
        ),
        ("id,\nfoo,bar\nbaz,qux\nab,cd\n", 3, ["columns named anew"]),
        ("1,,\n4,5,6\n7,8,9\n7,8,9\n", 4, []),
        ("Bo,,\nAl,2,3\nCy,3,4\nDi,4,5\n", 3, ["columns named anew"]),
        ("k,x,y\n" + "k,1,2\n" * 5 + "k,,\n", 6, ["line 7 may be a total"]),
        ("k,l,m,x,y,z\n" + "k,l,1,,,\n" * 5 + ",Sum up,,1,2,3\n", 6, ["line 7 may be a total"]),
        ("k,l,x,y,z\n" + "k,l,1,2,\n" * 5 + "k,l,,,End\n", 6, []),
        (",x\nfoo,1\nbar,2\nbaz,3\n", 3, []),
        ("note\nTo whom it may concern\nTotal\nb\n", 3, []),
        ("x\n" + 3 * "yes\n" + 3 * '""\n', 6, []),
        ("t\n2014-04-22 10:13:07\n" + 3 * "1991-08-26 02:21:40\n" + '""\n', 5, []),
    ],
)
def test_rows_that_may_be_data_stay(write, text, n, notes):
    table = open_table(write(text))
    assert len(read_columns(table)[1]) == n
    assert [note[: len(said)] for note, said in zip(table.notes, notes, strict=True)] == notes


def test_the_bottom_is_found_where_blocks_end(write):
    for n in (2**18 - 2, 2**18 - 1, 2**18, 2**18 + 1, 2**19):
        table = open_table(write("a,b\n" + n * "1,2\n" + f"Total,{2 * n}\n\nSource: us\n"))
        assert matrix(table).shape == (n, 2)
        assert table.notes == [
            f"left out below the table: lines {n + 2:,} to {n + 4:,}, 'Total {2 * n}'"
        ]


@pytest.mark.parametrize(
    ("file", "is_cut"),
    [
        *((b"x,y\n1.5,2.5\n3,4" + end, not end) for end in (b"\n", b"\r\n", b"")),
        *((("x,y\n1.5,2.5\n3,4" + end).encode("utf-16"), not end) for end in ("\n", "")),
        (parquet_of(**XY), False),
    ],
)
def test_standard_input_is_read_and_may_be_cut_short(monkeypatch, write, file, is_cut):
    stdin = types.SimpleNamespace(buffer=io.BytesIO(file))
    monkeypatch.setattr(sys, "stdin", stdin)
    table = open_table("-")
    assert len(table.notes) == is_cut
    assert all(note.startswith("its last line") for note in table.notes)
    assert not open_table(write(file)).notes  # many editors write files so
    assert content(table) == content(table) == XY
    assert "empty" in complaint(lambda: open_table("-"), "standard input")
    with monkeypatch.context() as closed:
        closed.setattr(sys, "stdin", None)
        assert "closed; expected" in complaint(lambda: open_table("-"), "standard input")
    monkeypatch.setattr(table_files, "MAX_STDIN", 7)
    stdin.buffer.seek(0)
    assert "at most 7 bytes" in complaint(lambda: open_table("-"), "standard input")


class Frame:
    """A DataFrame of some other make."""

    def __init__(self, **columns):
        self._table = pa.table(columns)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


class Series:
    """A column of pandas or polars, which Arrow takes as an array and no table."""

    def to_frame(self):
        return Frame(price=[1.5, 2.5])

    def __arrow_c_stream__(self, requested_schema=None):
        return pa.chunked_array([[1.5, 2.5]]).__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (pa.table({"a": [1, None], "b": ["x", "y"]}), {"a": [1, NAN], "b": ["x", "y"]}),
        (Frame(a=[1.5], __index_level_0__=[3]), {"a": [1.5], "index": [3.0]}),
        (Series(), {"price": [1.5, 2.5]}),
        ({"a": [1, 2], "b": np.array(["x", "y"])}, {"a": [1, 2], "b": ["x", "y"]}),
        ({"a": np.array([1, 2], ">f4")}, {"a": [1, 2]}),
        (np.array([[1, 2], [3, 4]]), {"1": [1, 3], "2": [2, 4]}),
        ([1.5, 2.5], {"1": [1.5, 2.5]}),
    ],
)
def test_what_python_hands_over_is_a_table(data, expected):
    np.testing.assert_equal(content(table_of(data)), expected)


def test_what_is_no_table_is_one_line():
    for data, named in (
        (None, "Received: NoneType"),
        (np.zeros((2, 2, 2)), "received shape (2, 2, 2)"),
        (np.zeros((2, 0)), "1 to 10,000 columns, received 0"),
        ([[1], [2, 3]], "no table"),
        ({}, "1 to 10,000 columns, received 0"),
        ({"a": [1], "b": [1, 2]}, "columns of one length"),
        ({"a": np.zeros((2, 2))}, "column 'a': expected shape (n,), received (2, 2)"),
        ({"a": [object()]}, "column 'a'"),
        (pa.table([[1], [2]], names=["a", "a"]), "two columns are called 'a'"),
        ({"a\udcff": [1]}, r"'a\udcff'"),
    ):
        assert named in complaint(lambda data=data: table_of(data), "the table given")
    lists = table_of(pa.table({"a": [[1], [2]]}))
    assert "a finite number" in complaint(lambda: numbers_of(lists, ["a"]), lists.name)


def names_of(path):
    return [column.name for column in open_table(path).columns]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.npy"])
def test_what_is_written_comes_back_exactly(tmp_path, name):
    path, rng = tmp_path / name, np.random.default_rng(0)
    rows = rng.standard_normal((100_000, 3)) * 10.0 ** rng.integers(-300, 300, (100_000, 1))
    rows[5] = [np.inf, -np.inf, NAN]
    names = ["a", "b, c", "größe"] if name != "t.npy" else ["1", "2", "3"]
    write_table(path, names, blocks(table_of(rows)))
    assert names_of(path) == names
    np.testing.assert_array_equal(matrix(open_table(path)), rows)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    write_table(path, ["a", "b"], [])
    assert matrix(open_table(path)).shape == (0, 2)
    if name == "t.npy":
        return
    odd = ["a,b", 'q"x', "line\nbreak", "carriage\rreturn", "$x$", "1", "2020", "=f", "\x1b[31m"]
    write_table(path, odd, blocks(table_of(np.ones((3, len(odd))))))
    assert names_of(path) == odd
    data = {"s": ['a"b', "x\ny", "1,5"], "n": [1.5, 2.0, 3.0]}
    write_table(path, ["s", "n"], blocks(table_of(data)))
    write_table(tmp_path / "again.csv", ["s", "n"], blocks(open_table(path)))
    assert content(open_table(path)) == content(open_table(tmp_path / "again.csv")) == data


def test_what_an_array_masks_is_missing_and_long_floats_are_rounded():
    x = np.ma.masked_less(np.arange(6).reshape(3, 2), 2)
    expected = [[NAN, NAN], [2, 3], [4, 5]]
    np.testing.assert_array_equal(matrix(table_of(x)), expected)
    columns = table_of({"a": x[:, 0], "b": x[:, 1]})
    np.testing.assert_array_equal(matrix(columns), expected)
    long = table_of(np.array([[1.5, 2.5]], np.longdouble))
    np.testing.assert_array_equal(numbers_of(long, ["1", "2"]), [[1.5, 2.5]])


def test_columns_that_are_numbered_have_no_header(tmp_path, monkeypatch):
    write_table(tmp_path / "t.csv", ["1", "2"], blocks(table_of(np.array([[1.0, 2.0]]))))
    assert (tmp_path / "t.csv").read_bytes() == b"1,2\n"
    stdout = types.SimpleNamespace(buffer=io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stdout)
    write_table("-", ["a"], blocks(table_of(np.array([0.5]))))
    assert stdout.buffer.getvalue() == b"a\n0.5\n"


def test_a_table_is_written_through_a_link_to_a_file_and_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("link.csv").symlink_to("real.csv")
    Path("loop.csv").symlink_to("loop.csv")
    os.mkfifo("pipe.csv")
    for name, why in (("link", "No such file"), ("loop", "Too many"), ("pipe", "a named pipe")):
        with pytest.raises(RunDirectoryError, match=f"{name}.csv: {why}"):
            write_table(f"{name}.csv", ["x", "y"], blocks(table_of(XY)))
    Path("real.csv").write_text("old")
    write_table("link.csv", ["x", "y"], blocks(table_of(XY)))
    assert Path("link.csv").is_symlink() and content(open_table("real.csv")) == XY
    assert sorted(os.listdir()) == ["link.csv", "loop.csv", "pipe.csv", "real.csv"]


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    (tmp_path / "t.csv").write_text("old")
    (tmp_path / "t.npy").write_text("old")

    def batches():
        yield from blocks(table_of(np.zeros(3)))
        raise DataError("stopped")

    with pytest.raises(DataError, match="stopped"):
        write_table(tmp_path / "t.csv", ["a"], batches())
    with pytest.raises(DataError, match="'s': expected numbers, received string"):
        write_table(tmp_path / "t.npy", ["s"], blocks(table_of({"s": ["x"]})))
    assert {path.read_text() for path in tmp_path.iterdir()} == {"old"}


def test_an_array_that_unpacks_to_too_much_is_not_read(write):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy_of(np.zeros(10**6)) + bytes(10**6))
    path = write(file.getvalue(), "t.npz")
    assert "expected 8,000,000 bytes, received more" in complaint(lambda: open_table(path), path)


def text_in_all_rows(letters, n):
    """Return a Parquet file of one text, which it stores once, in n rows."""
    file, which = io.BytesIO(), pa.array(np.zeros(n, np.int32))
    cells = pa.DictionaryArray.from_arrays(which, pa.array([letters * "x"]))
    parquet.write_table(pa.table({"a": cells}), file, store_schema=False)
    return file.getvalue()


def zeros_in_a_row(n):
    """Return a Parquet file of one row, a list of n zeros."""
    cells = pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), pa.array(np.zeros(n, np.int8)))
    return parquet_of(a=cells)


def array_header(shape):
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


def keys(n, start=0):
    return "".join(f'{{"k{i}": 1}}\n' for i in range(start, start + n))


SMALL_AND_LARGE = [
    ("t.npy", array_header((0, 10**12)), "1 to 10,000 columns, received 1,000,000,000,000"),
    ("t.npz", npz_of(a=np.zeros((0, 10**6))), "a: expected shape (n,) or (n, D), received (0, "),
    ("t.npz", npz_of(a=np.zeros(3, f"U{2**25}")), "a: expected at most 268,435,456 bytes of text"),
    ("t.jsonl", keys(20_000), "expected 1 to 10,000 columns"),
    (
        "t.jsonl",
        keys(1) + '{"v":"{",' + ",".join(f'":k{i}":1' for i in range(20_000)) + "}\n",
        "1 to",
    ),
    (
        "t.jsonl",
        keys(9_000),
        "at most 33,554,432 cells, most of them missing, received 9,001 lines",
    ),
    ("t.jsonl", keys(1) + f'{{"a": "{2**24 * "x"}"}}\n', "lines of at most 16,777,216 bytes"),
    ("t.jsonl", "{}\n" * 10**7, "1,073,741,824 bytes and 10,000,000 JSON lines"),
    ("t.parquet", text_in_all_rows(10**6, 300), "bytes of text in 300 rows, received 300,000,000"),
    ("t.parquet", zeros_in_a_row(2**25), "expected rows of at most 268,435,456 bytes"),
]


@pytest.mark.parametrize(
    ("name", "file", "expected"), SMALL_AND_LARGE, ids=[str(i) for i in range(len(SMALL_AND_LARGE))]
)
def test_what_would_be_large_in_memory_is_counted_first(write, name, file, expected):
    path = write(file, name)
    assert expected in complaint(lambda: read_all(path), path)


def test_long_cells_of_parquet_are_read_a_few_at_a_time(write, monkeypatch):
    monkeypatch.setattr(array_tables, "MAX_BLOCK", 2**20)
    cells = [f"{i:05d}{'x' * 2**12}" for i in range(1_000)]
    table = open_table(write(parquet_of(a=cells), "t.parquet"))
    assert max(block.num_rows for block in table.blocks(["a"])) < 256
    assert text_of(table, "a").tolist() == cells


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
    assert complaint(lambda: read_points(path), path).startswith("line 10000000, column '2'")


def test_the_last_cell_may_be_long(write):
    path = write("x,y\n" + 60 * "1.5,a\n" + f"2.5,{2**18 * 'a'}\n{2**16 * '1'}x,b\n")
    table = open_table(path)
    assert text_of(table, "y")[-2] == 2**18 * "a" and len(text_of(table, "x")[-1]) == 2**16 + 1


def test_a_run_of_spaces_is_one_delimiter_however_long(write):
    table = open_table(write("x y\n" + "1" + 10**6 * " " + '2\n3 "4"\n' + 10**6 * " " + "5 6\n"))
    assert content(table) == {"x": [1, 3, 5], "y": [2, 4, 6]}

"""Tables that no density of cells can be fitted to: all that is wrong with each is one line."""

import gzip

import numpy as np
import pytest
from pyarrow import array, parquet
from pyarrow import table as arrow_table

from nflow_cli.config.table_schema import TableData
from nflow_cli.data.dataset import load_dataset
from nflow_cli.data.table_files import table_of
from nflow_cli.experiments import run as running

RNG = np.random.default_rng(0)
N = 60
COLUMNS = {
    "x": RNG.normal(size=N).round(3),
    "city": RNG.choice(["Rome", "Oslo"], N),
    "age": RNG.integers(18, 60, N),
    "w": RNG.integers(0, 4, N),
    "part": np.resize(["train", "test", "validation"], N),
    "pair": np.resize(["a", "b"], N),
}


def text_of(columns):
    rows = zip(*columns.values())
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows), ""])


def changed(name, row, value):
    """Return the table as text, one cell of which is another."""
    column = [*COLUMNS[name]]
    column[row] = value
    return text_of({**COLUMNS, name: column})


ENDLESS = [*RNG.normal(size=40), *(20 * [np.inf])]
LINES = text_of(COLUMNS).splitlines()
WIDE = text_of({f"c{i}": np.resize(["a", "b"], 12) for i in range(1_001)})
FILES = {
    "good.csv": text_of(COLUMNS),
    "inf.csv": changed("x", 3, "inf"),
    "infinities.csv": text_of({**COLUMNS, "x": ENDLESS, "age": [-x for x in ENDLESS[::-1]]}),
    "only.csv": text_of({"x": [*COLUMNS["x"][:-1], np.inf]}),
    "negative.csv": changed("w", 5, -1),
    "endless.csv": changed("w", 5, "inf"),
    "unweighted.csv": changed("w", 5, ""),
    "zeros.csv": text_of({**COLUMNS, "w": np.zeros(N, int)}),
    "untested.csv": text_of({**COLUMNS, "w": (COLUMNS["part"] != "test").astype(int)}),
    "log_q.csv": text_of({"x": COLUMNS["x"], "log_q": RNG.normal(size=N)}),
    "nine.csv": "\n".join(LINES[:10]),
    "header.csv": LINES[0] + "\n",
    "constant.csv": "a,b\n" + 20 * "1,\n",
    "numbered.csv": "id\n" + "".join(f"{i}\n" for i in range(60)),
    "unique.csv": "name\n" + "".join(f"who {i}\n" for i in range(60)),
    "gaps.csv": "a,b\n" + "".join(f"{i / 7},\n,{i / 3}\n" for i in range(20)),
    "some.csv": "a,b\n" + "".join(f"{i / 7},{'' if i % 4 else i / 3}\n" for i in range(20)),
    "wide.csv": WIDE,
    "other.csv": text_of({"y": COLUMNS["x"], "city": COLUMNS["city"]}),
    "tests.csv": text_of({**COLUMNS, "x": [np.inf] * N, "age": ["old"] * N}),
    "few.csv": "\n".join(LINES[:5]),
    "overflow.csv": changed("x", 7, "1e999"),
    "beyond.csv": text_of({"x": 1e101 * COLUMNS["x"]}),
    "missing.csv": "a,b\n" + 20 * ",NA\n",
    "blanks.csv": text_of(COLUMNS).replace(",", " "),
    "late.csv": text_of({**COLUMNS, "late": np.where(COLUMNS["part"] == "train", "", "a")}),
    "mixed.csv": changed("w", 5, "many"),
}
BYTES = {
    "nul.csv": text_of(COLUMNS).encode().replace(b"Rome", b"Ro\0me", 1),
    "utf-16-le.csv": text_of(COLUMNS).encode("utf-16-le"),
    "utf-32.csv": text_of(COLUMNS).encode("utf-32"),
    "half.csv": text_of(COLUMNS).encode("utf-16")[:-1],
    "base.csv": b"SQLite format 3\0" + bytes(90),
    "sheet.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(60),
    "twice.csv.gz": gzip.compress(gzip.compress(text_of(COLUMNS).encode())),
}
NO_TEXT = ["nul.csv", "utf-16-le.csv", "utf-32.csv", "half.csv", "base.csv", "sheet.xls"]
NO_TEXT += ["twice.csv.gz"]
NAMING = ["columns", "exclude", "given", "categorical", "discrete", "weights", "split", "group"]
NONE = "expected a column to model, received none"
FAULTS = [
    ("inf.csv", "column 'x': expected finite numbers, received inf in line 5; --exclude x"),
    (
        "infinities.csv",
        "column 'x': expected finite numbers, received inf in line 42 and 19 other rows; column "
        "'age': expected finite numbers, received -inf in line 2 and 19 other rows; "
        "--exclude x,age",
    ),
    ("inf.csv --given x", "column 'x': expected finite numbers, received inf in line 5"),
    ("only.csv", f"received inf in line 61; {NONE}; --exclude x"),
    ("good.csv --bounds x=0:", "column 'x': expected values between 0 and inf, received -0.1"),
    ("good.csv --bounds age=:20,x=9:", "'x': expected values between 9 and inf, received 0.126 "),
    ("good.csv --bounds city=0:1", "column 'city': expected numbers, as data.bounds says, rece"),
    ("good.csv --discrete city", "column 'city': expected numbers, as data.discrete says, rece"),
    ("good.csv --discrete x:0.01", "column 'x': expected multiples of 0.01, "),
    ("good.csv --weights city", "column 'city': expected finite weights of 0 or more, received 'O"),
    ("good.csv --weights x", "column 'x': expected finite weights of 0 or more, received -0.13"),
    ("negative.csv --weights w", "column 'w': expected finite weights of 0 or more, received -1"),
    ("endless.csv --weights w", "column 'w': expected finite weights of 0 or more, received inf"),
    ("zeros.csv --weights w", "column 'w': expected finite weights of 0 or more, received 0 in al"),
    ("unweighted.csv --weights w", "received none in 1 rows; --missing drop"),
    (
        "untested.csv --weights w --split part",
        "column 'w': expected weights, received 0 in all 20 test rows",
    ),
    ("log_q.csv", "column 'log_q': the name is reserved for log-densities; --exclude log_q"),
    ("nine.csv", "expected at least 10 rows, received 9"),
    ("header.csv", "expected at least 10 rows, received 0"),
    ("constant.csv", f"{NONE}; left out: a, b (constant)"),
    ("numbered.csv", f"{NONE}; left out: id (row number)"),
    ("unique.csv", f"{NONE}; left out: name (text, mostly unique)"),
    (
        "gaps.csv --missing refuse",
        "40 of 40 rows have missing values (a 20, b 20); --missing model",
    ),
    (
        "gaps.csv --missing drop",
        "expected at least 10 rows without missing values, received 0: 40 of 40 r",
    ),
    (
        "some.csv --missing drop",
        "received 5: 15 of 20 rows have missing values (b 15); --missing model",
    ),
    ("wide.csv", "expected at most 1,000 columns, received 1,001; --columns takes some"),
    ("good.csv --columns nix,age,nought", "data.columns: no column 'nix'; data.columns: no colum"),
    ("good.csv --given ages --weights wt", "no column 'ages' (did you mean 'age'?); data.weights"),
    ("good.csv --split city", "data.split: expected train, validation and test (or 0, 1 and 2) in"),
    ("good.csv --group pair", "data.group: expected 3 or more groups in column 'pair', received 2"),
    ("inf.csv --split city", "received inf in line 5; data.split: expected train, validation and"),
    ("inf.csv --bounds age=:20 --weights city", "line 5; column 'age': expected values between"),
    ("good.csv --given x,city,age,w,part,pair", NONE),
    ("good.csv --test good.csv", "expected test rows other than the training rows"),
    ("good.csv --test other.csv", "other.csv: data.columns: no column 'x'; data.columns: no colu"),
    ("good.csv --test tests.csv", "tests.csv: column 'x': expected finite numbers, received inf"),
    ("good.csv --test few.csv", "few.csv: expected at least 10 rows, received 4"),
    ("good.csv --test nowhere.csv", "nowhere.csv: no such file"),
    ("structures.parquet", f"{NONE}; left out: a (text, mostly unique)"),
    ("no_rows.parquet", "expected at least 10 rows, received 0"),
    ("overflow.csv", "column 'x': expected finite numbers, received inf in line 9; --exclude x"),
    ("beyond.csv", f"{NONE}; left out: x (numbers beyond 1e+100)"),
    ("missing.csv", f"{NONE}; left out: a, b (constant)"),
    ("blanks.csv", f"{NONE}; left out: x city age w part pair (text, mostly unique)"),
    (
        "late.csv --split part",
        "column 'late': expected a value in the training rows, received none; --exclude late",
    ),
    ("mixed.csv --weights w", "weights of 0 or more, received 'many' in line 7"),
    ("mixed.csv --bounds w=0:", "expected numbers, as data.bounds says, received 'many' in line 7"),
    *((name, "expected text, an array of NumPy, or Parquet") for name in NO_TEXT),
    ("nowhere", "nowhere: no such table"),
    ("https://example.org/t.csv", "a URL; expected a file: download it first"),
    ("-", "standard input: empty"),
    *(
        (f"good.csv --{key} nix{rest}", f"data.{key}: no column 'nix'")
        for key, rest in (("bounds", "=0:"), *dict.fromkeys(NAMING, "").items())
    ),
    ("good.csv --exclude x,city,age,w,part,pair", "expected a column to model, received none"),
    ("good.csv --discrete age:7", "expected multiples of 7, 4 more, as data.discrete says, rece"),
    ("good.csv --set data.kinds.x.kind=number", "data.kinds: expected the kinds of all columns"),
    ("good.csv --set cells.width=0", "--set cells.width: expected a number not less than 1"),
    ("good.csv --preset nix", "no preset named 'nix'"),
    ("lists.parquet", f"{NONE}; left out: a (text, mostly unique)"),
    ("lists.parquet --columns a", "column 'a': more than 100,000 distinct texts, or nested data"),
    ("infinite.parquet", "column 'a': expected finite numbers, received inf in row 1 counted from"),
]
USAGE = [  # errors in options, before any table is read
    ("--bounds x=1", "'x=1': expected NAME=LOW:HIGH"),
    ("--steps 5 --epochs 2", "expected one of the two"),
]
TWO = {"x": COLUMNS["x"], "city": COLUMNS["city"]}
WRITTEN = {  # the columns TWO, as they may be written
    "mark": b"\xef\xbb\xbf" + text_of(TWO).encode(),
    "returns": text_of(TWO).replace("\n", "\r\n").encode(),
    "old returns": text_of(TWO).replace("\n", "\r").encode(),
    "no end": text_of(TWO).removesuffix("\n").encode(),
    "blank lines": text_of(TWO).replace("\n", "\n\n").encode(),
    "tabs": text_of(TWO).replace(",", "\t").encode(),
    "bars": text_of(TWO).replace(",", "|").encode(),
    "commas": text_of(TWO).replace(",", ";").replace(".", ",").encode(),
    "utf-16": text_of(TWO).encode("utf-16"),
    "gzip": gzip.compress(text_of(TWO).encode()),
    "quotes": "".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in text_of(TWO).split()
    ).encode(),
    "a quoted name": text_of(TWO).replace("city", '"city"').encode(),
    "quoted line breaks": text_of(TWO).replace("Rome", '"Rome"').encode(),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder of bad tables, in which no training begins."""

    def train(*_):
        raise AssertionError("a training began")

    monkeypatch.setattr(running, "train", train)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    for name, content in BYTES.items():
        (tmp_path / name).write_bytes(content)
    parquet.write_table(arrow_table({"a": array(20 * [[1, 2]])}), tmp_path / "lists.parquet")
    structures, empty = array(20 * [{"a": 1}]), array([], "float64")
    parquet.write_table(arrow_table({"a": structures}), tmp_path / "structures.parquet")
    parquet.write_table(arrow_table({"a": empty}), tmp_path / "no_rows.parquet")
    infinite = arrow_table({"a": [0.5, np.inf, *RNG.normal(size=20)]})
    parquet.write_table(infinite, tmp_path / "infinite.parquet")
    return tmp_path


def test_each_bad_table_is_refused_in_one_line_that_says_all_that_is_wrong(folder, invoke):
    wrong = []
    for line, words in FAULTS:
        result = invoke("fit", *line.split(" "))
        is_refused = result.exit_code == 1 and result.stdout == ""
        if not (is_refused and words in result.stderr and result.stderr.count("\n") == 1):
            wrong.append((line, words, result.output, result.exception))
    assert not wrong
    assert not (folder / "outputs").exists()


@pytest.mark.parametrize(("options", "words"), USAGE)
def test_options_that_no_fit_has_are_named(folder, invoke, options, words):
    result = invoke("fit", "good.csv", *options.split(" "))
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr.splitlines()[-1]
    assert not (folder / "outputs").exists()


@pytest.mark.parametrize("way", WRITTEN)
def test_a_table_is_the_same_however_it_is_written(tmp_path, way):
    (tmp_path / "t.csv").write_bytes(WRITTEN[way])
    settings = TableData(name=str(tmp_path / "t.csv"))
    data, known = load_dataset(settings), load_dataset(settings, table_of(TWO))
    assert data.kinds == known.kinds
    np.testing.assert_array_equal(data.train, known.train)


def test_what_is_refused_is_mended_by_the_options_that_the_line_ends_with(folder, invoke):
    for line in ("infinities.csv", "log_q.csv", "some.csv --missing refuse"):
        options = invoke("fit", *line.split(" ")).stderr.split("; ")[-1].split()
        done = invoke("fit", line.split(" ")[0], *options, "--dry-run")
        assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_levels_beyond_what_a_config_holds_are_refused_before_training(folder, invoke):
    levels = [f"level {i}" for i in range(1_000)]
    table = {f"c{i}": RNG.choice(levels, 2_500) for i in range(70)}
    (folder / "levels.csv").write_text(text_of(table))
    result = invoke("fit", "levels.csv")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "more than 50,000 values, in the config of a run" in result.stderr
    assert not (folder / "outputs").exists()

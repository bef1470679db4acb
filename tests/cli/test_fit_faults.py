"""Tables that no density of cells can be fitted to: all that is wrong with each is one line."""

import gzip

import keras
import numpy as np
import pytest
from pyarrow import array, parquet
from pyarrow import table as arrow_table

from nflow_cli.experiments import run as running

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="the commands run on TensorFlow"
)
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
WIDE = text_of({f"c{i}": RNG.normal(size=12) for i in range(1_001)})
FILES = {
    "good.csv": text_of(COLUMNS),
    "inf.csv": changed("x", 3, "inf"),
    "minus.csv": changed("x", 0, "-Infinity"),
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
    "twice.csv": "a,a\n" + 20 * "1,2\n",
    "nameless.csv": "a,,c\n" + 20 * "1,2,3\n",
    "ragged.csv": "\n".join([*LINES, "1,2", ""]),
    "quoted.csv": "\n".join([*LINES, '"1,2', ""]),
    "empty.csv": "",
    "blank.csv": "\n\n\n",
    "other.csv": text_of({"y": COLUMNS["x"], "city": COLUMNS["city"]}),
    "tests.csv": text_of({**COLUMNS, "x": [np.inf] * N, "age": ["old"] * N}),
    "few.csv": "\n".join(LINES[:5]),
}
BYTES = {
    "binary.csv": bytes(range(256)) * 9,
    "cut.csv.gz": gzip.compress(text_of(COLUMNS).encode())[:80],
    "text.gz": b"x,y\n1,2\n",
    "text.npy": b"x,y\n1,2\n",
    "broken.npy": b"\x93NUMPY\x01\x00\xff",
    "broken.parquet": b"PAR1" + bytes(50),
    "broken.npz": b"PK\x03\x04" + bytes(50),
    "sheet.xlsx": b"PK\x03\x04" + bytes(50),
}
NONE = "expected a column to model, received none"
FAULTS = [
    ("inf.csv", "column 'x': expected finite numbers, received inf in line 5; --exclude x"),
    ("minus.csv", "column 'x': expected finite numbers, received -inf in line 2; --exclude x"),
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
    ("good.csv --bounds age=:20,x=9:", "column 'age': expected values between -inf and 20, rece"),
    ("good.csv --bounds city=0:1", "column 'city': expected numbers, as data.bounds says, rece"),
    ("good.csv --discrete city", "column 'city': expected numbers, as data.discrete says, rece"),
    ("good.csv --discrete x", "column 'x': expected multiples of 1, "),
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
    ("log_q.csv", "column 'log_q': log-densities are written in one of this name; --exclude log_q"),
    ("nine.csv", "expected at least 10 rows, received 9"),
    ("header.csv", "expected at least 10 rows, received 0"),
    ("constant.csv", f"{NONE}; left out: a, b (constant)"),
    ("numbered.csv", f"{NONE}; left out: id (row number)"),
    ("unique.csv", f"{NONE}; left out: name (text, mostly unique)"),
    ("gaps.csv --missing refuse", "40 of 40 rows lack a value (a 20, b 20); --missing model"),
    ("gaps.csv --missing drop", "expected at least 10 rows without gaps, received 0: 40 of 40 r"),
    ("some.csv --missing drop", "received 5: 15 of 20 rows lack a value (b 15); --missing model"),
    ("wide.csv", "expected at most 1,000 columns, received 1,001; --columns takes some"),
    ("good.csv --columns nix,age,nought", "data.columns: no column 'nix'; data.columns: no colum"),
    ("good.csv --given ages --weights wt", "no column 'ages' (did you mean 'age'?); data.weights"),
    ("good.csv --split city", "data.split: expected train, validation and test (or 0, 1 and 2) in"),
    ("good.csv --group pair", "data.group: expected 3 or more groups in column 'pair', received 2"),
    ("inf.csv --split city", "received inf in line 5; data.split: expected train, validation and"),
    ("inf.csv --bounds age=:20 --weights city", "line 5; column 'age': expected values between"),
    ("good.csv --given x,city,age,w,part,pair", NONE),
    ("good.csv --test good.csv", "expected other rows for the test than those to train on"),
    ("good.csv --test other.csv", "other.csv: data.columns: no column 'x'; data.columns: no colu"),
    ("good.csv --test tests.csv", "tests.csv: column 'x': expected finite numbers, received inf"),
    ("good.csv --test few.csv", "few.csv: expected at least 10 rows, received 4"),
    ("good.csv --test nowhere.csv", "nowhere.csv: no such file"),
    ("twice.csv", "two columns are called 'a'; expected one"),
    ("nameless.csv", "column 2 of 3 has no name in the header"),
    ("ragged.csv", "line 62"),
    ("quoted.csv", "quoted.csv: "),
    ("empty.csv", "empty.csv: an empty file"),
    ("blank.csv", "blank.csv: "),
    ("binary.csv", "binary.csv: "),
    ("cut.csv.gz", "cut.csv.gz: damaged"),
    ("text.gz", "text.gz: expected the content of a .gz file"),
    ("text.npy", "text.npy: expected the content of a .npy file"),
    ("broken.npy", "broken.npy: expected an array"),
    ("broken.parquet", "broken.parquet: expected a Parquet file"),
    ("broken.npz", "broken.npz: expected one array"),
    ("sheet.xlsx", "sheet.xlsx: expected a table as .csv"),
    ("strings.npy", "strings.npy: expected an array (n,) or (n, D) of numbers"),
    ("cube.npy", "cube.npy: expected an array (n,) or (n, D) of numbers, received shape (2, 3, 4)"),
    ("lists.parquet", f"{NONE}; left out: a (text, mostly unique)"),
    ("lists.parquet --columns a", "column 'a': more than 100,000 distinct texts, or lists"),
    ("infinite.parquet", "column 'a': expected finite numbers, received inf in row 1 counted from"),
    (".", ".: a folder; expected a table"),
]


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
    np.save(tmp_path / "strings.npy", np.array(["a", "b"]))
    np.save(tmp_path / "cube.npy", np.zeros((2, 3, 4)))
    parquet.write_table(arrow_table({"a": array(20 * [[1, 2]])}), tmp_path / "lists.parquet")
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


def test_what_is_refused_is_mended_by_the_options_that_the_line_ends_with(folder, invoke):
    for line in ("infinities.csv", "log_q.csv", "some.csv --missing refuse"):
        options = invoke("fit", *line.split(" ")).stderr.split("; ")[-1].split()
        done = invoke("fit", line.split(" ")[0], *options, "--dry-run")
        assert done.exit_code == 0, done.output


def test_levels_beyond_what_a_config_holds_are_refused_before_training(folder, invoke):
    levels = [f"level {i}" for i in range(1_000)]
    table = {f"c{i}": RNG.choice(levels, 2_500) for i in range(70)}
    (folder / "levels.csv").write_text(text_of(table))
    result = invoke("fit", "levels.csv")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "more than 50,000 values, in the config of a run" in result.stderr
    assert not (folder / "outputs").exists()

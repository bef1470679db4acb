"""What ``nflow fit`` and its runs refuse: in one line, before anything is made."""

import shutil

import keras
import numpy as np
import pytest
from short_runs import KINDS

from nflow_cli.experiments import run as running

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="the commands run on TensorFlow"
)
TABLE = "level,price,share\n" + "".join(
    f"{100 + x:.5g},{abs(y) + 0.1:.5g},{z:.5g}\n"
    for x, y, z in np.random.default_rng(0).standard_normal((60, 3)).tolist()
)
FILES = {
    "mine.csv": TABLE,
    "parts.csv": "part," + TABLE.replace("\n", "\nlater,").removesuffix("later,"),
    "text.csv": "city,land\n" + 20 * "Rome,Italy\n",
    "few.csv": "a,b\n1,2\n3,4\n",
    "gaps.csv": "a,b\n" + "".join(f"{i * 0.37:.4g},{i % 7 * 0.1 + i:.4g}\n,1\n" for i in range(20)),
    "twice.csv": "a,a\n1,2\n3,4\n",
    "ragged.csv": TABLE + "1,2\n",
    "keys.yaml": "command: fit\ndata: {name: mine.csv, rows: 3}\n",
    "restarts.yaml": "command: fit\ndata: {name: mine.csv}\ntrain: {restarts: 2}\n",
    "both.yaml": "command: fit\ndata: {name: mine.csv}\ntrain: {steps: 4, epochs: 2}\n",
    "size.yaml": "command: fit\ndata: {name: mine.csv, size: 100}\n",
    "nameless.yaml": "command: fit\ntrain: {steps: 2}\n",
    "sweep.yaml": "command: sweep\npresets: [table]\nseeds: [1]\n",
}


@pytest.fixture
def folder(tmp_path):
    """Return the folder of the commands, with tables, presets, and a file that is none of both."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary.csv").write_bytes(b"\x00\x01\x02\xff\xfe" * 100)
    (tmp_path / "sheet.xlsx").write_bytes(b"PK\x03\x04" + bytes(100))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").touch()
    return tmp_path


@pytest.fixture
def untrained(monkeypatch):
    """Let no training begin."""

    def train(*_):
        raise AssertionError("a training began")

    monkeypatch.setattr(running, "train", train)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(invoke, folder, line, code, words):
    before = contents(folder)
    result = invoke(*(word.strip("'") for word in line.split(" ")))
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    lines = result.stderr.splitlines()
    assert words in lines[-1]
    assert lines[-1].startswith("Error: " if code == 2 else "nflow: error: ")
    assert code == 2 or len(lines) == 1
    assert contents(folder) == before


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("", 2, "expected TABLE, or --preset with one"),
        ("--k 2", 2, "expected TABLE, or --preset with one"),
        ("''", 2, "expected a value. Received: ''"),
        ("mine.csv more.csv", 2, "unexpected extra argument (more.csv)"),
        ("mine.csv --column a", 2, "No such option '--column'"),
        ("mine.csv --columns levl,price", 1, "data.columns: no column 'levl' (did you mean 'leve"),
        ("mine.csv --columns level,level", 1, "--columns: expected each column once"),
        ("mine.csv --columns ''", 2, "'': expected names with a comma between them"),
        ("mine.csv --exclude city", 1, "data.exclude: no column 'city'"),
        (
            "mine.csv --flow planar --exclude level,price,share",
            1,
            "expected a column to model, received none",
        ),
        ("mine.csv --exclude level,price,share", 1, "expected a column to model, received none"),
        (
            "mine.csv --columns level --exclude level",
            1,
            "--exclude: expected no column of data.columns, where 'lev",
        ),
        ("mine.csv --bounds price", 2, "'price': expected NAME=LOW:HIGH, such as price=0: or"),
        ("mine.csv --bounds price=5:1", 1, "expected a lower bound below the upper one"),
        ("mine.csv --bounds price=-inf:", 1, "data.bounds.price.0"),
        ("mine.csv --bounds price=0: --bounds price=:9", 2, "'price' is given twice"),
        ("mine.csv --bounds price=0:,price=:9", 2, "'price' is given twice"),
        ("mine.csv --bounds price=0:,share=2:", 1, "'share': expected values between 2 and inf"),
        ("mine.csv --columns level --bounds price=0:", 1, "--bounds: expected columns of data.col"),
        ("mine.csv --exclude price --bounds price=0:", 1, "--bounds: expected no column of data.e"),
        ("parts.csv --split part --bounds part=0:", 1, "--split: expected no column of data.bound"),
        ("mine.csv --bounds city=0:", 1, "data.bounds: no column 'city'"),
        ("mine.csv --bounds price=1:", 1, "'price': expected values between 1 and inf, received"),
        ("mine.csv --given levl", 1, "data.given: no column 'levl' (did you mean 'level'?); its c"),
        ("mine.csv --given price,price", 1, "--given: expected each column once"),
        ("mine.csv --given level --columns level", 1, "--given: expected no column of data.column"),
        ("mine.csv --given level --exclude level", 1, "--given: expected no column of data.exclud"),
        ("mine.csv --given price --bounds price=0:", 1, "--given: expected no column of data.boun"),
        (
            "mine.csv --k 2 --given level,price,share",
            1,
            "expected a column to model, received none",
        ),
        ("mine.csv --given level,price,share", 1, "mine.csv: expected a column to model, received"),
        ("mine.csv --k 2 --categorical level", 1, "expected no categorical beside flows, which"),
        ("mine.csv --flow planar --discrete price", 1, "expected no discrete beside flows, whic"),
        ("mine.csv --discrete price --discrete level,price:2", 2, "'price' is given twice"),
        (
            "mine.csv --discrete price --given price",
            1,
            "--discrete: expected no column of data.giv",
        ),
        (
            "mine.csv --discrete price --categorical price",
            1,
            "--discrete: expected no column of da",
        ),
        ("mine.csv --weights weight", 1, "data.weights: no column 'weight'; its columns: 'le"),
        (
            "mine.csv --weights share",
            1,
            "column 'share': expected finite weights of 0 or more, rec",
        ),
        (
            "mine.csv --weights price --given price",
            1,
            "--weights: expected no column of data.given",
        ),
        ("mine.csv --missing keep", 2, "'keep' is not one of 'refuse', 'dro"),
        ("gaps.csv --k 2 --missing model", 1, "expected missing: refuse or drop beside flows; cel"),
        (
            "gaps.csv --missing refuse",
            1,
            "20 of 40 rows have missing values (a 20); --missing model",
        ),
        (
            "gaps.csv --k 2",
            1,
            "gaps.csv: 20 of 40 rows have missing values (a 20); --missing drop",
        ),
        ("mine.csv --split share --test mine.csv", 1, "--split: expected null beside test: one of"),
        ("mine.csv --group level --split share", 1, "--group: expected null beside split: one of"),
        ("mine.csv --split level", 1, "data.split: expected train, validation and test (or 0, 1"),
        ("parts.csv --split part", 1, "in column 'part', received 'later'"),
        ("parts.csv --group part", 1, "data.group: expected 3 or more groups in column 'part'"),
        ("mine.csv --test nowhere.csv", 1, "nowhere.csv: no such"),
        ("mine.csv --test few.csv", 1, "few.csv: data.columns: no column 'level'"),
        ("mine.csv --steps 10 --epochs 2", 2, "--steps and --epochs: expected one of the two"),
        ("mine.csv --max-rows 5", 2, "5 is not in the range 10<=x<=10000000"),
        ("mine.csv --flow plana", 2, "'plana' is not a flow (did you mean 'planar'?)"),
        ("mine.csv --learning-rate nan", 2, "'nan' is not a number"),
        ("mine.csv --set units.tails=cauchy", 1, "units.tails: expected 'tukey-h' or 'none'"),
        ("mine.csv --set data.rows=3", 1, "data.rows: unknown key"),
        (
            "mine.csv --set data.missing=keep",
            1,
            "data.missing: expected 'refuse', 'drop' or 'model'",
        ),
        ("mine.csv --set train.restarts=2", 1, "train.restarts: unknown key"),
        ("mine.csv --set evaluate.keep_rows=maybe", 1, "evaluate.keep_rows: expected"),
        ("mine.csv --set target=u1", 1, "target: unknown key"),
        ("mine.csv --preset keys.yaml", 1, "keys.yaml: data.rows: unknown key"),
        ("--preset restarts.yaml", 1, "restarts.yaml: train.restarts: unknown key"),
        ("--preset both.yaml", 1, "train.epochs: expected null where steps says how long"),
        ("mine.csv --set data.size=100", 1, "--set data.size: expected null for a file"),
        ("two-moons --group x1", 1, "--group: expected null for a built-in set"),
        ("two-moons --split x1", 1, "--split: expected null for a built-in set"),
        ("--preset size.yaml", 1, "size.yaml: data.size: expected null for a file"),
        ("--preset nameless.yaml", 1, "nameless.yaml: data"),
        ("mine.csv --preset sweep.yaml", 1, "sweep.yaml: a preset of `nflow sweep`, not of fit"),
        ("mine.csv --preset u1-planar-k2", 1, "a preset of `nflow fit-2d`, not of fit"),
        ("mine.csv --preset tabel", 1, "no preset named 'tabel'"),
        ("mine.csv --output taken", 1, "taken: not empty"),
        ("mine.csv --output mine.csv", 1, "mine.csv"),
        ("taken", 1, "taken: a folder; expected a table"),
        ("nowhere.csv", 1, "nowhere.csv: no such file; expected a table as .csv, .tsv"),
        ("two-moon", 1, "two-moon: no such table (did you mean 'two-moons'?)"),
        ("two-moons --columns x3", 1, "two-moons: data.columns: no column 'x3'"),
        ("two-moons --bounds x1=0:", 1, "'x1': expected values between 0 and inf"),
        ("binary.csv", 1, "binary.csv: "),
        ("sheet.xlsx", 1, "sheet.xlsx: expected a table as .csv, .tsv or other text"),
        ("text.csv", 1, "column to model, received none; left out: city, land (constant)"),
        ("few.csv", 1, "few.csv: expected at least 10 rows, received 2"),
        ("twice.csv", 1, "twice.csv: two columns are called 'a'"),
        ("ragged.csv", 1, "ragged.csv: line 62"),
        ("-", 1, "standard input: empty"),
    ],
)
def test_a_fit_that_cannot_be_is_refused(invoke, folder, line, code, words):
    assert_refused(invoke, folder, f"fit {line}".strip(), code, words)


def test_what_each_column_is_may_be_said(invoke, folder, monkeypatch):
    begun = []
    monkeypatch.setattr(running, "begin", lambda config, *_: begun.append(config.data))
    rows = np.random.default_rng(0).integers(0, 5, (60, 3)) * [1, 0.25, 2] + [0, 0, 1]
    lines = [f"{line},{n},{p},{w:g},c" for line, (n, p, w) in zip(TABLE.splitlines()[1:], rows)]
    header = 'level,price,share,time:utc,cost,w,"name, or not"'
    (folder / "roles.csv").write_text("\n".join([header, *lines]).replace(",c\n", ",d\n", 9) + "\n")
    words = ["--given", "level,share", "--categorical", "name\\, or not", "--weights", "w"]
    done = invoke("fit", "roles.csv", *words, "--discrete", "time:utc:1,cost:0.25")
    assert done.exit_code == 0, done.output
    (data,) = begun
    assert (data.given, data.weights) == (["level", "share"], "w")
    assert data.categorical == ["name, or not"]
    assert data.discrete == {"time:utc": 1.0, "cost": 0.25}


@pytest.mark.usefixtures("untrained")
def test_a_network_too_large_for_the_columns_of_a_table_is_refused(invoke, folder):
    wide = ["--set", "flow.pattern=[{affine-coupling: {hidden: [9000, 9000]}}]", "--k", 2]
    before = contents(folder)
    result = invoke("fit", "mine.csv", *wide)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "mine.csv: flow: expected at most 100,000,000 weights in all" in result.stderr
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("evaluate run -o scores.csv", 2, "-o: expected --data FILE, whose rows are written"),
        ("evaluate run --latent", 2, "--latent: expected -o FILE, to write them to"),
        ("evaluate run --data mine.csv --latent", 2, "--latent: expected -o FILE"),
        ("evaluate run --data mine.csv -o taken.csv", 2, "'taken.csv' is a folder; expected the"),
        ("evaluate run --data mine.csv -o scores.txt", 2, "expected a name that ends in .csv or "),
        ("evaluate run --data mine.csv -o nowhere/scores.csv", 1, "nowhere/scores.csv"),
        ("evaluate run --data few.csv", 1, "few.csv: no column 'level'; its columns: 'a', 'b'"),
        ("evaluate run --data few.csv -o scores.csv", 1, "few.csv: no column 'level'; its columns"),
        ("evaluate run --data nowhere.csv", 1, "nowhere.csv: no such file"),
        ("evaluate run --data taken", 1, "taken: a folder; expected a table"),
        ("evaluate run --data binary.csv", 1, "binary.csv: "),
        ("evaluate run --data ragged.csv -o scores.csv", 1, "ragged.csv: line 62"),
        ("evaluate run --samples 10", 2, "expected no --samples, no --seed"),
        ("evaluate target --data mine.csv -o scores.csv", 2, "-o: expected a run of `nflow fit`"),
        ("sample run -o drawn.txt", 2, "expected a name that ends in .csv, .npy or .parquet"),
        ("sample target -o drawn.parquet", 2, "samples of a fit-2d run are written as .csv or"),
        ("sample run -o taken.csv", 2, "'taken.csv' is a folder"),
        ("sample run", 2, "Missing option '-o' / '--output'"),
        ("resume run --epochs 9", 1, "extended by --steps"),
        ("resume run --steps 10", 1, "expected 20 or more"),
    ],
)
def test_what_a_run_on_a_table_does_not_do_is_refused(short_run, invoke, folder, line, code, words):
    for name, kind in (("run", "table"), ("target", "target")):
        shutil.copytree(short_run(**KINDS[kind]), folder / name)
    (folder / "taken.csv").mkdir()
    assert_refused(invoke, folder, line, code, words)

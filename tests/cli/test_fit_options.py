"""What ``nflow fit`` and its runs refuse: in one line, before anything is made."""

import shutil

import numpy as np
import pytest
from short_runs import KINDS

from nflow_cli.experiments import run as running

TABLE = "level,price,share\n" + "".join(
    f"{100 + x:.5g},{abs(y) + 0.1:.5g},{z:.5g}\n"
    for x, y, z in np.random.default_rng(0).standard_normal((60, 3)).tolist()
)
FILES = {
    "mine.csv": TABLE,
    "few.csv": "a,b\n1,2\n3,4\n",
    "gaps.csv": "a,b\n" + "".join(f"{i * 0.37:.4g},{i % 7 * 0.1 + i:.4g}\n,1\n" for i in range(20)),
    "ragged.csv": TABLE + "1,2\n",
    "both.yaml": "command: fit\ndata: {name: mine.csv}\ntrain: {steps: 4, epochs: 2}\n",
}


@pytest.fixture
def folder(tmp_path):
    """Return the folder of the commands, with tables, presets, and a file that is none of both."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
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
        (
            "mine.csv --flow planar --exclude level,price,share",
            1,
            "expected a column to model, received none",
        ),
        (
            "mine.csv --columns level --exclude level",
            1,
            "--exclude: expected no column of data.columns, where 'lev",
        ),
        ("mine.csv --bounds price=-inf:", 1, "data.bounds.price.0"),
        ("mine.csv --bounds price=0: --bounds price=:9", 2, "'price' is given twice"),
        ("mine.csv --k 2 --categorical level", 1, "expected no categorical beside flows, which"),
        ("gaps.csv --k 2 --missing model", 1, "expected missing: refuse or drop beside flows; cel"),
        (
            "gaps.csv --k 2",
            1,
            "gaps.csv: 20 of 40 rows have missing values (a 20); --missing drop",
        ),
        (
            "mine.csv --split share --test mine.csv",
            1,
            "--split: expected null if test is set: both",
        ),
        ("mine.csv --group level --split share", 1, "--group: expected null if split is set: both"),
        ("mine.csv --learning-rate nan", 2, "'nan' is not a number"),
        ("--preset both.yaml", 1, "train.epochs: expected null if steps is set"),
        ("mine.csv --set data.size=100", 1, "--set data.size: expected null for a file"),
        ("two-moons --group x1", 1, "--group: expected null for a built-in set"),
        ("mine.csv --preset u1-planar-k2", 1, "a preset of `nflow fit-2d`, not of fit"),
        ("mine.csv --output mine.csv", 1, "mine.csv"),
        ("two-moon", 1, "two-moon: no such table (did you mean 'two-moons'?)"),
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
        ("evaluate run --data mine.csv -o taken.csv", 2, "'taken.csv' is a folder; expected the"),
        ("evaluate run --data mine.csv -o scores.txt", 2, "expected a name that ends in .csv or "),
        ("evaluate run --data mine.csv -o nowhere/scores.csv", 1, "nowhere/scores.csv"),
        ("evaluate run --data few.csv", 1, "few.csv: no column 'level'; its columns: 'a', 'b'"),
        ("evaluate run --data ragged.csv -o scores.csv", 1, "ragged.csv: line 62"),
        ("evaluate run --samples 10", 2, "expected no --samples, no --seed"),
        ("evaluate target --data mine.csv -o scores.csv", 2, "-o: expected a run of `nflow fit`"),
        ("sample target -o drawn.parquet", 2, "samples of a fit-2d run are written as .csv or"),
        ("resume run --epochs 9", 1, "extended by --steps"),
        ("resume run --steps 3", 1, "expected 4 or more"),
    ],
)
def test_what_a_run_on_a_table_does_not_do_is_refused(short_run, invoke, folder, line, code, words):
    for name, kind in (("run", "table"), ("target", "target")):
        shutil.copytree(short_run(**KINDS[kind]), folder / name)
    (folder / "taken.csv").mkdir()
    assert_refused(invoke, folder, line, code, words)

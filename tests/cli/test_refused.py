"""What commands refuse: a line that names the thing, exit 1 or 2, and nothing is changed."""

import gzip
import shlex
import shutil

import numpy as np
import pytest
from pyarrow import array, parquet
from pyarrow import table as arrow_table
from short_runs import CELLS, KINDS

from nflow_cli.config.table import TableData
from nflow_cli.data.files.table_files import table_of
from nflow_cli.data.kinds.dataset import load_dataset
from nflow_cli.experiments import running
from nflow_cli.images import images

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
NUMBERS = text_of({name: RNG.normal(size=N).round(3) for name in ("level", "price", "share")})
TABLES = {
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
    "half.csv": "a,b\n" + "".join(f"{i / 7},{i * i / 3}\n,1\n" for i in range(20)),
    "wide.csv": text_of({f"c{i}": np.resize(["a", "b"], 12) for i in range(1_001)}),
    "other.csv": text_of({"y": COLUMNS["x"], "city": COLUMNS["city"]}),
    "tests.csv": text_of({**COLUMNS, "x": [np.inf] * N, "age": ["old"] * N}),
    "few.csv": "\n".join(LINES[:5]),
    "overflow.csv": changed("x", 7, "1e999"),
    "beyond.csv": text_of({"x": 1e101 * COLUMNS["x"]}),
    "missing.csv": "a,b\n" + 20 * ",NA\n",
    "late.csv": text_of({**COLUMNS, "late": np.where(COLUMNS["part"] == "train", "", "a")}),
    "mixed.csv": changed("w", 5, "many"),
    "numbers.csv": NUMBERS,
    "both.yaml": "command: fit\ndata: {name: numbers.csv}\ntrain: {steps: 4, epochs: 2}\n",
}
NO_TEXT = {
    "nul.csv": text_of(COLUMNS).encode().replace(b"Rome", b"Ro\0me", 1),
    "utf-16-le.csv": text_of(COLUMNS).encode("utf-16-le"),
    "utf-32.csv": text_of(COLUMNS).encode("utf-32"),
    "cut-utf-16.csv": text_of(COLUMNS).encode("utf-16")[:-1],
    "base.csv": b"SQLite format 3\0" + bytes(90),
    "sheet.xls": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(60),
    "twice.csv.gz": gzip.compress(gzip.compress(text_of(COLUMNS).encode())),
}
ARROW = {
    "lists.parquet": array(20 * [[1, 2]]),
    "structures.parquet": array(20 * [{"a": 1}]),
    "no_rows.parquet": array([], "float64"),
    "infinite.parquet": array([0.5, np.inf, *RNG.normal(size=20)]),
}
NAMING = ["columns", "exclude", "given", "categorical", "discrete", "weights", "split", "group"]
NONE = "expected a column to model, received none"
WIDE = "--set 'flow.pattern=[{affine-coupling: {hidden: [9000, 9000]}}]' --k 2"
# Tables that nothing can be fitted to, by the words after `fit`: the line says all that is wrong.
FIT = [
    ("inf.csv", "column 'x': expected finite numbers, received inf in line 5; --exclude x"),
    ("infinities.csv", "'x': expected finite numbers, received inf in line 42 and 19 other rows"),
    ("infinities.csv", "'age': expected finite numbers, received -inf in line 2 and 19 other rows"),
    ("infinities.csv", "; --exclude x,age"),
    ("inf.csv --given x", "column 'x': expected finite numbers, received inf in line 5"),
    ("only.csv", f"received inf in line 61; {NONE}; --exclude x"),
    ("good.csv --bounds x=0:", "column 'x': expected values between 0 and inf, received -0.1"),
    ("good.csv --bounds age=:20,x=9:", "'x': expected values between 9 and inf, received 0.126 "),
    ("good.csv --bounds city=0:1", "column 'city': expected numbers, as data.bounds says"),
    ("good.csv --discrete city", "column 'city': expected numbers, as data.discrete says"),
    ("good.csv --date city=%d.%m.%y", "column 'city': expected dates or times as %d.%m.%y in 95 %"),
    ("good.csv --discrete x:0.01", "column 'x': expected multiples of 0.01, "),
    ("good.csv --discrete age:7", "expected multiples of 7, 4 more, as data.discrete says"),
    (
        "good.csv --discrete age:1e-15",
        "expected numbers whose digits tell steps of 1e-15, as data.",
    ),
    ("good.csv --weights city", "column 'city': expected finite weights of 0 or more, received 'O"),
    ("good.csv --weights x", "column 'x': expected finite weights of 0 or more, received -0.13"),
    ("negative.csv --weights w", "column 'w': expected finite weights of 0 or more, received -1"),
    ("endless.csv --weights w", "column 'w': expected finite weights of 0 or more, received inf"),
    ("zeros.csv --weights w", "column 'w': expected finite weights of 0 or more, received 0 in al"),
    ("unweighted.csv --weights w", "received none in 1 rows; --missing drop"),
    ("untested.csv --weights w --split part", "'w': expected weights, received 0 in all 20 test"),
    ("log_q.csv", "column 'log_q': the name is reserved for log-densities; --exclude log_q"),
    ("nine.csv", "expected at least 10 rows, received 9"),
    ("header.csv", "expected at least 10 rows, received 0"),
    ("constant.csv", f"{NONE}; left out: a, b (constant)"),
    ("numbered.csv", f"{NONE}; left out: id (row number)"),
    ("unique.csv", f"{NONE}; left out: name (text, mostly unique)"),
    ("gaps.csv --missing refuse", "40 of 40 rows have missing values (a 20, b 20); --missing mode"),
    ("gaps.csv --missing drop", "10 rows without missing values, received 0: 40 of 40 r"),
    ("some.csv --missing drop", "received 5: 15 of 20 rows have missing values (b 15); --missing "),
    ("wide.csv", "expected at most 1,000 columns, received 1,001; --columns takes some"),
    ("good.csv --columns nix,age,nought", "data.columns: no column 'nix'; data.columns: no colum"),
    ("good.csv --given ages --weights wt", "no column 'ages' (did you mean 'age'?); data.weights"),
    ("good.csv --split city", "data.split: expected train, validation and test (or 0, 1 and 2)"),
    ("good.csv --group pair", "data.group: expected 3 or more groups in column 'pair', received 2"),
    ("inf.csv --split city", "received inf in line 5; data.split: expected train, validation"),
    ("inf.csv --bounds age=:20 --weights city", "line 5; column 'age': expected values between"),
    ("good.csv --given x,city,age,w,part,pair", NONE),
    ("good.csv --exclude x,city,age,w,part,pair", NONE),
    ("good.csv --test good.csv", "expected test rows other than the training rows"),
    ("good.csv --test other.csv", "other.csv: data.columns: no column 'x'; data.columns: no colu"),
    ("good.csv --test tests.csv", "tests.csv: column 'x': expected finite numbers, received inf"),
    ("good.csv --test few.csv", "few.csv: expected at least 10 rows, received 4"),
    ("good.csv --test nowhere.csv", "nowhere.csv: no such file"),
    ("structures.parquet", f"{NONE}; left out: a (objects)"),
    ("no_rows.parquet", "expected at least 10 rows, received 0"),
    ("lists.parquet", f"{NONE}; left out: a (lists)"),
    ("lists.parquet --columns a", "column 'a': more than 100,000 distinct texts, or nested data"),
    ("infinite.parquet", "column 'a': expected finite numbers, received inf in row 1 counted from"),
    ("overflow.csv", "column 'x': expected finite numbers, received inf in line 9; --exclude x"),
    ("beyond.csv", f"{NONE}; left out: x (numbers beyond 1e+100)"),
    ("missing.csv", f"{NONE}; left out: a, b (constant)"),
    ("late.csv --split part", "'late': expected a value in the training rows, received none; --e"),
    ("mixed.csv --weights w", "weights of 0 or more, received 'many' in line 7"),
    ("good.csv --bounds city=0:", "expected numbers, as data.bounds says, received"),
    *((name, "expected text, an array of NumPy, or Parquet") for name in NO_TEXT),
    ("nowhere", "nowhere: no such table"),
    ("u1", "u1: no such table (see `nflow fit-2d --target u1`)"),
    ("mixture", "mixture: no such table; expected"),
    ("two-moon", "two-moon: no such table (did you mean 'two-moons'?)"),
    ("https://example.org/t.csv", "a URL; expected a file: download it first"),
    ("-", "standard input: empty"),
    *((f"good.csv --{key} nix", f"data.{key}: no column 'nix'") for key in NAMING),
    ("good.csv --bounds nix=0:", "data.bounds: no column 'nix'"),
    ("good.csv --set data.kinds.x.kind=number", "data.kinds: expected the kinds of all columns"),
    ("good.csv --set cells.width=0", "--set cells.width: expected a number not less than 1"),
    ("good.csv --set data.size=100", "--set data.size: expected null for a file"),
    ("good.csv --preset nix", "no preset named 'nix'"),
    ("good.csv --preset u1-planar-k2", "a preset of `nflow fit-2d`, not of fit"),
    ("good.csv --columns x --exclude x", "--exclude: expected no column of data.columns, where 'x"),
    ("good.csv --split part --test good.csv", "--split: expected null if test is set"),
    ("good.csv --group pair --split part", "--group: expected null if split is set"),
    ("two-moons --group x1", "--group: expected null for a built-in set"),
    ("--preset both.yaml", "train.epochs: expected null if steps is set"),
    ("numbers.csv --flow planar --exclude level,price,share", NONE),
    ("numbers.csv --bounds price=-inf:", "data.bounds.price.0"),
    ("numbers.csv --k 2 --categorical level", "categorical beside flows"),
    (f"numbers.csv {WIDE}", "flow: expected at most 100,000,000 weights"),
    ("half.csv --k 2 --missing model", "expected missing: refuse or drop beside flows"),
    ("half.csv --k 2", "half.csv: 20 of 40 rows have missing values (a 20); --missing drop"),
]
GRID = "sweep --preset multimodal-planar --set flow.k=2 --set train.steps=40 --seeds 0:2"
SEED_0 = "multimodal-planar-k2,seed=0"
MIXTURE = "name: mixture, weights: [1]"
INDEFINITE = f"{MIXTURE}, means: [[0, 0]], covariances: [[[1, 2], [2, 1]]]"
HUGE = "name: ring, weights: [1], centers: [[0, 0]], radii: [1.0e+200], widths: [1.0e+200]"
MANY = "--k 10000 --restarts 100 --batch-size 1000000"
VAE = "train-vae --data mnist-sample"
EVIDENCE = "evidence chain.csv --log-p log_post"
INFER = "infer model.py --dim 2 --start"
MINUTES = "fit two-moons --minutes"
ALONE = [  # (line, exit code, what is named): lines that need no run
    ("fit", 2, "TABLE, or --preset"),
    ("fit good.csv --bounds x=1", 2, "'x=1'"),
    ("fit good.csv --bounds x=0: --bounds x=:9", 2, "'x' is given twice"),
    ("fit good.csv --steps 5 --epochs 2", 2, "one of the two"),
    ("fit good.csv --learning-rate nan", 2, "'nan'"),
    ("fit good.csv --epochs 0", 2, "'--epochs'"),
    ("fit good.csv --target y,y", 1, "--target: expected each column once"),
    ("fit good.csv --target y --exclude y", 1, "--target: expected no column of data.exclude"),
    ("fit good.csv --target y --group y", 1, "--target: expected no column of data.group"),
    ("fit good.csv --target y --weights y", 1, "--weights: expected no column of data.target"),
    ("fit good.csv --target y --columns x,y", 1, "--target: expected no data.columns beside it"),
    ("fit good.csv --target y --given x", 1, "expected no given beside target"),
    ("fit good.csv --target y --bounds x=0:", 1, "data.bounds of targets alone: 'x' is given"),
    ("fit good.csv --target y --discrete x", 1, "data.discrete of targets alone: 'x' is given"),
    (f"{MINUTES} 1 --steps 9", 2, "--minutes and --steps"),
    (f"{MINUTES} 1 --set train.steps=9", 2, "--set train.steps"),
    ("fit two-moons --output good.csv", 2, "good.csv"),
    (f"{MINUTES} 0", 2, "'--minutes': 0"),
    (f"{MINUTES} -1", 2, "'--minutes': -1"),
    ("infer banana --minutes 1 --steps 9", 2, "--minutes and --steps"),
    ("train-vae --minutes 1 --epochs 9", 2, "--minutes and --epochs"),
    ("fit-2d --nosuch", 2, "--nosuch"),
    ("fit-2d --flow planar,,radial", 2, "'--flow'"),
    ("fit-2d --flow planr", 2, "did you mean 'planar'"),
    ("ft good.csv", 2, "No such command 'ft' (did you mean 'fit'?)."),
    ("fit-2d --target mixture", 2, "'--target'"),
    ("fit-2d --target wavyring", 2, "'wavy-ring' (did you mean 'wavy-ring'?)."),
    ("fit-2d --target two-moons", 2, "(see `nflow fit two-moons`)"),
    ("fit-2d --set target.name=banana", 1, "(see `nflow infer banana`)"),
    ("fit-2d --k eight", 2, "'--k': 'eight' is not a whole number."),
    ("fit-2d --learning-rate fast", 2, "'--learning-rate': 'fast' is not a number."),
    ("infer two-moons", 2, "(see `nflow fit two-moons`)"),
    ("fit-2d --restarts 101", 2, "'--restarts'"),
    ("fit-2d --set seed=1 --set ''", 2, "'--set': expected a value. Received: ''"),
    ("fit-2d --preset nothing", 1, "'nothing'"),
    ("fit-2d --preset bytes.yaml", 1, "bytes.yaml: not a text file"),
    ("fit-2d --output taken", 1, "taken: not empty; --output"),
    (f"fit-2d --set 'target={{{INDEFINITE}}}'", 1, "--set target: expected a symmetric, positive"),
    (f"fit-2d --set 'target={{{HUGE}}}'", 1, "--set target: expected a finite normaliser"),
    ("fit-2d --device tpu", 2, "'tpu'"),
    ("fit-2d --device gpu:x", 2, "'gpu:x'"),
    ("fit-2d --threads 0", 2, "'0': expected auto, or 1 to 1,024"),
    ("fit-2d --threads many", 2, "'many': expected auto, or 1 to 1,024"),
    ("train-vae --k -1", 2, "'--k'"),
    ("train-vae --prior-flow realnvp", 2, "realnvp is 'affine-coupling' here"),
    ("train-vae --data key.npz", 1, "key.npz: expected the keys x_train and x_test; received im"),
    ("train-vae --data no/such.npz", 1, "'no/such.npz': no such data set; expected mnist, mnist"),
    ("train-vae --data good.npz", 1, "at most the 30 training images. Received: 100"),
    ("train-vae --preset whole.yaml", 1, "the 0 training images left by the validation split"),
    (f"{VAE} --set 'train.early_stopping={{images: 9000}}'", 1, "at most the 0 training"),
    (f"{VAE} --set model.network=gated-conv", 1, "one width for gated-conv, not 2"),
    (f"{VAE} --flow affine-autoregressive", 1, "inverse-autoregressive in place"),
    (f"{VAE} --prior-flow inverse-autoregressive", 1, "affine-autoregressive in "),
    ("train-vae --preset multimodal-planar", 1, "`nflow fit-2d`, not of train-vae"),
    # Without MNIST nothing is trained that published figures are compared with.
    ("train-vae --no-fallback", 1, "mnist: not in "),
    *(
        (f"train-vae --preset mnist-{name}", 1, "mnist-sample, 10,000 of")
        for name in ("mlp", "flow-prior", "rezende2015", "sylvester2018")
    ),
    ("infer", 2, "FILE.py:FUNCTION, a NAME"),
    ("infer funel", 2, "did you mean 'funnel'?"),
    ("infer funnel --base cauchy", 2, "'--base'"),
    ("infer funnel --bounds a=0: --bounds a=:1", 2, "'--bounds'"),
    ("infer model.py", 2, "--dim: expected the number of coordinates"),
    ("infer model.py:no --dim 2", 1, "functions in the file: log_density"),
    ("infer gone.py --dim 2", 1, "no such file"),
    ("infer banana --dim 3", 1, "--dim: expected 2 of banana"),
    (f"{INFER} one.csv", 1, "x2"),
    (f"{INFER} gap.csv", 1, "line 2, column 'x2': expected a finite number"),
    (f"{INFER} start.csv --bounds x2=3:", 1, "within the bounds, not x2 = 2"),
    (f"{INFER} none.csv", 1, "expected rows of numbers"),
    ("evidence", 2, "DRAWS, or --preset"),
    ("evidence gone.csv", 1, "gone.csv: no such file"),
    ("evidence chain.csv --log-p lp", 1, "no column 'lp'"),
    (f"{EVIDENCE} --bounds b=1:", 1, "on a bound or beyond"),
    (f"{EVIDENCE} --flow inverse-autoregressive", 1, "D passes"),
    ("sweep", 2, "SWEEP"),
    ("sweep figure3 --workers 2 --scheduler tcp://127.0.0.1:1", 2, "--workers"),
    ("sweep u1-planar-k2", 1, "`nflow fit-2d`, not of sweep; --preset"),
    ("sweep --preset u1-planar-k2 --vary flow.k", 1, "--vary expects key.path=value,value"),
    ("sweep --preset u1-planar-k2 --vary flow.k=2 --vary flow.k=8", 1, "--vary flow.k: given tw"),
    ("sweep mine.yaml --vary flow.k=2 --set train.steps=x", 1, "other,flow.k=2: set train.steps:"),
    ("sweep --preset smoke --set train.batch_size=100000", 1, "the 8,000 training images"),
    ("sweep table2", 1, "mnist: not in "),
    ("sweep figure3 --output taken", 1, "taken: not empty; --output"),
    (f"{GRID} --only planar-k2", 2, "'planar-k2' is no run of this sweep"),
    (f"{GRID} --only {SEED_0}0", 2, f"(did you mean '{SEED_0}'?)"),
    (f"{GRID} --commands --workers 2", 2, "--workers and --scheduler: expected neither"),
    (f"{GRID} --only {SEED_0} --scheduler tcp://127.0.0.1:1", 2, "--workers and --scheduler"),
    (f"{GRID} --commands --set data.name=gone.csv", 1, "data.name"),
    ("presets multimodal-plana", 1, "did you mean 'multimodal-planar'"),
    ("presets smoke --schema", 2, "--schema"),
    ("check ''", 2, "'RUN_DIR': expected a value. Received: ''"),
    ("compare run ''", 2, "'RUN...|SWEEP_DIR': expected a value. Received: ''"),
    *((f"{name} gone", 1, "gone: no such run directory") for name in ("evaluate", "check")),
    ("sample gone -o p.csv", 1, "gone: no such run directory"),
    ("plot taken", 1, "taken: not a run directory"),
]
PREDICT = "predict run --data table.csv"
PRICE = f"{PREDICT} -o out.csv --target price"
EXPLAIN = "evaluate run --explain"
ODD = f"{EXPLAIN} --data table.csv -o out.csv"
IMPUTE = "impute run --data table.csv -o out"
PARTS = "--data parts -o out"
NO_CELLS = [
    (line, 2, "a run of `nflow fit` by cells")
    for line in (f"{PREDICT} -o out.csv", "drift run --data table.csv", ODD)
]
UNMOVED = [(f"plot run {option}", 1) for option in ("--animate", "--flow-at=1", "--live")]
DAMAGED = {  # what stands in a file of a run; None where it is missing
    **dict.fromkeys(["model.keras", "evaluation.npz", "run.json"]),
    **{"metrics.csv": "loss\r\n1.0\r\n", "summary.json": "{}"},
}
RUNS = {  # (line, exit code, what is named) by the kind of the run
    "cells": [
        (
            f"{PREDICT} -o out.csv",
            1,
            "--target: expected one of city, flag, day, rooms, price",
        ),
        (f"{PREDICT} -o out.csv --target pric", 1, "'pric' (did you mean 'price'?)"),
        (f"{PREDICT} -o out.csv --target price,zz", 1, "'zz'"),
        (f"{PREDICT} -o out.csv --target price,city --coverage .9", 1, "one target"),
        (f"{PREDICT} -o out.txt --target price", 2, ".csv or .parquet"),
        (f"{PRICE} --quantiles 5", 2, "range 0<x<1"),
        (f"{PRICE} --coverage 90", 2, "range 0<x<1"),
        (f"{PRICE} --plot a.gif", 2, ".png, .svg or .pdf"),
        (f"{PRICE} --by city", 2, "--by: expected --coverage too"),
        (f"{PRICE} --coverage .9 --by cty", 1, "one of city, flag. Received: 'cty' (did you mean"),
        (f"{PREDICT} -o out.csv --target city --coverage .9 --by city", 1, "one of flag. Received"),
        ("drift run", 2, "'--data'"),
        ("drift run --data gone.csv", 1, "gone.csv: no such file"),
        ("drift run --data table.csv --fail-above 99", 2, "range 0<=x<1"),
        ("drift run --data table.csv --fail-above nan", 2, "not a number"),
        ("drift run --data cities.csv", 1, "cities.csv: no column 'flag'"),
        (EXPLAIN, 2, "--explain: expected --data FILE and -o FILE"),
        (f"{EXPLAIN} --data table.csv", 2, "--explain: expected --data FILE and -o FILE"),
        (f"{EXPLAIN} -o out.csv", 2, "-o: expected --data FILE"),
        (f"{EXPLAIN} --data table.csv -o out.txt", 2, ".csv or .parquet"),
        (f"{ODD} --latent", 2, "--explain: expected no --latent"),
        (f"{IMPUTE}.txt", 2, ".csv"),
        (f"{IMPUTE}.csv --draws 0", 2, "draws"),
        ("sample run -o o.csv --given zz=1", 1, "'zz=1'"),
        *((line, code, "Received: none; `nflow fit TABLE --flow p") for line, code in UNMOVED),
        ("evaluate run --data parts", 2, "-o DIR"),
        (f"evaluate run --explain {PARTS}", 2, "--explain: expected one file"),
        (f"predict run {PARTS} --target price --plot a.png", 2, "--plot: expected one file"),
        (f"predict run {PARTS} --target y", 1, "--target: expected one of"),
        ("predict run --data parts -o - --target price", 2, "-o: of many files, expected a folder"),
        ("evaluate run --data 'table*' -o parts", 1, "parts: not empty"),
        ("evaluate run --data 'none-*' -o out", 1, "none-*: no files"),
        ("evaluate run --data table.csv -o x.csv --workers 2", 2, "--data of many files"),
    ],
    "table": [
        ("evaluate run -o scores.csv", 2, "-o: expected --data FILE"),
        ("evaluate run --latent", 2, "--latent: expected -o FILE"),
        ("evaluate run --data numbers.csv -o folder.csv", 2, "'folder.csv' is a directory"),
        ("evaluate run --data numbers.csv -o scores.txt", 2, ".csv or "),
        ("evaluate run --data numbers.csv -o gone/scores.csv", 1, "gone/scores.csv"),
        ("evaluate run --data gaps.csv", 1, "gaps.csv: no column 'level'; its columns: 'a', 'b'"),
        ("evaluate run --data ragged.csv -o scores.csv", 1, "ragged.csv: line 62"),
        ("evaluate run --samples 10", 2, "no --samples, no --seed"),
        *((line, code, "flows of two numbers. Received: D = 3") for line, code in UNMOVED),
    ],
    "points": NO_CELLS,
    "target": [
        *NO_CELLS,
        ("evaluate run --data numbers.csv -o scores.csv", 2, "-o: expected a run of `nflow fit`"),
        ("evaluate run --samples 99", 2, "99 is not in the range 100<=x<=10000000"),
        (
            "evaluate run --data words.csv",
            1,
            "line 2, column 'y': expected a finite number",
        ),
        ("evaluate run --density model.py:f", 1, "the built-in multimodal"),
        ("sample run --resample -o x.csv --density model.py:f", 1, "the built-in multimodal"),
        ("sample run -o drawn.parquet", 2, "samples of a fit-2d run are written as .csv or"),
        ("sample run -o points.txt", 2, ".csv, .npy, .parquet or .nc"),
        ("sample run -o folder.csv", 2, "is a directory"),
        ("sample run -o gone/p.csv", 1, "gone/p.csv: No such file or directory"),
        ("resume run --steps 3", 1, "4 or more"),
        ("resume run --epochs 10", 1, "--steps"),
        ("resume run --epochs 10 --steps 2000", 1, "--steps"),
        ("plot run --only densty", 1, "'densty' is no picture of this run (did you mean 'density'"),
        ("plot run --flow-at 6", 1, "from 1 to 5. Received: 6"),
        ("plot run --flow-at 0", 2, "'--flow-at'"),
        ("evaluate bad-model.keras", 1, "model.keras: missing"),
        ("sample bad-model.keras -o p.csv", 1, "model.keras: missing"),
        ("plot bad-model.keras --animate", 1, "model.keras: missing"),
        *((f"plot bad-{name}", 1, f"bad-{name}") for name in DAMAGED if name != "model.keras"),
    ],
    "no flows": [(line, code, "flows of two numbers. Received: K = 0") for line, code in UNMOVED],
    "images": [
        ("sample run -o digits.csv", 2, "written as .npy"),
        ("evaluate run --samples 5001", 2, "5001 is not in the range 1<=x<=5000"),
        ("evaluate run --data gone", 1, "no such data set"),
        *((line, code, "flows of two numbers. Received: none") for line, code in UNMOVED),
    ],
}


@pytest.fixture
def folder(invoke, tmp_path, monkeypatch):
    """Return a folder of tables and presets, where no training begins and MNIST is out of reach."""

    def start(*_):
        raise AssertionError("TensorFlow was started to train")

    monkeypatch.setattr(running, "start_tensorflow", start)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path.with_name(tmp_path.name + "-keras")))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(images, "URL", "https://nowhere.invalid/mnist.npz")
    texts = {
        "start.csv": "x1,x2\n1,2\n",
        "gap.csv": "x1,x2\n1,\n",
        "one.csv": "x1\n1\n",
        "none.csv": "x1,x2\n",
        "words.csv": "x,y\n1,two\n",
        "cities.csv": "city\nOslo\n",
        "ragged.csv": NUMBERS + "1,2\n",
        "chain.csv": text_of({name: RNG.normal(size=200) for name in ("a", "b", "log_post")}),
        "model.py": "def log_density(x):\n    return -(x**2).sum(axis=1), -2 * x\n",
        "mine.yaml": "command: sweep\npresets: [other.yaml]\n",
        "other.yaml": "command: fit-2d\n",
        "whole.yaml": "command: train-vae\ndata: {name: good.npz}\n"
        "train: {batch_size: 10, early_stopping: {images: 30}}\n",
    }
    for name, text in (TABLES | texts).items():
        (tmp_path / name).write_text(text)
    for name, content in (NO_TEXT | {"bytes.yaml": b"\xff\xfe\x00"}).items():
        (tmp_path / name).write_bytes(content)
    for name, column in ARROW.items():
        parquet.write_table(arrow_table({"a": column}), tmp_path / name)
    grey = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "good.npz", x_train=grey, x_test=grey[:10])
    np.savez(tmp_path / "key.npz", images=grey, x_test=grey)
    shutil.copy(CELLS["data"]["name"], tmp_path / "table.csv")
    (tmp_path / "parts").mkdir()
    shutil.copy("table.csv", "parts")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").touch()
    (tmp_path / "folder.csv").mkdir()
    return tmp_path


def state(folder):
    """Return what is in a folder, but the plan of a sweep, which may be there before its runs."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    files = [
        path
        for path in files
        if path.name not in ("presets.json", "sweep.yaml") and path.suffix != ".pyc"
    ]
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def assert_refused(invoke, folder, rows):
    """Check each line (line, exit code, what is named), all before the first failure is told."""
    before, wrong = state(folder), []
    for line, code, named in rows:
        result = invoke(*shlex.split(line))
        notes = result.stderr.splitlines()
        *more, last = [note for note in notes if not note.startswith("downloading")] or [""]
        is_one = not more or (code == 2 and more[0].startswith("Usage: nflow"))
        is_one = is_one and last.startswith(("Error: ", "nflow: error: ")) and named in last
        if (result.exit_code, result.stdout, is_one, state(folder)) != (code, "", True, before):
            wrong.append(f"{line} [{named}]: {result.exception!r}, {result.output}")
    assert not wrong, "\n".join(wrong)


def test_a_table_that_nothing_is_fitted_to_is_refused_by_all_that_is_wrong(invoke, folder):
    assert_refused(invoke, folder, [(f"fit {line}", 1, named) for line, named in FIT])


def test_a_line_that_needs_no_run_is_refused_before_tensorflow(invoke, folder):
    assert_refused(invoke, folder, ALONE)


@pytest.mark.parametrize("kind", RUNS)
def test_what_is_no_matter_of_a_run_is_refused(invoke, folder, short_run, kind):
    changes = {**KINDS, "no flows": {"flow": {"k": 0}}}[kind]
    run = shutil.copytree(short_run(**changes), folder / "run")
    for name, text in DAMAGED.items() if kind == "target" else ():
        path = shutil.copytree(run, folder / f"bad-{name}") / name
        path.unlink()
        if text:
            path.write_text(text)
    assert_refused(invoke, folder, RUNS[kind])


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
    rows = [("fit levels.csv", 1, "more than 50,000 values, in the config of a run")]
    assert_refused(invoke, folder, rows)


def test_a_keras_json_that_keras_refuses_is_one_line(nflow, tmp_path):
    (tmp_path / "keras.json").write_text('{"floatx": "nonsense"}')
    done = nflow("fit-2d", "--k", 2, KERAS_HOME=tmp_path)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "nonsense" in done.stderr


TWO = {"x": COLUMNS["x"], "city": COLUMNS["city"]}
TEXT = text_of(TWO)
QUOTED = "".join(f'"{x}","{city}"\n' for x, city in zip(["x", *TWO["x"]], ["city", *TWO["city"]]))
WRITTEN = {  # the columns TWO, as they may be written
    "mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "returns": TEXT.replace("\n", "\r\n").encode(),
    "old returns": TEXT.replace("\n", "\r").encode(),
    "no end": TEXT.removesuffix("\n").encode(),
    "blank lines": TEXT.replace("\n", "\n\n").encode(),
    "tabs": TEXT.replace(",", "\t").encode(),
    "bars": TEXT.replace(",", "|").encode(),
    "commas": TEXT.replace(",", ";").replace(".", ",").encode(),
    "utf-16": TEXT.encode("utf-16"),
    "gzip": gzip.compress(TEXT.encode()),
    "quotes": QUOTED.encode(),
    "a quoted name": TEXT.replace("city", '"city"').encode(),
    "quoted line breaks": TEXT.replace("Rome", '"Rome"').encode(),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_a_table_is_the_same_however_it_is_written(tmp_path, way):
    (tmp_path / "t.csv").write_bytes(WRITTEN[way])
    settings = TableData(name=str(tmp_path / "t.csv"))
    data, known = load_dataset(settings), load_dataset(settings, table_of(TWO))
    assert data.kinds == known.kinds
    np.testing.assert_array_equal(data.train, known.train)

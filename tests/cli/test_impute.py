"""`nflow impute` and `sample --given`, on one tiny run."""

import json
import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from running import read_rows, succeed
from short_runs import CELLS, without_pictures, without_programs

import nflow_cli
from nflow_cli.errors import DataError

TABLE = CELLS["data"]["name"]
COLUMNS = ["price", "city", "day", "rooms"]


@pytest.fixture(scope="module")
def run(short_run):
    return short_run(**CELLS)


@pytest.fixture
def gaps(tmp_path, write):
    """A table with gaps in the columns of the run, and a column that is none of these."""
    rows = read_rows(TABLE)[:40]
    for i, row in enumerate(rows):
        row["note"] = f"row {i}, untouched"
        row[COLUMNS[i % 4]] = ""
        if i % 3 == 0:
            row[COLUMNS[(i + 1) % 4]] = "NA"
    path = tmp_path / "gaps.csv"
    write(path, rows)
    return path, rows


def is_empty(text):
    return text in ("", "NA")


def test_gaps_are_filled_in_the_types_of_their_columns(invoke, run, gaps):
    path, rows = gaps
    scores = json.loads(succeed(invoke, "impute", run, "--data", path, "-o", "out.csv", "--json"))
    filled = read_rows("out.csv")
    assert [*filled[0]] == [*rows[0]]
    count = 0
    for before, after in zip(rows, filled, strict=True):
        for name, text in before.items():
            count += is_empty(text)
            assert after[name] if is_empty(text) else after[name] == text
        assert str(np.datetime64(after["day"])) == after["day"]
        assert float(after["rooms"]).is_integer() and float(after["price"])
    assert scores["n_imputed"] == count == sum(scores["imputed"].values())
    printed = succeed(invoke, "impute", run, "--data", path, "-o", "out.csv")
    assert f"imputed        {count} cells of 40 rows" in printed and printed.endswith("\nout.csv\n")


def test_times_are_filled_in_the_format_of_the_table(invoke, write):
    rng = np.random.default_rng(0)
    minutes = rng.integers(0, 15_000, 200)
    times = [datetime(2024, 1, 10) + timedelta(minutes=int(m)) for m in minutes]

    def write_times(path, texts):
        write(path, [{"at": text, "x": i % 7 + 0.5} for i, text in enumerate(texts)])

    write_times("times.csv", [time.isoformat() for time in times])
    small = ["--set", "cells={width: 8, blocks: 1, components: 3}", "--steps", 2, "--output", "run"]
    with without_programs(), without_pictures():
        assert invoke("fit", "times.csv", *small).exit_code == 0
    for spelled, filled in {
        "%Y-%m-%dT%H:%MZ": r"2024-01-\d\dT\d\d:\d\dZ",
        "%Y-%m-%dT%H:%M:%S+00:00": r"2024-01-\d\dT\d\d:\d\d:\d\d\+00:00",
        "%Y-%m-%d %H:%M:%S+02:00": r"2024-01-\d\d \d\d:\d\d:\d\dZ",
    }.items():
        write_times("gaps.csv", ["", times[5].strftime(spelled)])
        succeed(invoke, "impute", "run", "--data", "gaps.csv", "-o", "out.csv")
        made, known = (row["at"] for row in read_rows("out.csv"))
        assert known == times[5].strftime(spelled) and re.fullmatch(filled, made)


def test_numbers_are_filled_predicted_and_drawn_in_the_notation_of_the_table(invoke, write):
    rng = np.random.default_rng(0)
    rows = [
        {"wage": f"${1000 + 3000 * u:,.2f}", "share": f"{100 * u:.0f}%", "x": round(u, 3)}
        for u in rng.random(200)
    ]
    write("wages.csv", rows)
    small = ["--set", "cells={width: 8, blocks: 1, components: 3}", "--steps", 2, "--output", "run"]
    with without_programs(), without_pictures():
        assert "wage: read as numbers, such as" in invoke("fit", "wages.csv", *small).stderr
    write(
        "gaps.csv", [{**row, "wage": "-" if i % 2 else row["wage"]} for i, row in enumerate(rows)]
    )
    filled = invoke("impute", "run", "--data", "gaps.csv", "-o", "full.csv")
    assert filled.stderr == "note: wage: 100 gap marks read as missing: '-' in line 3\n"
    succeed(invoke, "predict", "run", "--data", "wages.csv", "--target", "wage", "-o", "p.csv")
    succeed(invoke, "sample", "run", "-n", 20, "-o", "draws.csv")
    full, draws = read_rows("full.csv"), read_rows("draws.csv")
    assert [row["wage"] for row in full[::2]] == [row["wage"] for row in rows[::2]]
    written = [row["wage"] for row in full[1::2] + draws]
    written += [row["wage_q0.5"] for row in read_rows("p.csv")]
    assert all(re.fullmatch(r"-?\$\d{1,3}(,\d{3})*\.\d\d", text) for text in written)
    assert all(re.fullmatch(r"\d+%", row["share"]) for row in draws)
    assert "expected a .csv or .parquet" in invoke("sample", "run", "-n", 2, "-o", "d.npy").stderr
    numbers = {name: np.array([1500.25, np.nan, 7.5]) for name in ("wage", "share", "x")}
    found = nflow_cli.load("run").impute(numbers)  # in the types of this table
    assert found["wage"].to_pylist()[::2] == [1500.25, 7.5] and found["wage"].to_numpy()[1] > 0


def test_numbers_are_filled_with_the_decimal_mark_of_the_table(invoke, write):
    cells = [f"{1 + u:.3f}".replace(".", ",") for u in np.random.default_rng(0).random(200)]

    def write_cells(path, cells):
        (Path(path)).write_text(
            "\n".join(["x;y", *(f"{x};{i % 7},5" for i, x in enumerate(cells)), ""])
        )

    write_cells("t.csv", cells)
    small = ["--set", "cells={width: 8, blocks: 1, components: 3}", "--steps", 2, "--output", "run"]
    with without_programs(), without_pictures():
        assert invoke("fit", "t.csv", *small).exit_code == 0
    write_cells("gaps.csv", ["", *cells[1:5]])
    succeed(invoke, "impute", "run", "--data", "gaps.csv", "-o", "out.csv")
    written = [row["x"] for row in read_rows("out.csv")]
    assert re.fullmatch(r"[12],\d{1,3}", written[0]) and written[1:] == cells[1:5]


def test_draws_are_tables_one_after_another(invoke, run, gaps):
    path, rows = gaps
    succeed(invoke, "impute", run, "--data", path, "-o", "out.csv", "--draws", "3")
    filled = read_rows("out.csv")
    assert [row["draw"] for row in filled] == [str(d) for d in (1, 2, 3) for _ in rows]
    assert [row["row"] for row in filled] == 3 * [str(1 + i) for i in range(len(rows))]
    assert [row["note"] for row in filled] == 3 * [row["note"] for row in rows]
    gaps = [i for i, row in enumerate(rows) if is_empty(row["price"])]
    prices = np.array([float(filled[d * len(rows) + i]["price"]) for d in range(3) for i in gaps])
    assert len(np.unique(prices)) > len(gaps)
    again = invoke("impute", run, "--data", path, "-o", "-", "--draws", "3")
    with open("out.csv") as file:
        assert again.stdout == file.read()


def test_in_python_a_frame_keeps_its_index(run, gaps):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(gaps[0]).set_axis(range(100, 140))
    trained = nflow_cli.load(run)
    assert list(trained.impute(frame).index) == list(frame.index)
    several = trained.impute(frame, draws=2)
    assert list(several.index) == 2 * list(frame.index) and several["rooms"].notna().all()
    with pytest.raises(DataError, match="draws=0"):
        trained.impute(frame, draws=0)


def test_draws_meet_conditions_on_modelled_columns(invoke, run):
    result = invoke(
        "sample", run, "-n", "50", "-o", "out.csv", "--given", "rooms=4:5,day=2021-03-01:"
    )
    assert result.exit_code == 0, result.output
    rows = read_rows("out.csv")
    assert len(rows) == 50 and {row["rooms"] for row in rows} <= {"4", "5"}
    assert all(row["day"] >= "2021-03-01" for row in rows)


def test_cells_of_a_stranger_are_checked(invoke, run):
    shutil.copytree(run, "copy")
    with np.load("copy/evaluation.npz") as saved:
        arrays = dict(saved)
    names, rows = [*read_rows(TABLE)[0]], arrays["rows"]
    for name, value in (*(("city", code) for code in (7.0, 4e8, -2.0, 0.5)), ("price", 1e200)):
        arrays["rows"] = rows.copy()
        arrays["rows"][0, names.index(name)] = value
        np.savez("copy/evaluation.npz", **arrays)
        for words in (["plot", "copy"], ["drift", "copy", "--data", TABLE]):
            result = invoke(*words)
            assert result.exit_code == 1, (name, value, words)
            assert "evaluation.npz: damaged" in result.stderr

"""What is printed of a fit before it: kinds of columns, all that is wrong, and what mends it.

Whatever bytes a table has, a fit to it is refused in one line, or its rows are sound.
"""

import json
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import BYTES, CELLS, mutated, odd_cells

from nflow_cli.cli import main
from nflow_cli.config import presets
from nflow_cli.data.kinds import dataset, reader
from nflow_cli.errors import NflowError
from nflow_cli.experiments import running
from nflow_cli.runs.json_text import json_text
from nflow_cli.tables.dry_run import command_of, dry_run, lines_of, record_of

RNG = np.random.default_rng(0)
N = 400
X, Y, Z = RNG.normal(size=N), RNG.gamma(2.0, size=N), RNG.normal(size=N)
NUMBERS = {"x": X, "y": Y}
FLOWS = ("--flow", "spline-coupling")
HEAPED = np.where(RNG.random(N) < 0.3, 0.5 / 7, Y)  # of no step that can be written


def gappy(values, share):
    return ["" if gap else value for value, gap in zip(values, RNG.random(N) < share)]


def cyclic(*values):
    return [values[i % len(values)] for i in RNG.integers(0, 1000, N)]


class BeganError(Exception):
    """A training would begin."""


@pytest.fixture
def nflow(monkeypatch, tmp_path):
    """Return a function that runs a command in an empty folder, but for the training."""

    def start(*_, **__):
        raise BeganError

    monkeypatch.setattr(running, "start", start)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, words)


@pytest.fixture
def looked_at(nflow, tmp_path):
    """Return a function that looks at a table of columns, and returns what JSON and exit say."""

    def look(columns, *options):
        rows = zip(*columns.values())
        lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
        (tmp_path / "t.csv").write_text("\n".join([*lines, ""]))
        result = nflow("fit", "t.csv", *FLOWS, *options, "--dry-run", "--json")
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
        return json.loads(result.stdout), result.exit_code

    return look


TABLES = {  # columns beside numbers; the column at fault, words of the fault, and what mends it
    "levels of numbers": ({"k": cyclic(1, 2, 5)}, "k", "3 distinct numbers", "--exclude k"),
    "whole numbers": ({"k": RNG.poisson(40, N)}, "k", "of its rows", "--exclude k"),
    "steps": ({"k": RNG.integers(0, 60, N) / 4}, "k", "has steps of 0.25", "--exclude k"),
    "an atom": ({"k": HEAPED}, "k", "is 0.0714286 in", "--exclude k"),
    "gaps": ({"k": gappy(Z, 0.1)}, "", "rows have missing values (k ", "--missing drop"),
    "many gaps": ({"k": gappy(Z, 0.9)}, "", "rows have missing values (k ", "--missing drop"),
    "infinities": ({"k": ["inf", *Z[1:]]}, "k", "finite numbers, received inf", "--exclude k"),
    "a sum": ({"k": X + Y}, None, "", ""),
    "nearly a sum": (
        {"k": X + Y + 1e-7 * Z},
        "k",
        "each of x, y, k depends linearly",
        "--exclude k",
    ),
    "a decimal comma": ({"k": [f'"{v:.3f}"'.replace(".", ",") for v in Z]}, None, "", ""),
    "text late": ({"k": [*np.tile(Z[:40], 9), *["two"] * 40]}, "k", "text", "--exclude k"),
    "names": ({"k": [f"n{i}" for i in range(N)]}, None, "", ""),
    "commas in a name": ({'"k,l"': RNG.poisson(40, N)}, "k,l", "rows", "--exclude k\\,l"),
}


@pytest.mark.parametrize("name", TABLES)
def test_each_fault_has_what_mends_it_and_the_command_trains(looked_at, nflow, name):
    columns, at_fault, problem, mend = TABLES[name]
    said, code = looked_at({**NUMBERS, **columns})
    if at_fault is None:  # it is left out
        assert (code, said["faults"]) == (0, [])
        return
    faults = [fault for fault in said["faults"] if fault["column"] == at_fault]
    assert code == 1
    assert any(problem in f["problem"] and f["mend"].startswith(mend) for f in faults), said
    before = nflow("fit", "t.csv", *FLOWS)
    assert before.exit_code == 1 and not isinstance(before.exception, BeganError)
    assert isinstance(nflow(*shlex.split(said["command"])[1:]).exception, BeganError)


def test_a_name_that_is_too_long_is_said_where_a_column_follows_from_it(looked_at):
    name = "k" * 1_001
    said, code = looked_at({"x": X, name: Y, "sum": X + Y})
    assert code == 1 and [fault["column"] for fault in said["faults"]] == [name]
    assert "rename it" in said["faults"][0]["problem"]


def test_all_faults_are_said_at_once(looked_at, nflow):
    columns = {**NUMBERS, "city": cyclic("Rome", "Oslo")}
    faulty = ["levels of numbers", "whole numbers", "steps", "an atom", "gaps"]
    for i, name in enumerate(faulty):
        columns |= {f"{key}{i}": value for key, value in TABLES[name][0].items()}
    said, code = looked_at(columns, "--steps", "20", "--exclude", "y")
    assert code == 1
    assert [fault["column"] for fault in said["faults"]] == ["city", "k0", "k1", "k2", "k3", ""]
    assert said["command"] == (
        "nflow fit t.csv --flow spline-coupling --steps 20 --exclude y,city,k0,k1,k2,k3 "
        "--missing drop"
    )
    assert isinstance(nflow(*shlex.split(said["command"])[1:]).exception, BeganError)


def test_a_table_that_can_be_fitted_has_no_fault(looked_at, nflow):
    said, code = looked_at({"id": range(N), **NUMBERS, "total": X + Y})
    assert (code, said["faults"]) == (0, [])
    kinds = {name: column["kind"] for name, column in said["columns"].items()}
    assert kinds == {"id": "left out", "x": "number", "y": "number", "total": "left out"}
    config = said["config"]
    assert config["data"]["kinds"].keys() == kinds.keys() and config["train"]["steps"] > 0
    assert isinstance(nflow("fit", "t.csv", *FLOWS).exception, BeganError)


def test_what_no_option_mends_has_no_command(looked_at):
    for columns in (
        {"city": cyclic("Rome", "Oslo"), "on": cyclic(0, 1)},
        {"id": range(N), "k": HEAPED},  # row numbers have no density
    ):
        said, code = looked_at(columns)
        assert (code, said["command"]) == (1, None)
        assert "expected a column to model" in said["faults"][-1]["problem"]


def test_mends_that_undo_each_other_are_tried_once(nflow, tmp_path):
    """Rows without weights are to be dropped, and the gaps of the others to be kept."""
    rows = [
        f"{x},{'' if i < 7 else 1}" for i, x in enumerate([3, 1, 4, 1, 5, 9, 2, *[""] * 9, 6, 8])
    ]
    (tmp_path / "t.csv").write_text("\n".join(["x,w", *rows, ""]))
    result = nflow("fit", "t.csv", "--weights", "w", "--dry-run")
    assert result.exit_code == 1
    *_, of_weights, of_rows, last = result.stdout.splitlines()
    assert of_weights.endswith("--missing drop") and of_rows.endswith("--missing model")
    assert last == "no options correct all of these"


def test_the_printed_table_names_each_column_and_ends_with_the_command(looked_at, nflow):
    days = [str(np.datetime64("2020-01-31") + np.timedelta64(i, "D")) for i in range(N)]
    looked_at({**NUMBERS, "day": days, "k": gappy(cyclic(1, 2), 0.1)})
    result = nflow("fit", "t.csv", *FLOWS, "--dry-run")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        *("column", "kind", "type", "step", "values", "atoms", "missing", "bounds", "why")
    ]
    assert [line.split()[0] for line in lines[1:5]] == ["x", "y", "day", "k"]
    assert "2020-01-31 to 2021-03-05" in lines[3]
    assert "%" in lines[4]
    assert "command: fit" in lines
    assert lines[-1] == "try: nflow fit t.csv --flow spline-coupling --exclude day,k --missing drop"


def test_a_file_that_is_no_table_is_one_line(nflow, tmp_path):
    (tmp_path / "t.csv").write_bytes(bytes(range(256)))
    result = nflow("fit", "t.csv", "--dry-run")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert nflow("fit", "t.csv", "--json").exit_code == 2


def test_cells_take_every_kind_and_gaps(nflow, tmp_path):
    rows = [
        f"{i},{i % 2},{'ab'[i * i % 5 > 1]},{i * i % 7},{'' if i % 3 else i / 7}" for i in range(60)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["id,a,b,c,d", *rows, ""]))
    result = nflow("fit", "t.csv", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-2:] == [
        "note: left out, row number: id",
        "rows: 48 train, 6 validation, 6 test",
    ]
    said = json.loads(nflow("fit", "t.csv", "--dry-run", "--json").stdout)
    assert said["faults"] == [] and said["config"]["train"]["steps"] > 0
    assert {name: kind["kind"] for name, kind in said["config"]["data"]["kinds"].items()} == {
        name: column["kind"] for name, column in said["columns"].items()
    }
    assert isinstance(nflow("fit", "t.csv").exception, BeganError)


def test_faults_of_cells_are_said_at_once_with_the_command_that_mends_them(nflow, tmp_path):
    rows = [f"{i / 7},{i % 5},{'' if i % 3 else i}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c", *rows, "1,inf,2", ""]))
    words = ["fit", "t.csv", "--missing", "refuse"]
    result = nflow(*words, "--dry-run")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-3:] == [
        "b: expected finite numbers, received inf in line 62: --exclude b",
        "40 of 61 rows have missing values (c 40): --missing model",
        "try: nflow fit t.csv --exclude b --missing model",
    ]
    assert nflow(*words).stderr == (
        "nflow: error: t.csv: column 'b': expected finite numbers, received inf in line 62; 40 of "
        "61 rows have missing values (c 40); --exclude b --missing model\n"
    )
    mended = shlex.split(result.stdout.splitlines()[-1].removeprefix("try: "))
    assert isinstance(nflow(*mended[1:]).exception, BeganError)


def test_a_column_that_is_left_out_is_in_no_other_option_of_the_command_that_mends(nflow, tmp_path):
    rows = [f"{i / 7},{i % 5},{i % 9},{i % 3}" for i in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,k,c", *rows, "1,inf,2,1", ""]))
    for option, value, rest in (
        ("--discrete", "b,k", " --discrete k:1"),
        ("--categorical", "c,b", " --categorical c"),
    ):
        result = nflow("fit", "t.csv", option, value, "--dry-run")
        command = result.stdout.splitlines()[-1].removeprefix("try: ")
        assert command == f"nflow fit t.csv --exclude b{rest}"
        assert isinstance(nflow(*shlex.split(command)[1:]).exception, BeganError)


# Damaged bytes.

FEW = 14
FEW_X = RNG.normal(size=FEW).round(3)
CITY = RNG.choice(["Rome", "Oslo"], FEW)
DAYS = [f"2020-01-{i + 1:02}" for i in range(FEW)]
GERMAN_DAYS = [f"{i + 1:02}.02.2003" for i in range(FEW)]
LEAST = 5e-324 * np.arange(FEW)
CLOCK = [f"{i * 5 % 24:02}:{i * 7 % 60:02}" for i in range(FEW)]
GAPS = ["" if i % 3 else x for i, x in enumerate(FEW_X)]
COMMAS = [f"{x}".replace(".", ",") for x in FEW_X]
TOKENS = [*BYTES, *(cell.encode() for cell in CELLS), b"\xe9", b"\xed\xa0\x80", b";", b"|", b"\r\n"]


def csv_of(columns, mark=",", end="\n", quote=""):
    rows = [list(columns), *zip(*columns.values())]
    return "".join(mark.join(f"{quote}{c}{quote}" for c in row) + end for row in rows)


GOOD = [
    csv_of({"x": FEW_X, "k": RNG.integers(0, 5, FEW), "city": CITY}).encode(),
    csv_of({"x": FEW_X, "day": DAYS, "t": CLOCK}).encode(),
    csv_of({"at": [f"{d} {t}:05" for d, t in zip(DAYS, CLOCK)], "x": FEW_X}, quote='"').encode(),
    csv_of({"k": range(FEW), "twice": [2 * i for i in range(FEW)], "gaps": GAPS}).encode(),
    csv_of({"x": COMMAS, "city": CITY}, ";", "\r\n").encode(),
    csv_of({"x": FEW_X, "city": CITY}, "\t").encode("utf-16"),
    csv_of({"größe": FEW_X, "né": CITY}).encode("latin-1"),
    csv_of(
        {"huge": FEW_X * 1e99, "small": FEW_X * 1e-300, "least": 5e-324 * np.arange(FEW)}
    ).encode(),
    csv_of(
        {"d": [f"{i + 1:02}.02.2003" for i in range(FEW)], "b": CITY == "Rome"}, end="\r"
    ).encode(),
    csv_of({"x": FEW_X, "s": [f"n{i}, \n{i}" for i in range(FEW)]}, quote='"').encode(),
    csv_of({"x": FEW_X}).encode(),
]


def begins(path):
    """Return whether a fit would begin, by a dry run; check that its rows are sound."""
    data = {"name": str(path), "missing": "model"}
    config = presets.validate({"command": "fit", "data": data, "flow": None}, "a test")
    found = dry_run(config)
    command = command_of(found, config.data, ["fit", str(path)])
    config = config if found.data is None else running.settled_config(config, found.data)
    lines_of(found, config, command)
    json_text(record_of(found, config, command))
    if found.data is None:
        assert found.faults
        return False
    names = found.data.columns
    assert {*names} <= {column.name for column in found.columns}
    for rows in (found.data.train, found.data.validation, found.data.test):
        assert rows.shape[1] == len(names) and not np.isinf(rows).any()
    for name, cells in zip(names, found.data.train.T):
        if levels := found.data.kinds[name].levels:
            known = cells[~np.isnan(cells)]
            assert np.isin(known, np.arange(-1, len(levels))).all()
    return True


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "t.csv"


def test_the_tables_that_are_damaged_are_good(path):
    for content in GOOD:
        path.write_bytes(content)
        assert begins(path), content


@settings(deadline=10_000)
@given(st.sampled_from(GOOD), st.integers(0, 2**32), st.booleans())
def test_damaged_text_is_refused_in_one_line_or_read(path, content, seed, are_cells):
    rng = np.random.default_rng(seed)
    damaged = odd_cells(rng, content) if are_cells else mutated(rng, content, TOKENS)
    path.write_bytes(damaged)
    try:
        begins(path)
    except NflowError as error:
        line = str(error)
        assert line.startswith(str(path)) and len(line.splitlines()) == 1 and len(line) < 1500


def test_a_table_is_read_once_and_its_kinds_are_found_once(nflow, monkeypatch):
    calls = Counter()

    def counted(module, name):
        original = getattr(module, name)

        def call(*args, **options):
            calls[name] += 1
            return original(*args, **options)

        monkeypatch.setattr(module, name, call)

    counted(reader, "read_columns")
    counted(dataset, "kinds_of")
    Path("t.csv").write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in zip(X, Y)))
    assert nflow("fit", "t.csv", "--dry-run").exit_code == 0
    assert calls == {"read_columns": 1, "kinds_of": 1}
    wide = ",".join(f"c{i}" for i in range(1_100)) + "\n"
    Path("wide.csv").write_text(wide + ",".join("1" * 1_100) + "\n")
    refused = nflow("fit", "wide.csv", "--dry-run")
    assert "at most 1,000 columns, received 1,100" in refused.stderr
    assert calls == {"read_columns": 1, "kinds_of": 1}

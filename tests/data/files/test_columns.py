"""The columns of a table: as read, as their kinds have them, and as written again."""

import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from nflow_cli.config.column_kinds import ColumnKind, Lattice
from nflow_cli.config.table import TableData
from nflow_cli.data.files import columns as raw_columns
from nflow_cli.data.files import tables
from nflow_cli.data.files.columns import Column, read_columns
from nflow_cli.data.files.table_files import open_table, table_of
from nflow_cli.data.files.writing import as_written, filled, write_table
from nflow_cli.data.kinds.asked import asked_columns
from nflow_cli.data.kinds.dataset import load_dataset, rows_of
from nflow_cli.data.kinds.found_kinds import kinds_of
from nflow_cli.errors import DataError

NAN = np.nan


def cells(column):
    """Return a column's source, and its numbers or texts as a list."""
    if column.numbers is not None:
        return column.cell_type, column.numbers.tolist()
    if column.codes is None:
        return column.cell_type, None
    return column.cell_type, [column.texts[code] if code >= 0 else None for code in column.codes]


def read(path, text, **options):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    columns, rows = read_columns(open_table(path), **options)
    return {column.name: cells(column) for column in columns}, rows


WRITTEN = [  # cells of a column, its source, and its values
    ("1|2.5|-3e2", "number", [1, 2.5, -300]),
    ("1||NA|nan|None| <na> ", "number", [1, NAN, NAN, NAN, NAN, NAN]),
    ("NA||NA", "number", [NAN, NAN, NAN]),
    ("inf|-inf|1", "number", [np.inf, -np.inf, 1]),
    ("a|b|a|NA", "text", ["a", "b", "a", None]),
    ("a|none|None|null", "text", ["a", "none", "None", None]),
    ("1|2|3 or 4", "text", ["1", "2", "3 or 4"]),
    ("1|2|3,5", "text", ["1", "2", "3,5"]),
    ("TRUE|FALSE||TRUE", "truth", ["TRUE", "FALSE", None, "TRUE"]),
    ("true|maybe", "text", ["true", "maybe"]),
    ("1970-01-02|NA|1969-12-31", "date", [1, NAN, -1]),
    ("1970-01-02|1970-01-01 00:01:00", "time", [86400, 60]),
    ("1970-01-01T00:00:00.25|NA", "time", [0.25, NAN]),
    ("1970-01-01T01:00:00Z|1970-01-01T01:00:00+01:00", "time", [3600, 0]),
    ("1970-01-02|1970-02-30", "text", ["1970-01-02", "1970-02-30"]),
    ("1970-01-02|12", "text", ["1970-01-02", "12"]),
    ("two\nlines|x", "text", ["two\nlines", "x"]),
    ("a man\x19s best friend|a dog", "text", ["a man\x19s best friend", "a dog"]),
]


@pytest.mark.parametrize(("texts", "source", "expected"), WRITTEN)
def test_cells_of_text_are_what_all_of_them_are(tmp_path, texts, source, expected):
    lines = [f'{i},"{cell}"' for i, cell in enumerate(texts.split("|"))]
    columns, rows = read(tmp_path / "t.csv", "\n".join(["i,x", *lines, ""]))
    np.testing.assert_equal(columns["x"], (source, expected))
    assert rows.tolist() == list(range(len(lines)))


def test_a_quoted_return_is_no_end_of_a_row_and_bytes_are_no_text(tmp_path):
    for text, expected in (
        ('i,x\n2,"c\rd"\n3,"e\r\nf"\n', ["c\rd", "e\r\nf"]),
        ("i,x\r1,a\r2,b\r", ["a", "b"]),
    ):
        columns, _ = read(tmp_path / "t.csv", text)
        assert columns["x"] == ("text", expected)
    columns, _ = read(tmp_path / "t.csv", "i;x\n1;2,5\n2;3,5\n")  # decimal commas
    assert columns["x"] == ("number", [2.5, 3.5])
    for content in (b"i,x\n1,\x002\n", 20 * b"1\x01\x02,\x03\xff\n"):
        with pytest.raises(DataError, match="expected text"):
            read(tmp_path / "t.csv", content)


LATE = 2**18  # rows, which fill the first MiB


@pytest.mark.parametrize(
    ("early", "late", "source", "values"),
    [
        ("1", "x", "text", ("1", "x")),
        ("1", "1,5", "text", ("1", "1,5")),
        ("1", "2000-01-01", "text", ("1", "2000-01-01")),
        ("1", "7", "number", (1.0, 7.0)),
        ("1970-01-02", "1970-01-01 00:01:00", "time", (86400.0, 60.0)),
        ("", "a", "text", (None, "a")),
        ("", "1970-01-02", "date", (NAN, 1.0)),
    ],
)
def test_what_comes_late_decides_as_what_comes_first(tmp_path, early, late, source, values):
    columns, _ = read(tmp_path / "t.csv", "i,x\n" + LATE * f"10,{early}\n" + f'10,"{late}"\n')
    assert columns["i"] == ("number", [10.0] * (LATE + 1))
    found, cells = columns["x"]
    assert (found, len(cells)) == (source, LATE + 1)
    np.testing.assert_equal((cells[0], cells[LATE - 1], cells[-1]), (values[0], *values))


TYPED = [  # values, their type in Arrow, the source and the values read
    ([dt.date(1970, 1, 2), None], pa.date32(), "date", [1, NAN]),
    ([dt.date(1970, 1, 2), None], pa.date64(), "date", [1, NAN]),
    ([dt.datetime(1970, 1, 2), None], pa.timestamp("ms"), "time", [86400, NAN]),
    ([dt.datetime(1970, 1, 2), None], pa.timestamp("ns", "UTC"), "time", [86400, NAN]),
    ([True, None], pa.bool_(), "truth", ["true", None]),
    ([decimal.Decimal("1.25"), None], pa.decimal128(5, 2), "number", [1.25, NAN]),
    ([1, None], pa.uint8(), "number", [1, NAN]),
    ([None, None], pa.null(), "number", [NAN, NAN]),
    (["1", "NA"], pa.string(), "text", ["1", None]),
    (["a", None], pa.large_string(), "text", ["a", None]),
    (["a", None], pa.dictionary(pa.int8(), pa.string()), "text", ["a", None]),
    ([[1], None], pa.list_(pa.int64()), "text", None),
    ([b"\xff", None], pa.binary(), "text", None),
]


@pytest.mark.parametrize(("values", "type", "source", "expected"), TYPED)
def test_types_of_arrow_say_what_cells_are(tmp_path, values, type, source, expected):
    table = pa.table({"x": pa.array(values, type)})
    parquet.write_table(table, tmp_path / "t.parquet")
    for opened in (table_of(table), open_table(tmp_path / "t.parquet")):
        (column,), _ = read_columns(opened)
        np.testing.assert_equal(cells(column), (source, expected))


def test_categories_of_numbers_single_precision_and_an_index_are_said():
    numbers = pa.array([2, None, 2]).dictionary_encode()
    (column,), _ = read_columns(table_of(pa.table({"x": numbers})))
    assert cells(column) == ("text", ["2", None, "2"])
    table = pa.table({"x": pa.array([0.1], pa.float32()), "y": pa.array([0.1])})
    assert [column.is_float32 for column in read_columns(table_of(table))[0]] == [True, False]
    frame = table.append_column("i", pa.array([5])).replace_schema_metadata(
        {"pandas": '{"index_columns": ["i"]}'}
    )
    columns, _ = read_columns(table_of(frame), names=["i", "x"])
    assert [(column.name, column.is_index) for column in columns] == [("i", True), ("x", False)]


def test_texts_too_many_to_keep_are_left(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_columns, "MAX_TEXTS", 3)
    text = "few,many,long\n" + "".join(f"a{i % 3},b{i},{100 * 'c'}{i % 2}\n" for i in range(9))
    columns, _ = read(tmp_path / "t.csv", text)
    assert columns["few"][1][:4] == ["a0", "a1", "a2", "a0"]
    assert columns["many"] == ("text", None)
    monkeypatch.setattr(raw_columns, "MAX_LETTERS", 150)
    assert read(tmp_path / "t.csv", text)[0]["long"] == ("text", None)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_rows_drawn_are_those_that_the_seed_draws(tmp_path, name):
    n = 100_000
    table = pa.table({"x": np.arange(float(n)), "t": [f"t{i % 7}" for i in range(n)]})
    (csv.write_csv if name == "t.csv" else parquet.write_table)(table, tmp_path / name)

    def drawn(size=50, seed=3):
        columns, rows = read_columns(open_table(tmp_path / name), max_rows=size, seed=seed)
        return *columns, rows.tolist()

    x, t, rows = drawn()
    assert rows == sorted(set(rows)) == x.numbers.tolist() == drawn()[-1] != drawn(seed=4)[-1]
    assert cells(t)[1] == [f"t{i % 7}" for i in rows]
    assert len(drawn(n)[-1]) == n


def test_each_row_is_as_likely_to_be_drawn():
    table, counts = table_of({"a": np.arange(30.0)}), np.zeros(30)
    for seed in range(2_000):
        counts[read_columns(table, max_rows=10, seed=seed)[1]] += 1
    # 2,000 draws with probability 1/3 each: within 5 standard deviations
    assert np.abs(counts - 2_000 / 3).max() < 5 * np.sqrt(2_000 * 2 / 9)


def test_more_rows_than_a_fit_takes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_columns, "MAX_ROWS", 2)
    with pytest.raises(DataError, match="expected at most 2 rows, received more"):
        read(tmp_path / "t.csv", "x\n1\n2\n3\n")
    assert tables.MAX_ROWS == 10**7
    with pytest.raises(DataError, match="no column 'y'"):
        read(tmp_path / "t.csv", "x\n1\n2\n", names=["y"])


N = 1_000
RNG = np.random.default_rng(2)
NORMAL = RNG.normal(size=N)
TENTHS = np.rint(RNG.normal(size=N) * 20) / 10
SIXTHS = np.where(np.arange(N) % 4 == 0, 1 / 6, NORMAL)


def valued(cells):
    """Return the values of cells as their kind has them, and that kind."""
    column = Column("x", "number", np.asarray(cells, float), None, [])
    kind = kinds_of(asked_columns([column], TableData(name="t.csv")))["x"]
    return column.numbers_as(kind), kind


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (TENTHS.astype(np.float32), TENTHS),
        (TENTHS + RNG.normal(size=N) * 1e-15, TENTHS),
        (TENTHS * (1 + 1e-8 * np.sign(NORMAL)), TENTHS),
        (np.round(NORMAL, 3).astype(np.float32), np.round(NORMAL, 3)),
        (np.where(np.arange(N) == 7, np.nan, TENTHS), np.where(np.arange(N) == 7, np.nan, TENTHS)),
    ],
)
def test_noise_below_what_is_written_is_rounded_off(cells, values):
    np.testing.assert_array_equal(valued(cells)[0], values)


def test_other_numbers_stay_as_they_are_to_12_digits_and_atoms_are_met_exactly():
    for cells in (NORMAL, np.rint(NORMAL * 10) / 3, 1.7e9 + 1e3 * NORMAL):
        np.testing.assert_allclose(valued(cells)[0], cells, rtol=5e-12)
    for cells in (SIXTHS, SIXTHS.astype(np.float32)):
        values, kind = valued(cells)
        assert np.isin(values, kind.atoms).sum() == N / 4


@pytest.mark.parametrize("form", [".9g", ".15g", ".17g", ""])
@pytest.mark.parametrize("values", [NORMAL, TENTHS, np.where(NORMAL > 0, 0.1, 7.3)])
def test_single_precision_in_text_is_read_as_if_stored_and_written_with_its_digits(values, form):
    single = values.astype(np.float32)
    of_text = np.array([float(format(one if form else str(one), form)) for one in single])
    data, stored = (
        load_dataset(TableData(name="t"), table_of({"x": x})) for x in (of_text, single)
    )
    np.testing.assert_array_equal(data.train, stored.train)
    rows = np.concatenate([data.train, data.validation, data.test])[:, 0]
    kinds = data.kinds["x"], stored.kinds["x"]
    assert set(as_written(kinds[0], rows).tolist()) == set(of_text.tolist())
    assert set(np.asarray(as_written(kinds[1], rows)).tolist()) == set(single.tolist())


IDS = [9_200_000_000_000_001 + 10_000_001 * i for i in range(40)]  # not all in float64


@pytest.mark.parametrize("write", [csv.write_csv, parquet.write_table])
def test_whole_numbers_that_float64_lacks_are_levels_if_they_repeat_else_counted(tmp_path, write):
    repeated, unique = IDS * 10, [2**60 + 1_000_003 * i**2 for i in range(400)]
    columns = {"id": repeated, "n": unique, "x": np.arange(400) % 7}
    path = tmp_path / "table"
    write(pa.table(columns), path)
    data = load_dataset(TableData(name=str(path), columns=["id", "n", "x"]))
    assert data.kinds["id"].levels == sorted(map(str, IDS))
    assert [data.kinds["n"].kind, data.kinds["n"].type] == ["number", "whole"]
    n = sum(int(float(value)) != value for value in unique)
    (note,) = (note for note in data.notes if note.startswith("n: "))
    assert note.startswith(f"n: {n} cells are whole numbers beyond 2^53")
    assert f"{unique[1]} as {float(unique[1]):.0f}" in note


def test_numbers_that_are_merged_at_12_digits_are_counted_with_an_example():
    cells = np.append(np.round(NORMAL, 2), [0.1 + 0.2, 0.3])
    (note,) = load_dataset(TableData(name="t"), table_of({"x": cells})).notes
    assert note.startswith("x: 1 of ") and note.endswith("0.3 and 0.30000000000000004")


def test_dates_that_are_text_are_days():
    days = np.datetime64("2020-01-01") + RNG.integers(0, 90, N).astype("timedelta64[D]")
    texts = [f"{d.day}/{d.month}/{d.year}" for d in days.tolist()]
    known = list(dict.fromkeys(texts))
    column = Column("x", "text", None, np.array([known.index(t) for t in texts]), known)
    column = column.in_numbers()
    kind = kinds_of(asked_columns([column], TableData(name="t.csv")))["x"]
    np.testing.assert_array_equal(column.numbers_as(kind), days.astype(float))


DAY = dt.date(2024, 2, 29)
NOON = dt.datetime(2024, 2, 29, 12, 0, 1)


def dates(form=None, type="date", step=1.0):
    lattice = Lattice(step=step)
    facts = {"form": form, "type": type, "decimals": 0, "resolution": step, "missing": True}
    return ColumnKind(kind="grid", lattice=lattice, **facts)


def few(values, **facts):
    return ColumnKind(kind="levels", levels=values, missing=True, **facts)


CASES = {
    "text": (few(["a", "b"], type="text"), ["b", None, "a"]),
    "truth": (few(["False", "True"], type="truth"), ["True", None, "False"]),
    "whole levels": (few(["-3", "12"], type="whole", decimals=0), [12, None, -3]),
    "levels": (few(["0.50", "7.25"], decimals=2), [7.25, None, 0.5]),
    "dates of few": (few(["19782", "19783"], type="date", decimals=0), [DAY, None]),
    "whole": (ColumnKind(kind="number", type="whole", decimals=0), [7, None, -2]),
    "whole beyond 2^53": (
        ColumnKind(kind="number", type="whole", decimals=0),
        [2**60 + 2**10, None, -(2**55)],
    ),
    "number": (ColumnKind(kind="number", decimals=3), [1.125, None, -2.5]),
    "dates": (dates(), [DAY, None]),
    "times": (dates(type="time"), [NOON, None]),
    "dates of a form": (dates("%d.%m.%Y"), ["29.02.2024", None]),
    "times of a form": (dates("%Y-%m-%dT%H:%M:%SZ", "time"), ["2024-02-29T12:00:01Z", None]),
    "times of day": (dates("%H:%M", "time", 60.0), ["23:07", None]),
}


def cells_of(kind, values):
    return rows_of(table_of({"x": pa.array(values)}), {"x": kind}, ["x"])[:, 0]


@pytest.mark.parametrize("case", CASES)
def test_cells_are_written_as_the_table_has_them(case):
    kind, values = CASES[case]
    written = as_written(kind, cells_of(kind, values))
    if isinstance(written, np.ndarray):
        assert [None if np.isnan(value) else value for value in written.tolist()] == values
    else:
        assert written.to_pylist() == values


NINE = 32_400  # seconds


@pytest.mark.parametrize(
    ("type", "ticks", "texts"),
    [
        (pa.time32("s"), [NINE, 0], ["09:00:00", "00:00:00"]),
        (pa.time64("us"), [NINE * 10**6, 0], ["09:00:00", "00:00:00"]),
        (pa.time64("ns"), [NINE * 10**9, 10**8], ["09:00:00.000", "00:00:00.100"]),
        (pa.timestamp("ns"), [NINE * 10**9, 0], ["1970-01-01 09:00:00", "1970-01-01 00:00:00"]),
        (
            pa.timestamp("us", "UTC"),
            [NINE * 10**6, 1_000],
            ["1970-01-01 09:00:00.000Z", "1970-01-01 00:00:00.001Z"],
        ),
        (
            pa.timestamp("ns"),
            [NINE * 10**9, 1],
            ["1970-01-01 09:00:00.000000000", "1970-01-01 00:00:00.000000001"],
        ),
    ],
)
def test_times_are_written_in_the_digits_that_hold_them(tmp_path, type, ticks, texts):
    batch = pa.RecordBatch.from_arrays([pa.array([*ticks, None], type)], ["x"])
    write_table(tmp_path / "x.csv", ["x"], [batch])
    assert (tmp_path / "x.csv").read_text().splitlines() == ["x", *texts, ""]


def test_whole_seconds_behind_others_are_written_as_those_are(tmp_path):
    parts = [[NINE * 10**6 + 5 * 10**5, 0], [NINE * 10**6], [None]]
    batches = [pa.record_batch({"x": pa.array(part, pa.timestamp("us"))}) for part in parts]
    write_table(tmp_path / "x.csv", ["x"], batches)
    times = ["09:00:00.500", "00:00:00.000", "09:00:00.000"]
    expected = ["x", *(f"1970-01-01 {time}" for time in times), ""]
    assert (tmp_path / "x.csv").read_text().splitlines() == expected


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_times_of_day_of_a_typed_table_are_levels_of_seconds_filled_in_their_type(unit):
    cells = pa.array([NINE * (10**6 if unit == "us" else 10**9), None], pa.time64(unit))
    table = table_of(pa.table({"x": cells}))
    for texts in ([], ["x"]):  # as a run reads them, and as it reads other rows
        (column,), _ = read_columns(table, texts=texts)
        assert column.texts == ["09:00:00"]
    block, are_gaps = pa.RecordBatch.from_arrays([cells], ["x"]), np.array([False, True])
    for kind, number in ((few(["09:00:00"], type="text"), 0), (dates(type="time"), NINE)):
        written = as_written(kind, np.full(2, float(number)))
        (full,) = filled(block, {0: (are_gaps, written)}).columns
        assert full.type == cells.type and full[1] == full[0]
    mixed = pa.array([NINE * 10**9, NINE * 10**9 + 5 * 10**8], pa.time64("ns"))
    (column,), _ = read_columns(table_of(pa.table({"x": mixed})))
    assert column.texts == ["09:00:00.000000000", "09:00:00.500000000"]


def test_dates_as_text_in_a_table_of_types_are_dates():
    for values in (["2024-02-29", "2024-03-01"], np.array(["2024-02-29", "2024-03-01"], "M8[D]")):
        np.testing.assert_array_equal(cells_of(dates(), values), [19_782, 19_783])
    with pytest.raises(DataError, match="'x': expected ISO dates, received 'soon'"):
        cells_of(dates(), ["soon", "2024-03-01"])
    with pytest.raises(DataError, match="expected dates or times as %d"):
        cells_of(dates("%d.%m.%Y"), ["2024-03-01", "01.02.2024"])

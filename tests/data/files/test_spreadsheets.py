"""Workbooks of Excel: the sheet as a person reads it, and the one line that refuses."""

import datetime
import io
import sys
import zipfile

import numpy as np
import pytest

from nflow_cli.config.table import TableData
from nflow_cli.data.files import spreadsheets
from nflow_cli.data.files.columns import read_columns, text_of
from nflow_cli.data.files.table_files import open_table
from nflow_cli.data.kinds.dataset import load_dataset
from nflow_cli.errors import DataError, NflowError

NAN = np.nan


@pytest.fixture
def write(tmp_path):
    """Return a function that writes sheets by their titles, each a mapping of places to cells."""
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed")

    def write(hidden=(), merged=(), hidden_rows=(), **sheets):
        book = openpyxl.Workbook()
        book.remove(book.active)
        for title, cells in sheets.items():
            sheet = book.create_sheet(title)
            sheet.sheet_state = "hidden" if title in hidden else "visible"
            for place, cell in cells.items():
                sheet[place] = cell
            for area in merged:
                sheet.merge_cells(area)
            for row in hidden_rows:
                sheet.row_dimensions[row].hidden = True
        book.save(tmp_path / "t.xlsx")
        return tmp_path / "t.xlsx"

    return write


def placed(rows, column="A", first=1):
    letters = "ABCDEFGHIJ"["ABCDEFGHIJ".index(column) :]
    return {f"{a}{i}": cell for i, row in enumerate(rows, first) for a, cell in zip(letters, row)}


def content(table):
    columns, _ = read_columns(table)
    return {
        c.name: c.numbers.tolist() if c.cell_type == "number" else text_of(table, c.name).tolist()
        for c in columns
    }


def day(*parts):
    return datetime.datetime(*parts)


ROWS = [
    ["name", "x", "n", "day", "time", "is"],
    ["Bo, 5", 1.5, 3, day(2024, 2, 29), day(2024, 2, 29, 10, 30), True],
    ["Al\nEk", 0.1, None, day(2024, 3, 1), day(2024, 3, 1), False],
    ['"Cy"', 1e-9, 5, None, day(2024, 3, 1, 0, 0, 1), None],
    ["Di", 2.5, 12345678901, day(2024, 3, 2), day(2024, 3, 3, 1), True],
]
READ = {
    "name": ["Bo, 5", "Al Ek", '"Cy"', "Di"],
    "x": [1.5, 0.1, 1e-9, 2.5],
    "n": [3, NAN, 5, 12345678901],
    "day": ["2024-02-29", "2024-03-01", "", "2024-03-02"],
    "time": ["2024-02-29 10:30:00", "2024-03-01", "2024-03-01 00:00:01", "2024-03-03 01:00:00"],
    "is": ["true", "false", "", "true"],
}


def test_a_sheet_is_the_table_that_it_shows(write):
    table = open_table(write(Sheet1=placed(ROWS)))
    np.testing.assert_equal(content(table), READ)
    assert [column.cell_type for column in read_columns(table)[0]] == [
        *("text", "number", "number", "date", "time", "truth")
    ]
    assert not table.notes and table.place(3) == "line 5"


def test_titles_totals_and_other_sheets_are_said(write):
    below = [["Total", 4.1, 8]]
    cells = {"B1": "Sales", **placed([*ROWS, *below], "B", 4)}
    path = write(("Notes",), Notes={"A1": "x"}, Empty={}, Sales=cells, More=placed(ROWS))
    table = open_table(path)
    np.testing.assert_equal(content(table), READ)
    assert table.notes == [
        "sheet 'Sales' is read, of 'Empty', 'Sales', 'More': to read another, move it to the front",
        "left out above the table: line 1, 'Sales'",
        "left out below the table: line 9, 'Total 4.1 8'",
    ]
    assert table.place(0) == "line 5"


def test_a_sheet_about_the_table_is_passed_over(write):
    about = {"A1": "Survey", "A3": "written by", "B3": "the office"}
    rows = [["n", "x"], *([i, i / 2] for i in range(12))]
    table = open_table(
        write(About=about | {f"A{i}": "word" for i in range(4, 40)}, Data=placed(rows))
    )
    assert table.notes == [
        "sheet 'Data' is read, of 'About', 'Data': to read another, move it to the front"
    ]
    assert content(table)["x"] == [i / 2 for i in range(12)]


def test_merged_cells_have_one_value_and_hidden_rows_are_said(write):
    rows = [["region", "branch", "x"], *([f"r{i}", f"b{i}", i / 2] for i in range(12))]
    cells = {"A1": "Sales in 2024", **placed(rows, first=3)}
    areas = ("A1:C1", "A4:A9", "A10:A15", "B12:B13")
    table = open_table(write(merged=areas, hidden_rows=(6, 7, 14), Sheet1=cells))
    read = content(table)
    assert read["region"] == 6 * ["r0"] + 6 * ["r6"]
    assert read["branch"] == [f"b{8 if i == 9 else i}" for i in range(12)]
    assert table.notes == [
        "hidden rows are read, too: 3",
        "left out above the table: line 1, 'Sales in 2024'",
    ]


def test_a_sheet_that_is_refused_is_named_beside_the_others(write):
    path = write(About={"A1": "written by", "A2": "the office"}, Data=placed(ROWS))
    with pytest.raises(DataError, match="sheet 'About', of 'About', 'Data': expected at least 10"):
        load_dataset(TableData(name=str(path)))


def test_formulas_without_stored_values_are_said_where_a_column_is_empty(write):
    rows = [["n", "twice", "sum", "none"], *([i, f"=B{i}*2", "=A1+B1", None] for i in range(3, 9))]
    table = open_table(write(Sheet1={"B1": "Sales", **placed(rows, "B", 2)}))
    assert table.notes[-1] == (
        "twice, sum: formulas without stored values, read as missing: open the file in a "
        "spreadsheet program and save it"
    )
    np.testing.assert_equal(content(table)["twice"], 6 * [NAN])


def test_what_is_no_table_is_one_line(write, tmp_path, monkeypatch):
    for cells, said in (
        ({}, "no rows in it"),
        ({"A1": "x", "XFD1048576": 1}, "expected 1 to 10,000 columns, received 16,384"),
    ):
        path = write(Sheet1=cells)
        with pytest.raises(DataError, match=said):
            read_columns(open_table(path))
    for most, said in (
        (29, "received 5 rows of up to 6"),
        (28, "sheet 'Sheet1': expected at most"),
    ):
        monkeypatch.setattr(spreadsheets, "MAX_CELLS", most)
        with pytest.raises(DataError, match=said):
            open_table(write(Sheet1=placed(ROWS)))
    for limit, most, said in (
        ("MAX_CELL", 4, "expected cells of at most 4 letters, 268,435,456 in all"),
        ("MAX_LETTERS", 30, "letters, 30 in all"),
        ("MAX_WIDTH", 5, "or 5 in a row; export the sheet as CSV"),
        ("MOST", {"row": 4}, "more than 4 elements 'row'"),
        ("MAX_OBJECTS", 3, "more than 3 elements"),
        ("MAX_PARTS", 3, "more than 3 parts"),
        ("MAX_OPENED", 1, "or a part of many sheets"),
        ("MAX_TAG", 20, "a tag of more than 20 bytes"),
    ):
        path = write(Sheet1=placed(ROWS))
        with monkeypatch.context() as few, pytest.raises(DataError, match=said):
            few.setattr(spreadsheets, "MAX_CELLS", 10**7)
            few.setattr(spreadsheets, limit, most)
            few.setattr(spreadsheets, "BLOCK", 10 if limit == "MAX_TAG" else 2**20)
            open_table(path)
    monkeypatch.setattr(spreadsheets, "MAX_BYTES", 1_000)
    with pytest.raises(DataError, match="expected at most 1,000 bytes uncompressed"):
        open_table(write(Sheet1=placed(ROWS)))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "b")
    (tmp_path / "other.xlsx").write_bytes(file.getvalue())
    with pytest.raises(DataError, match="expected a workbook of Excel"):
        open_table(tmp_path / "other.xlsx")


def test_without_openpyxl_the_line_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(NflowError, match=r"pip install '\.\[excel\]'; or export the sheet as CSV"):
        open_table(tmp_path / "t.xlsx")

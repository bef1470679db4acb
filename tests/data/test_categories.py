"""Cells of numbers and of categories, as rows."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from nflow_cli.config.roles import Roles
from nflow_cli.data.categories import Reader, rows_of
from nflow_cli.data.table_files import open_table, table_of
from nflow_cli.errors import DataError


def read(table, name="c", known=None):
    """Return the numbers of all cells of a category, and the levels."""
    reader, parts, first = Reader(table, {name: known}), [], 0
    for block in table.blocks([name]):
        parts.append(reader.floats(block, name, first))
        first += block.num_rows
    return np.concatenate(parts).tolist(), reader.levels(name)


def levels_of(table, name="c"):
    """Return the level of each cell, ``None`` where it is missing."""
    numbers, levels = read(table, name)
    return [None if np.isnan(number) else levels[int(number)] for number in numbers]


ROMAN = ["II", "I", None, "II", "III"]
NUMBERS = [3.0, 1.5, np.nan, 3.0, -0.25]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (pa.array(ROMAN), ROMAN),
        (pa.array(ROMAN, pa.large_string()), ROMAN),
        (pa.array(ROMAN).dictionary_encode(), ROMAN),
        (pa.DictionaryArray.from_arrays([1, None, 0, 1], ["x", None]), [None, None, "x", None]),
        (pa.array(ROMAN).dictionary_encode().cast(pa.dictionary(pa.uint8(), pa.string())), ROMAN),
        (np.array([0.0, -0.0]), ["0", "0"]),
        (np.array(NUMBERS), ["3", "1.5", None, "3", "-0.25"]),
        (np.array(NUMBERS, np.float32), ["3", "1.5", None, "3", "-0.25"]),
        (pa.array([0.1, 1e22, 1e-7], pa.float32()), ["0.1", "1e+22", "1e-07"]),
        (np.array([3, 12, -4]), ["3", "12", "-4"]),
        (pa.array([2**63 - 1, None]), ["9223372036854775807", None]),
        (pa.array([7, 8, 7]).dictionary_encode(), ["7", "8", "7"]),
        (np.array([True, False]), ["true", "false"]),
        (pa.array(["2024-01-31"]).cast(pa.date32()), ["2024-01-31"]),
    ],
)
def test_a_level_is_the_text_of_a_value(cells, expected):
    assert levels_of(table_of({"c": cells})) == expected


@pytest.mark.parametrize("cell", ["3", "3.0", "3.00"])
def test_a_whole_number_is_one_level_however_a_file_writes_it(tmp_path, cell):
    (tmp_path / "t.csv").write_text(f"a,c\n1,{cell}\n2,3\n")
    table = open_table(tmp_path / "t.csv")
    assert read(table) == ([0, 0], ["3"])


def test_other_text_stays_as_the_file_has_it(tmp_path):
    texts = ["1.50", "007", "07.0", " x", "v1.0", "1,000", "x,y"]
    lines = "".join(f'{i};"{text}"\n' for i, text in enumerate(texts))
    (tmp_path / "t.csv").write_text("a;c\n" + lines)
    assert levels_of(open_table(tmp_path / "t.csv")) == texts


def test_a_decimal_comma_writes_whole_numbers_too(tmp_path):
    (tmp_path / "t.csv").write_text("a;c\n1,5;3,0\n2,5;4,5\n3,5;1.000\n")
    assert levels_of(open_table(tmp_path / "t.csv")) == ["3", "4,5", "1.000"]


def test_what_is_missing_is_so_in_text_as_in_numbers(tmp_path):
    cells = ["", "NA", "n/a", " null ", "None", "nan"]
    (tmp_path / "t.csv").write_text("a,c\n" + "".join(f"1,{cell}\n" for cell in [*cells, "x"]))
    assert levels_of(open_table(tmp_path / "t.csv")) == [None] * len(cells) + ["x"]


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1))
def test_levels_are_numbered_as_they_appear_or_as_they_are_known(texts):
    column = pa.array(texts, pa.string())
    table = table_of({"c": column})
    seen = list(dict.fromkeys(text for text in texts if text is not None))
    numbers = [np.nan if text is None else seen.index(text) for text in texts]
    np.testing.assert_equal(read(table), (numbers, seen))
    known = [np.nan if t is None else {"b": 0, "a": 1}.get(t, -1) for t in texts]
    np.testing.assert_equal(read(table, known=["b", "a"]), (known, ["b", "a"]))


def test_levels_keep_their_numbers_from_block_to_block(tmp_path):
    texts = ["x"] * 70_000 + ["y", "x"] * 40_000
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"c": texts}), path)
    numbers, levels = read(open_table(path))
    assert levels == ["x", "y"]
    assert numbers == [0] * 70_000 + [1, 0] * 40_000


def test_rows_are_read_in_the_order_of_their_roles():
    table = table_of(
        {
            "g": [1.0, 2.0, 3.0, 4.0],
            "city": ["Oslo", "Paris", None, "Rome"],
            "x": [0.5, None, 2.5, 3.5],
            "shop": [1, 2, 2, 7],
        }
    )
    roles = Roles(["x"], {}, {"city": ("Oslo", "Rome")}, ["g"], {"shop": ("1", "2")})
    (block,) = table.blocks(["city", "g", "shop", "x"])
    rows = rows_of(table, block, roles, 0)
    nan = np.nan
    expected = [[0.5, 0, 1, 0], [nan, -1, 2, 1], [2.5, nan, 3, 1], [3.5, 1, 4, -1]]
    np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([[1], [2]], "column 'c': expected text or numbers, received 'list<.*int64.*>'"),
        (["x", "y" * 1_001], "row 1 counted from 0, column 'c': expected a level of at most 1,000"),
        ([str(i) for i in range(1_001)], "'c': expected at most 1,000 levels of a category, recei"),
    ],
)
def test_cells_that_are_no_levels_are_one_line(cells, words):
    with pytest.raises(DataError, match=words) as refused:
        read(table_of(pa.table({"c": cells})))
    assert "\n" not in str(refused.value)


def test_text_where_a_number_is_expected_is_told_how_it_is_taken(tmp_path):
    (tmp_path / "t.csv").write_text("a,c\n1,x\n2,y\n")
    table = open_table(tmp_path / "t.csv")
    (block,) = table.blocks(["c"])
    with pytest.raises(DataError, match=r"line 2, column 'c': .* 'x'; --categorical c takes text"):
        Reader(table, {}).floats(block, "c", 0)

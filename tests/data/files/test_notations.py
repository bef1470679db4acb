"""Numbers in text: read as a person would read them, and written again as they were."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nflow_cli.config.column_kinds import Notation
from nflow_cli.data.files.notations import (
    notation_of,
    numbers_of,
    read_numbers,
    texts_of,
)

NAN = np.nan
READ = [  # texts, the table's decimal mark, and the numbers that a person reads
    ("419,36 €|5,00 €|-1.204,50 €", ",", [419.36, 5, -1204.5]),
    ("419,36 €|5,00 €|1.204,50 €", ".", [419.36, 5, 1204.5]),
    ("$1,204.50|$3.00|-$7.25", ".", [1204.5, 3, -7.25]),
    ("$12.50|$-3.00", ".", [12.5, -3]),
    ("EUR 12|EUR 1,250", ".", [12, 1250]),
    ("EUR 12|EUR 1,250", ",", None),  # a thousand, or a price of three decimals
    ("EUR 12|EUR 1,250|EUR 1,250,000", ".", [12, 1250, 1250000]),
    ("1 234,50 €|12,00 €", ",", [1234.5, 12]),
    ("1\u202f234,50\u00a0€|12,00\u00a0€", ",", [1234.5, 12]),
    ("CHF 1'204.50|CHF 3.00", ".", [1204.5, 3]),
    ("12.5 kg|3 kg|1,200 kg", ".", [12.5, 3, 1200]),
    ("31%|7%|100%", ".", [31, 7, 100]),
    ("\u22123.5|2|\u22120.25", ".", [-3.5, 2, -0.25]),
    ("(1,204.50)|3.00", ".", [-1204.5, 3]),
    ("1.204,50-|3,00", ",", [-1204.5, 3]),
    ("20 °C|-5 °C", ".", [20, -5]),
    ("90 km/h|120 km/h", ".", [90, 120]),
    ("Fr. 12.50|Fr. 3.75", ".", [12.5, 3.75]),
    ("$.50|-|$1.25", ".", [0.5, NAN, 1.25]),
    # Thousands or decimals?
    ("1,204|3,150", ".", [1204, 3150]),
    ("1,204|3,155|12,5", ".", [1.204, 3.155, 12.5]),
    ("1,204|0,150", ".", [1.204, 0.15]),
    ("1.204|3.150", ",", [1204, 3150]),
    ("1.204|3.150", ".", [1.204, 3.15]),
    ("1.204.000|3.150", ".", [1204000, 3150]),
    ("1.204 kg|3.150 kg", ".", [1.204, 3.15]),
    ("1,204 kg|3,155 kg|12045 kg", ".", [1.204, 3.155, 12045]),
    ("1.204 €|3.150 €", ".", None),
    ("$1,204|$3,150", ",", None),
    # Gap marks, and others that are too many.
    ("5|-|7|?|#DIV/0!|k.A.", ".", [5, NAN, 7, NAN, NAN, NAN]),
    ("5 kg|-|–|—|.", ".", [5, NAN, NAN, NAN, NAN]),
    ("5|7|n.b.", ".", None),
    ("-|?", ".", None),
    # Levels, codes and what has two units stay text.
    ("5 €|7 $", ".", None),
    ("5 kg|7 lb", ".", None),
    ("Group 1|Group 2", ".", None),
    ("Q1|Q2|Q3", ".", None),
    ("B12|B13", ".", None),
    ("10-19|20-29", ".", None),
    ("1/2|3/4", ".", None),
    ("5+|6+", ".", None),
    ("1935-|1940-|1950", ".", None),
    ("4|6|4,6|8|9", ".", None),
    ("01|01.1|01.11|A", ".", None),
    ("135|136A|" + "|".join(map(str, range(137, 190))), ".", None),
    ("007|012|-", ".", None),
    ("<5|<6", ".", None),
    ("12:30|11:15", ".", None),
    ("192.168.1.1|192.168.1.20", ".", None),
    ("555 1234|555 9876", ".", None),
    ("(0.12)|(0.25)", ".", None),
    ("Rome|Oslo", ".", None),
    ("", ".", None),
]


UNEVEN = [  # not written again to the letter
    ("$   1,204.50|$ 3.00|$ 7.00", ".", [1204.5, 3, 7]),
    (f"${30 * ' '}1|$ 3.00", ".", None),
    ("1,20,400|12,345|99", ".", [120400, 12345, 99]),  # lakhs, written in groups of three
    ("₹ 1,00,00,000.50|₹ 12.25", ".", [10000000.5, 12.25]),
    ("1,20,40|12,345", ".", None),
    ("٣٫٥|١٢|١٬٢٠٤٫٢٥", ".", [3.5, 12, 1204.25]),  # digits of other scripts, written in ASCII
    ("۱۲٪|۷٪", ".", None),
    ("१२ kg|३ kg", ".", [12, 3]),
    ("٠٠٧|٠١٢", ".", None),
    ("￥1,204|￥９９，０００|￥７", ".", [1204, 99000, 7]),  # full width, written with ¥
    (f"0,{25 * '3'}|0,5", ".", [1 / 3, 0.5]),
]


@pytest.mark.parametrize(("texts", "decimal", "expected"), READ + UNEVEN)
def test_texts_are_the_numbers_that_a_person_reads(texts, decimal, expected):
    texts = texts.split("|") if texts else []
    found = read_numbers(texts, np.ones(len(texts), int), decimal)
    np.testing.assert_equal(found and found[0].tolist(), expected)


@pytest.mark.parametrize(
    "texts", [texts for texts, _, known in READ if known and "-|" not in texts]
)
def test_numbers_are_written_as_the_table_has_them(texts):
    texts, decimal = texts.split("|"), "," if texts.startswith("1.204|3.150") else "."
    way = notation_of(texts, np.ones(len(texts), int), decimal) or Notation()
    numbers = numbers_of(texts, way)
    assert texts_of(numbers, way, 3) == texts
    with_others = way.model_copy(update={"decimals": 2})
    (text,) = texts_of(np.array([-1234567.891]), with_others)
    assert numbers_of([text], way).tolist() == [-1234567.89]


def test_one_cell_in_twenty_may_be_another_text_and_gap_marks_do_not_count():
    texts, counts = ["5 kg", "6 kg", "soon", "-"], np.array([10, 9, 1, 40])
    numbers, way = read_numbers(texts, counts) or ([], None)
    np.testing.assert_equal(numbers, [5, 6, NAN, NAN])
    assert way == Notation(suffix=" kg", decimals=0, negative=["-", " kg"])
    assert read_numbers(texts, np.array([10, 8, 1, 40])) is None


def test_numbers_without_the_unit_are_read_where_all_are_so_and_infinite_ones_are_written():
    way = Notation(prefix="$", thousands=",", decimals=2, negative=["-$", ""])
    np.testing.assert_equal(numbers_of(["1204.5", "3", "-"], way), [1204.5, 3, NAN])
    np.testing.assert_equal(numbers_of(["$1,204.50", "3"], way), [1204.5, NAN])
    assert texts_of(np.array([np.inf, -np.inf, -0.001]), way) == ["inf", "-inf", "$0.00"]


BITS = st.sampled_from([*"0123456789.,'-−$€k()%", " ", "   ", "EUR", "kg", "m/s²", 25 * "1"])


@given(st.lists(BITS, max_size=40), st.sampled_from(".,"))
def test_any_text_is_a_number_or_none(bits, decimal):
    found = read_numbers(["".join(bits)], np.ones(1, int), decimal)
    numbers, way = found or ([], None)
    if way is not None:
        again = numbers_of(texts_of(np.array(numbers), way, 17), way)
        np.testing.assert_allclose(again, numbers, rtol=1e-12)

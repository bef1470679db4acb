"""The judge of office files: what a person reads is right, and nothing else."""

from pathlib import Path

import pytest

from benchmarks.office import Reading, verdict
from benchmarks.office_files import ALONE, changed, sheets, started

FOLDER = Path("files")


def as_a_person_reads(sheet):
    return {name: (column.kind, column.cells) for name, column in sheet.columns.items()}


def verdict_on(sheet, columns=None, **said):
    read = as_a_person_reads(sheet) | (columns or {})
    return verdict(sheet, Reading(read, **said), FOLDER)["verdict"]


def test_what_a_person_reads_is_right_in_each_file():
    names, read = zip(*sheets())
    assert len({*names}) == len(names) > 40
    assert {verdict_on(sheet) for sheet in read} == {"right"}


def of(name):
    return changed(started(name), [ALONE[name]])


def test_numbers_that_differ_are_wrong_whatever_is_said():
    sheet = of("currency")
    read = {"price": ("numbers", [5.0] * sheet.n)}
    assert verdict_on(sheet, read, notes=["price: numbers with a currency"]) == "wrong"


def test_text_in_place_of_numbers_is_refused_if_a_note_names_the_column():
    sheet = of("currency")
    read = {"price": ("text", sheet.columns["price"].texts)}
    assert verdict_on(sheet, read) == "wrong"
    assert verdict_on(sheet, read, notes=["computed: price = 2 * pieces"]) == "wrong"
    assert verdict_on(sheet, read, notes=["left out, text, mostly unique: price"]) == "refused"


def test_a_code_of_gaps_that_is_kept_needs_a_note_of_the_option():
    sheet = of("code -999")
    age = sheet.columns["age"]
    read = {"age": ("numbers", [-999.0 if cell is None else cell for cell in age.cells])}
    assert verdict_on(sheet, read) == "wrong"
    assert verdict_on(sheet, read, notes=["age: -999 repeats: --na -999?"]) == "refused"


def test_a_total_row_that_is_kept_is_wrong():
    sheet = of("total row")
    read = {
        name: (kind, [*cells, None]) for name, (kind, cells) in as_a_person_reads(sheet).items()
    }
    assert verdict_on(sheet, read) == "wrong"


def test_levels_in_two_forms_of_their_letters_are_wrong():
    sheet = of("NFC and NFD")
    assert verdict_on(sheet, {"place": ("text", sheet.columns["place"].texts)}) == "wrong"


@pytest.mark.parametrize(
    ("error", "expected"),
    [("line 4: expected 1 column", "refused"), ("cannot be read", "wrong")],
)
def test_an_error_is_a_refusal_if_it_names_the_trouble(error, expected):
    assert verdict_on(of("title lines"), error=error) == expected

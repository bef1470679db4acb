"""Which files are parts of a table, and the names of their outputs."""

from pathlib import Path

import pytest

from nflow_cli.errors import DataError
from nflow_cli.tables.many_files import are_parts, parts_of


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def files(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("a\n1\n")


def named(data, output="out"):
    return {str(part.path): part.name for part in parts_of(data, Path(output))}


def test_a_pattern_or_a_folder_are_parts_and_a_file_of_an_odd_name_is_none():
    files("d/a.csv", "b[1].csv")
    assert are_parts("d") and are_parts("d/*.csv") and are_parts("b[0-9].csv")
    assert not are_parts("b[1].csv") and not are_parts("d/a.csv") and not are_parts("-")


def test_outputs_have_the_names_of_the_parts_below_what_is_fixed_of_the_pattern():
    files("d/x/a.csv", "d/x/b.parquet", "d/y/a.csv", "d/.hidden.csv", "d/_SUCCESS")
    assert named("d/x/*") == {"d/x/a.csv": "a.csv", "d/x/b.parquet": "b.parquet"}
    assert named("d/*/a.csv") == {"d/x/a.csv": "x/a.csv", "d/y/a.csv": "y/a.csv"}
    of_folder = {"d/x/a.csv": "x/a.csv", "d/x/b.parquet": "x/b.parquet", "d/y/a.csv": "y/a.csv"}
    assert named("d") == of_folder == named("d/**/[ab].*")


def test_other_formats_become_csv_and_no_two_parts_share_an_output():
    files("a.csv.gz", "b.tsv", "c.npy")
    assert named("[abc].*") == {"a.csv.gz": "a.csv", "b.tsv": "b.csv", "c.npy": "c.csv"}
    files("b.csv")
    with pytest.raises(DataError, match="both would be written to b"):
        named("[abc].*")


def test_outputs_are_no_parts():
    files("d/a.csv", "d/out/a.csv")
    assert named("d/**", "d/out") == {"d/a.csv": "a.csv"} == named("d", "d/out")
    with pytest.raises(DataError, match="no files"):
        named("d", "d")

"""Cases are measured once, and the page "Measured" has the tables of their rows."""

import json

import pytest
from documents import DOCUMENTS

from benchmarks import runner
from benchmarks.__main__ import BENCHMARKS
from benchmarks.runner import AbsentError, Benchmark, Options

ELSEWHERE = {"infer", "modes"}  # whose tables are chosen for another page


def test_the_page_has_the_tables_of_the_rows_and_every_row_is_of_a_case():
    page = set(DOCUMENTS["docs/measured.md"].splitlines())
    for name, benchmark in BENCHMARKS.items():
        if rows := benchmark.rows():
            assert len(rows) == len(benchmark.path.read_text().splitlines()), name
            table = benchmark.table(rows).splitlines()
            assert name in ELSEWHERE or set(table) - {""} <= page, name


@pytest.fixture
def squares(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "RESULTS", tmp_path)
    measured = []

    def measure(case, options):
        if case["n"] > 2 and options.peers is None:
            raise AbsentError("--peers PYTHON")
        measured.append(case["n"])
        return [{"part": i, "square": case["n"] ** 2} for i in range(2)]

    cases = [{"n": 2}, {"n": 2, "train.steps": 5}, {"n": 3}]
    return Benchmark("squares", cases, measure, str), measured


def test_what_has_a_row_is_not_measured_again_unless_all_is_to_be(squares, capsys):
    benchmark, measured = squares
    benchmark.run(Options(), fresh=False)
    assert measured == [2, 2] and 'squares {"n": 3}: --peers PYTHON' in capsys.readouterr().err
    benchmark.run(Options("python"), fresh=False)
    assert measured == [2, 2, 3]
    rows = [json.loads(line) for line in benchmark.path.read_text().splitlines()]
    assert rows == benchmark.rows() and [row["square"] for row in rows] == [4, 4, 4, 4, 9, 9]
    benchmark.run(Options("python"), fresh=True)
    assert measured == [2, 2, 3, 2, 2, 3] and benchmark.rows() == rows


def test_functions_run_apart_and_a_library_that_is_not_there_is_absent():
    assert runner.apart("math:hypot", {}) == 0
    with pytest.raises(AbsentError, match="No module named"):
        runner.apart("no_such_library:fit", {})
    with pytest.raises(RuntimeError, match="TypeError"):
        runner.apart("math:hypot", {"x": 1})

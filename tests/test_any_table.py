"""Any small table, with any two options: what is done with it works, or is refused in one line."""

import csv
import json
import re
import shlex
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from any_table import COLUMNS, case_of, cases, csv_of
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import assert_same_run
from short_runs import (
    KilledError,
    killed_after,
    without_pictures,
    without_programs,
    workers_in_process,
)

from nflow_cli.cli import main
from nflow_cli.config import schema_options
from nflow_cli.config.schema_options import escaped
from nflow_cli.data.files.columns import read_columns
from nflow_cli.data.files.table_files import open_table
from nflow_cli.experiments.run import Run

NO_NUMBER = re.compile(r"(?<![\w-])(nan|inf)(?!\w)", re.IGNORECASE)


class RefusedError(Exception):
    """A command ended in one line."""


@pytest.fixture(scope="module", autouse=True)
def quick():
    with without_programs(), without_pictures():
        yield


def invoke(*words):
    """Run a command that works and prints no NaN, or is refused in one line; return its end."""
    done = CliRunner().invoke(main, [str(word) for word in words], prog_name="nflow")
    if not isinstance(done.exception, SystemExit | None):
        raise done.exception
    if done.exit_code == 0:
        assert not NO_NUMBER.search(done.stdout), (words, done.stdout)
        return done
    *others, last = done.stderr.splitlines()
    begin = {1: "nflow: error: ", 2: "Error: ", 3: "nflow: error: training diverged"}
    assert last.startswith(begin[done.exit_code]), (words, done.output)
    assert not any("error" in line for line in others), (words, done.stderr)
    raise RefusedError(last)


def mended(words):
    """Return the words of a fit that would begin: these, or what a dry run of them advises."""
    dry = CliRunner().invoke(main, [*words, "--dry-run"], prog_name="nflow")
    if not dry.stdout or dry.exit_code == 0:
        return words
    with pytest.raises(RefusedError):
        invoke(*words, "--output", "refused")
    line = dry.stdout.splitlines()[-1]
    if line == "no options correct all of these":
        raise RefusedError(line)
    return shlex.split(line.removeprefix("try: "))[1:]


def cells_of(path):
    """Return the columns of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file)
    return dict(zip(names, zip(*rows)))


def numbers_of(cells):
    return np.array([float(cell or "nan") for cell in cells])


def are_marks(cells, marks):
    """Return which cells ``(n,)`` are gap marks; 176 is one of 176.0."""
    of_values = {value_of(str(mark)) for mark in marks}
    return [value_of(cell) in of_values for cell in cells]


def value_of(text):
    """Return the number of a text that is one, else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def write_whole(path, columns):
    """Write a table, whose rows are all read, unless it is said which are not."""
    Path(path).write_text(csv_of(columns))
    table = open_table(path)
    if len(read_columns(table)[1]) != len(next(iter(columns.values()))):
        assert table.notes, path
        raise RefusedError(table.notes)


def walk(case):
    """Do all that is done with a table."""
    rng = np.random.default_rng(case.seed)
    Path("t.csv").write_text(csv_of(case.columns))
    tests = {name: cells[::3] for name, cells in case.columns.items()}
    Path("tests.csv").write_text(csv_of(tests))
    words = mended(["fit", "t.csv", *case.words])
    dry = invoke(*words, "--dry-run", "--json")
    assert json.loads(dry.stdout)["faults"] == []
    fit = invoke(*words, "--output", "run")
    run = Run.open("run")
    expect_roles(words, run, dry.stderr + fit.stderr)
    expect_draws(run)
    if not run.config.is_of_flows:
        expect_distributions(rng, run)
        expect_filled(rng, run, case)
        invoke("evaluate", "run", "--data", "tests.csv", "-o", "odd.csv", "--explain")
        invoke("drift", "run", "--data", "draws.csv")
    [expect_parts, expect_the_same_again, expect_conditions][rng.integers(3)](rng, run, case)
    assert "FAIL" not in invoke("check", "run").stdout
    with killed_after(1), pytest.raises(KilledError):
        invoke(*words, "--output", "killed")
    invoke("resume", "killed")
    assert_same_run(Path("run"), Path("killed"))


def expect_roles(words, run, said):
    """Check that options did something to the columns that they name, or that it is said why."""
    facts, data = run.facts, run.config.data
    given, typed = facts.get("given") or [], dict(zip(words[2::2], words[3::2]))
    in_row = {*facts["columns"], *given}
    left_out = "\n".join(line for line in said.splitlines() if "left out" in line)

    def named(option):
        return (
            schema_options.items_of(schema_options.NAMES, [typed[option]])
            if option in typed
            else []
        )

    for option, there in {"--given": given, "--columns": in_row, "--categorical": in_row}.items():
        assert all(name in there or name in left_out for name in named(option)), (option, said)
    for name in {*named("--categorical")} & in_row:
        assert data.kinds[name].alone.kind == "levels", name
    for name, step in data.discrete.items():
        assert name not in in_row or data.kinds[name].step == step, name
    apart = {*named("--exclude"), data.weights, data.split, *({data.group} - {*data.given})}
    assert not apart & in_row
    if "--columns" in typed:
        assert in_row <= {*named("--columns"), *data.given}
    sizes = [facts[f"n_{part}"] for part in ("train", "validation", "test")]
    assert sum(sizes) <= (data.max_rows or np.inf)
    assert ("weights_sha256" in run.record["data"]) == (data.weights is not None)


def expect_draws(run):
    """Check that draws have a density, which they have too when they are read again."""
    given, data = run.facts.get("given"), run.config.data
    n = ["--given", "t.csv", "-n", 2] if given else ["-n", 100]
    invoke("sample", "run", *n, "-o", "draws.csv")
    done = invoke("evaluate", "run", "--data", "draws.csv", "-o", "again.csv", "--json")
    draws = cells_of("draws.csv")
    log_q, again = numbers_of(draws["log_q"]), numbers_of(cells_of("again.csv")["log_q"])
    assert np.isfinite(log_q).all()
    read = ~np.any([are_marks(cells, data.na_of(name)) for name, cells in draws.items()], axis=0)
    near = 1e-2 if run.config.is_of_flows else 1e-6  # flows are in float32
    np.testing.assert_allclose(again[read], log_q[read], rtol=near, atol=near)
    scores = json.loads(done.stdout)
    assert scores["n_impossible"] == 0
    assert scores["n_unknown"] <= (~read).sum()
    assert given or scores["n_new_levels"] == 0
    for name, (low, high) in data.bounds.items():
        values = numbers_of(draws.get(name, ()))
        assert not (values < (-np.inf if low is None else low)).any(), name
        assert not (values > (np.inf if high is None else high)).any(), name


def expect_distributions(rng, run):
    """Check predictions of a column: shares are at most 1, quantiles ascend."""
    target = rng.choice(run.facts["columns"])
    words = ["predict", "run", "--data", "t.csv", "--target", escaped(target), "-o", "p.csv"]
    is_computed = run.config.data.kinds[target].kind == "computed"
    coverage = ["--coverage", ".8"] if rng.random() < 0.5 and not is_computed else []
    done = invoke(*words, *coverage)
    columns, kind = cells_of("p.csv"), run.config.data.kinds[target].alone
    if kind.kind == "levels":
        shares = [numbers_of(columns[f"{target}_p_{level}"]) for level in kind.levels]
        shares.append(numbers_of(columns.get(f"{target}_missing", len(shares[0]) * "0")))
        assert (np.array(shares) >= 0).all() and (np.sum(shares, axis=0) < 1 + 1e-6).all()
    elif kind.type in ("decimal", "whole") and not kind.notation:
        quantiles = [numbers_of(columns[f"{target}_q{p}"]) for p in ("0.05", "0.5", "0.95")]
        unresolved = np.isnan(quantiles).any(axis=0)
        assert not unresolved.any() or "unresolved" in done.stdout
        assert ((np.diff(quantiles, axis=0) >= 0).all(axis=0) | unresolved).all()
        assert (numbers_of(columns[f"{target}_sd"])[~unresolved] >= 0).all()


def expect_filled(rng, run, case):
    """Check that an imputation fills the gaps of modelled columns, and nothing else."""
    holes = {
        name: [cell if rng.random() < 0.8 else "" for cell in cells]
        for name, cells in case.columns.items()
    }
    write_whole("holes.csv", holes)
    invoke("impute", "run", "--data", "holes.csv", "-o", "filled.csv")
    filled, before = cells_of("filled.csv"), cells_of("holes.csv")
    assert [*filled] == [*before]
    for name, cells in filled.items():
        gaps = np.array(are_marks(before[name], ["", *run.config.data.na_of(name)]))
        np.testing.assert_array_equal(np.array(cells)[~gaps], np.array(before[name])[~gaps])
        assert name not in run.facts["columns"] or all(cells), name


def expect_parts(rng, run, case):
    """Check that rows in several files are scored as those of one."""
    Path("parts").mkdir()
    n = len(case.columns[run.facts["columns"][0]])
    for i, part in enumerate(np.array_split(np.arange(n), 3)):
        some = {name: np.array(cells)[part] for name, cells in case.columns.items()}
        write_whole(f"parts/part-{i}.csv", some)
    invoke("evaluate", "run", "--data", "t.csv", "-o", "whole.csv")
    with workers_in_process():
        invoke("evaluate", "run", "--data", "parts", "-o", "scored")
    of_parts = [cells_of(path)["log_q"] for path in sorted(Path("scored").glob("*.csv"))]
    log_q = numbers_of(cells_of("whole.csv")["log_q"])
    near = 1e-4 if run.config.is_of_flows else 1e-9  # flows are in float32
    np.testing.assert_allclose(numbers_of(np.concatenate(of_parts)), log_q, rtol=near, atol=near)


def expect_the_same_again(rng, run, case):
    """Check that the config of a run trains it again."""
    invoke("fit", "--preset", "run/config.yaml", "--output", "same")
    assert Run.open("same").facts["model_sha256"] == run.facts["model_sha256"]


def expect_conditions(rng, run, case):
    """Check that draws have the cells that they are given, one of a row of the table."""
    kinds = run.config.data.kinds
    names = [name for name in run.facts["columns"] if kinds[name].kind != "computed"]
    given = run.facts.get("given") or ([] if run.config.is_of_flows else [rng.choice(names)])
    row = rng.integers(len(case.columns[run.facts["columns"][0]]))
    some = {name: [case.columns[name][row]] for name in given}
    if given and all(cell for [cell] in some.values()):
        Path("given.csv").write_text(csv_of(some))
        invoke("sample", "run", "--given", "given.csv", "-n", 5, "-o", "conditional.csv")
        assert {len(set(cells_of("conditional.csv")[name])) for name in given} == {1}


def outcome(case, folder):
    """Return the line in which a case was refused, or ``None``."""
    with chdir(folder):
        try:
            return walk(case)
        except RefusedError as refused:
            return str(refused)


FIXED = [  # the first two were found by the search
    case_of(["share"], ["--weights"], 20, 1),
    case_of(["prices", "scaled copy", "nearly a copy"], [], 100, 0),
    case_of(["ids", "constant within", "two levels", "money"], ["--group", "--exclude"], 60, 1),
    case_of(["truth", "days", "zero-inflated"], ["--split", "--categorical"], 60, 1),
    case_of(["whole", "rounded", "one of many"], ["--given", "--test"], 60, 1),
    case_of(["huge", "tiny"], ["--flow"], 60, 1),
]
WIDE = [case_of([*COLUMNS][i::4], ["--test", "--na of one"], 60, i) for i in range(4)]


@pytest.mark.parametrize("case", FIXED, ids=lambda case: ", ".join(case.kinds))
def test_tables_of_a_few_kinds_are_walked_through(tmp_path, case):
    assert outcome(case, tmp_path) is None


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(cases | st.sampled_from(WIDE))
def test_any_table_is_walked_through_or_refused_in_one_line(tmp_path_factory, case):
    outcome(case, tmp_path_factory.mktemp("any"))

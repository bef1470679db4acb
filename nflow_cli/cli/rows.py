"""Rows of a table by a density of cells: ``nflow predict``, ``impute`` and ``drift``."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from nflow_cli.backend.start import Machine
from nflow_cli.cli.evaluate import print_scores
from nflow_cli.cli.options import (
    PROBABILITY,
    TABLE,
    Command,
    Number,
    Output,
    Whole,
    cells_run,
    expect_replaceable,
    json_option,
    run_argument,
    seeds,
    table_option,
    written_option,
)
from nflow_cli.cli.pool_options import expect_parts, judged_parts, pool_options
from nflow_cli.config import schema_options
from nflow_cli.errors import NflowError


@click.command(cls=Command)
@run_argument
@table_option("A table of new rows with the columns of the run.")
@click.option(
    "--fail-above",
    type=Number(0, 1, max_open=True),
    metavar="P",
    help="Exit with status 1 if 1 - p exceeds this, such as .99; p is the p-value of the whole.",
)
@json_option
def drift(run_dir: str, data: str, fail_above: float | None, as_json: bool) -> None:
    """Compare new rows with the held-out rows of a run by cells: what has changed, and how much.

    Prints the columns that moved, each tested by itself; the relations that changed, which are the
    distributions of columns given those before them, where moved columns do not explain it; and
    the change of the mean log-probability of a row, in nats. Shifts are in standard deviations.
    Without a change a comparison finds one with probability 0.05 at most.
    """
    from nflow_cli.data.files.table_files import open_table
    from nflow_cli.tables.answers.drift import judged_drift

    judgement = judged_drift(cells_run(run_dir).trained, open_table(data))
    print_scores(judgement, {"run": run_dir, "data": data}, as_json)
    p = judgement.scores["p_value"]
    if fail_above is not None and 1 - p > fail_above:
        raise NflowError(f"{data}: drift, p = {p:.2g}: 1 - p exceeds --fail-above {fail_above:g}")


@click.command(cls=Command)
@run_argument
@table_option("A table with the columns of the run, and gaps.")
@written_option("the table without gaps")
@click.option(
    "--draws",
    type=Whole(1, 1000),
    metavar="M",
    help="Impute M times by draws: M tables one after another, with first columns `draw` and "
    "`row`. Default: once, by means of numbers and likeliest levels.",
)
@click.option("--seed", type=seeds, default=0, show_default=True, help="Seed of the draws.")
@json_option
def impute(
    run_dir: str, data: str, output: str, draws: int | None, seed: int, as_json: bool
) -> None:
    """Fill the gaps of a table, given the known cells of their rows.

    Writes the rows of --data, with a value in each empty cell of a modelled column: by default the
    mean of numbers, as a value of the column, and the likeliest level; with --draws a random draw
    from their joint distribution, so that the spread of the draws is the uncertainty. Cells are
    assumed to be missing at random given the known cells of their row.
    """
    from nflow_cli.data.files.table_files import open_table
    from nflow_cli.data.files.writing import write_table
    from nflow_cli.tables.answers.impute import answer

    run = cells_run(run_dir)
    expect_replaceable("-o", [output], run, [data])
    names, batches, judgement = answer(run.trained, open_table(data), draws, seed)
    write_table(output, names, batches)
    paths = {"run": run_dir, "data": data, "output": output}
    print_scores(judgement, paths, as_json, err=output == "-")


def _distinct_names(_: click.Context, __: click.Parameter, text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = schema_options.LISTS[schema_options.NAMES](text)
    if len(set(names)) < len(names):
        raise click.BadParameter(f"{text!r}: expected different columns")
    return names


def _probabilities(context: click.Context, option: click.Parameter, text: str) -> list[float]:
    return sorted({PROBABILITY.convert(part, option, context) for part in text.split(",")})


@click.command(cls=Command)
@run_argument
@table_option("A table with the other columns of the run, also of many files.", "FILE|DIR|PATTERN")
@written_option("the rows and their predictions", is_folder=True)
@click.option(
    "--target",
    metavar=schema_options.NAMES,
    callback=_distinct_names,
    help="The column, or several, predicted jointly by draws. Default: the only modelled one.",
)
@click.option(
    "--quantiles",
    metavar="P,…",
    default=".05,.5,.95",
    show_default=True,
    callback=_probabilities,
    help="Probabilities of the quantiles of a column of numbers.",
)
@click.option(
    "--coverage",
    type=PROBABILITY,
    metavar="P",
    help="Add intervals, or sets of levels, that contain this share of fresh rows "
    "(split conformal prediction, calibrated on the test rows of the run).",
)
@click.option(
    "--by", metavar="COLUMN", help="With --coverage: calibrate each level of a column by itself."
)
@click.option(
    "--plot",
    metavar="FILE",
    help="A .png, .svg or .pdf picture: predicted against true values, and the coverage.",
    type=Output(".png", ".svg", ".pdf"),
)
@pool_options("parts of --data", "Predict them")
@json_option
def predict(
    run_dir: str,
    data: str,
    output: str,
    plot: str | None,
    workers: int | None,
    scheduler: str | None,
    as_json: bool,
    **question: Any,
) -> None:
    """Predict columns of a table from the others, by a density of cells.

    Writes the rows of --data with the distribution of the target given all other columns: mean,
    standard deviation and quantiles of numbers, the probability of each level, and that of a
    missing cell. If the table has the target, its log-probability in nats too, and scores are
    printed: its mean, the coverage of the outermost interval, and losses beside those of the
    column's own distribution. --coverage adds an interval or a set of levels with that share of
    fresh rows, if they are like those of the table.
    Of several targets each has these statistics given the columns that are no targets. --data may
    be a table of many files, and -o a folder, as of `nflow evaluate`.
    """
    from nflow_cli.tables.many_files import are_parts

    if question["by"] and question["coverage"] is None:
        raise click.UsageError("--by: expected --coverage too")
    is_of_parts = are_parts(data)
    expect_parts(is_of_parts, scheduler, workers, plot=plot)
    if not is_of_parts:
        TABLE.convert(output, None, None)
    run = cells_run(run_dir)
    if not is_of_parts:
        expect_replaceable("-o", [output], run, [data])
    if plot is not None:
        expect_replaceable("--plot", [plot], run, [data])
    from nflow_cli.data.files.table_files import open_table
    from nflow_cli.tables.answers.predict import answer, judged, note_quadrature, question_of
    from nflow_cli.tables.loaded_tables import write_beside

    trained = run.trained
    begun = time.monotonic()
    wanted = question_of(trained, **question)
    if is_of_parts:
        judge = partial(judged, wanted)
        judgement = judged_parts(run, data, output, question, judge, Machine(), scheduler, workers)
    else:
        table = open_table(data)
        columns, judgement = answer(trained, table, wanted, None if plot is None else Path(plot))
        write_beside(table, Path(output), columns)
    note_quadrature(trained, wanted, time.monotonic() - begun)
    paths = {"run": run_dir, "data": data, "output": output}
    if plot:
        paths["plot"] = plot
    print_scores(judgement, paths, as_json, err=output == "-")

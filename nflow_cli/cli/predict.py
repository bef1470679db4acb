"""``nflow predict``: the distribution of one column of a table given the others."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from nflow_cli.backend.start import Machine
from nflow_cli.cli import completion
from nflow_cli.cli.evaluate import print_scores
from nflow_cli.cli.options import (
    Command,
    cells_run,
    expect_replaceable,
    expect_table_name,
    json_option,
    run_argument,
    table_option,
    written_option,
)
from nflow_cli.cli.parts import expect_parts, judged_parts
from nflow_cli.cli.pool import pool_options
from nflow_cli.config import forms


def _share(_: Any, __: Any, value: float | None) -> float | None:
    if value is not None and not 0 < value < 1:
        raise click.BadParameter(f"{value:g}: expected a number between 0 and 1, such as .9")
    return value


def _names(_: Any, __: Any, text: str | None) -> list[str] | None:
    names = None if text is None else forms.items_of(forms.NAMES, [text])
    if names and len(set(names)) < len(names):
        raise click.BadParameter(f"{text!r}: expected different columns")
    return names


def _probabilities(_: Any, __: Any, text: str) -> list[float]:
    try:
        found = sorted({float(part) for part in text.split(",")})
    except ValueError:
        found = [-1.0]
    if not all(0 < p < 1 for p in found):
        raise click.BadParameter(f"{text!r}: expected numbers between 0 and 1, such as .05,.5,.95")
    return found


@click.command(cls=Command)
@run_argument
@table_option("A table with the other columns of the run, also of many files.", "FILE|DIR|PATTERN")
@written_option("the rows and their predictions", is_folder=True)
@click.option(
    "--target",
    metavar=forms.NAMES,
    callback=_names,
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
    type=float,
    metavar="P",
    callback=_share,
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
    shell_complete=completion.files,
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
    printed: its mean, the coverage of the outermost interval, and the error. --coverage adds an
    interval or a set of levels with that share of fresh rows, if they are like those of the table.
    Of several targets each has these statistics given the columns that are no targets. --data may
    be a table of many files, and -o a folder, as of `nflow evaluate`.
    """
    from nflow_cli.sweeps.parts import are_parts

    if plot is not None and not plot.lower().endswith((".png", ".svg", ".pdf")):
        raise click.BadParameter(f"{plot!r}: expected a name that ends in .png, .svg or .pdf")
    if question["by"] and question["coverage"] is None:
        raise click.UsageError("--by: expected --coverage too")
    many = are_parts(data)
    expect_parts(many, scheduler, workers, plot=plot)
    if not many and output != "-":
        expect_table_name(output)
    run = cells_run(run_dir)
    if not many:
        expect_replaceable("-o", [output], run, [data])
    if plot is not None:
        expect_replaceable("--plot", [plot], run, [data])
    from nflow_cli.data.table_files import open_table
    from nflow_cli.experiments.table.predict import answer, asked, judged
    from nflow_cli.experiments.table.tables import write_beside

    said = {"run": run_dir, "data": data, "output": output}
    wanted = asked(run.trained, **question)
    if many:
        to = data, output, question, partial(judged, wanted)
        print_scores(judged_parts(run, *to, Machine(), scheduler, workers), said, as_json)
        return
    table = open_table(data)
    columns, judgement = answer(run.trained, table, wanted, None if plot is None else Path(plot))
    write_beside(table, Path(output), columns)
    facts = {**said, **({"plot": plot} if plot else {})}
    print_scores(judgement, facts, as_json, err=output == "-")

"""``nflow impute``: fill the gaps of a table."""

import click

from nflow_cli.cli.evaluate import print_scores
from nflow_cli.cli.options import (
    Command,
    cells_run,
    expect_replaceable,
    json_option,
    run_argument,
    seeds,
    table_option,
    written_option,
)


@click.command(cls=Command)
@run_argument
@table_option("A table with the columns of the run, and gaps.")
@written_option("the table without gaps")
@click.option(
    "--draws",
    type=click.IntRange(1, 1000),
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
    from nflow_cli.data.table_files import open_table, write_table
    from nflow_cli.experiments.table.impute import answer

    run = cells_run(run_dir)
    expect_replaceable("-o", [output], run, [data])
    names, batches, judgement = answer(run.trained, open_table(data), draws, seed)
    write_table(output, names, batches)
    said = {"run": run_dir, "data": data, "output": output}
    print_scores(judgement, said, as_json, err=output == "-")

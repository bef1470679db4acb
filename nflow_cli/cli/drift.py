"""``nflow drift``: whether new rows differ from the held-out rows of a run, and where."""

from typing import Any

import click

from nflow_cli.backend.start import Machine
from nflow_cli.cli.evaluate import print_scores
from nflow_cli.cli.options import (
    Command,
    cells_run,
    device_option,
    json_option,
    output_option,
    run_argument,
    table_option,
)


def _share(_: Any, __: Any, value: float | None) -> float | None:
    if value is not None and not 0 <= value < 1:
        raise click.BadParameter(f"{value:g}: expected a probability below 1, such as .99")
    return value


@click.command(cls=Command)
@run_argument
@table_option("A table of new rows with the columns of the run.")
@click.option(
    "--fail-above",
    type=float,
    metavar="P",
    callback=_share,
    help="Exit with status 1 if 1 - p exceeds this, such as .99; p is the p-value of the whole.",
)
@click.option(
    "--fit",
    "again",
    is_flag=True,
    help="Also fit the new table, by the config of the run, and print the KL both ways.",
)
@output_option("With --fit: a new or empty folder for the new run.")
@device_option
@json_option
@click.pass_obj
def drift(
    argv: list[str],
    run_dir: str,
    data: str,
    fail_above: float | None,
    again: bool,
    output: str | None,
    machine: Machine,
    as_json: bool,
) -> None:
    """Compare new rows with the held-out rows of a run by cells: what has changed, and how much.

    Prints the columns that moved, each tested by itself; the relations that changed, which are the
    distributions of columns given those before them, where moved columns do not explain it; and
    the change of the mean log-probability of a row, in nats. Shifts are in standard deviations.
    Without a change a comparison finds one with probability 0.05 at most.
    """
    from nflow_cli.data.table_files import STDIN
    from nflow_cli.errors import NflowError

    if output is not None and not again:
        raise click.UsageError("--output: expected --fit too, whose run is written there")
    if again and data == STDIN:
        raise click.UsageError("--fit: expected --data FILE, which is read twice. Received: -")
    experiment, run = cells_run(run_dir)
    table = experiment.read_data(data)
    trained = experiment.load(run)
    judgement, facts = experiment.judge_drift(trained, table), {"run": run_dir, "data": data}
    if again:
        of_fits, path = experiment.judge_fit_again(trained, data, output, argv, machine)
        judgement = judgement.with_others(of_fits)
        facts["output"] = path
    print_scores(judgement, facts, as_json)
    p = judgement.scores["p_value"]
    if fail_above is not None and 1 - p > fail_above:
        raise NflowError(f"{data}: drift, p = {p:.2g}: 1 - p exceeds --fail-above {fail_above:g}")

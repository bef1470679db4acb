"""``nflow drift``: whether new rows differ from the held-out rows of a run, and where."""

from typing import Any

import click

from nflow_cli.cli.evaluate import print_scores
from nflow_cli.cli.options import Command, cells_run, json_option, run_argument, table_option
from nflow_cli.errors import NflowError


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
@json_option
def drift(run_dir: str, data: str, fail_above: float | None, as_json: bool) -> None:
    """Compare new rows with the held-out rows of a run by cells: what has changed, and how much.

    Prints the columns that moved, each tested by itself; the relations that changed, which are the
    distributions of columns given those before them, where moved columns do not explain it; and
    the change of the mean log-probability of a row, in nats. Shifts are in standard deviations.
    Without a change a comparison finds one with probability 0.05 at most.
    """
    from nflow_cli.data.table_files import open_table
    from nflow_cli.experiments.table.drift import judged_drift

    judgement = judged_drift(cells_run(run_dir).trained, open_table(data))
    print_scores(judgement, {"run": run_dir, "data": data}, as_json)
    p = judgement.scores["p_value"]
    if fail_above is not None and 1 - p > fail_above:
        raise NflowError(f"{data}: drift, p = {p:.2g}: 1 - p exceeds --fail-above {fail_above:g}")

"""``nflow audit``: how good and how private synthetic rows are."""

from typing import TYPE_CHECKING

import click

from nflow_cli.cli.evaluate import print_scores
from nflow_cli.cli.options import FILE, Command, Output, cells_run, expect_replaceable, json_option
from nflow_cli.cli.options import seeds as seed_type
from nflow_cli.config.schema_options import NAME
from nflow_cli.errors import DataError

if TYPE_CHECKING:
    from nflow_cli.tables.answers.audit_answer import Judges


@click.command(cls=Command)
@click.argument("draws", metavar="DRAWS...", nargs=-1, required=True, type=FILE)
@click.option("--real", metavar="FILE", type=FILE, help="The rows that the draws are made from.")
@click.option(
    "--holdout",
    metavar="FILE",
    type=FILE,
    help="Rows of the same source that the draws are not made from. Default: the test rows of "
    "--run.",
)
@click.option(
    "--run",
    "run_dir",
    metavar="RUN_DIR",
    type=FILE,
    help="The run of `nflow fit` by cells that the draws are of, in place of --real.",
)
@click.option(
    "--group",
    metavar=NAME,
    help="Of --real: a column; rows that are equal in it are of one person, and are permuted "
    "together.",
)
@click.option(
    "-o", "--output", metavar="FILE", type=Output(".html"), help="Write the audit as a page."
)
@click.option("--seed", type=seed_type, default=0, show_default=True, help="Seed of the audit.")
@json_option
def audit(
    draws: tuple[str, ...],
    real: str | None,
    holdout: str | None,
    run_dir: str | None,
    group: str | None,
    output: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Judge synthetic rows: how like real rows they are, and what they tell of their training rows.

    DRAWS are tables of draws of any tool, several for errors over them. Each figure is beside that
    of the holdout rows: of likeness the ceiling, of an attack the rate without a leak, with the
    95 % interval of the difference and its p-value. Needs scikit-learn.
    """
    from nflow_cli.tables.answers.audit_answer import answer, audited, read, read_of_run

    if (real is None) == (run_dir is None):
        raise click.UsageError("expected either --real or --run")
    if real is not None and holdout is None:
        raise click.UsageError("--holdout: expected rows that the draws are not made from")
    if group is not None and real is None:
        raise click.UsageError("--group: expected --real")
    judges = _judges()
    run = cells_run(run_dir) if run_dir is not None else None
    if output is not None:
        expect_replaceable("-o", [output], run, [*draws, real, holdout])
    trained = run.trained if run else None
    if trained is not None:
        tables = read_of_run(trained, draws, holdout)
    else:
        tables = read(draws, str(real), str(holdout), group)
    found = audited(tables, judges, seed, trained)
    paths: dict[str, str | None] = {"draws": ", ".join(draws)}
    if output is not None:
        from nflow_cli.tables.answers.audit_page import write_page

        write_page(tables, found, output)
        paths["output"] = output
    data = trained.config.data if trained else None
    print_scores(answer(tables, found, data), paths, as_json)


def _judges() -> "Judges":
    """Boosted trees, if scikit-learn is there."""
    from nflow_cli.tables.answers.audit_answer import Judges

    try:
        from nflow_cli.sklearn import judges
    except ImportError:
        raise DataError("audit: expected scikit-learn: pip install 'nflow_cli[sklearn]'") from None
    return Judges(judges.told_apart, judges.skill)

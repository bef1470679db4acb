"""``nflow compare``: runs side by side, in a table and in pictures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from nflow_cli.cli import completion
from nflow_cli.cli.options import (
    FOLDER,
    Command,
    dpi_option,
    expect_replaceable,
    json_option,
    picture_formats,
)
from nflow_cli.constants import SWEEP
from nflow_cli.errors import NflowError
from nflow_cli.runs.json_text import json_text
from nflow_cli.terminal import output as terminal_output
from nflow_cli.text import printable


@click.command(cls=Command)
@click.argument(
    "runs",
    metavar="RUN...|SWEEP_DIR",
    nargs=-1,
    required=True,
    shell_complete=completion.runs_and_sweeps,
)
@json_option
@click.option(
    "--pictures",
    type=picture_formats,
    default="png",
    show_default=True,
    help="File format of the pictures.",
)
@dpi_option
@click.option(
    "--output",
    metavar="DIR",
    help="Draw pictures there; of a sweep: into its plots/.",
    type=FOLDER,
)
def compare(
    runs: tuple[str, ...],
    as_json: bool,
    pictures: str,
    dpi: int,
    output: str | None,
) -> None:
    """Compare runs, or all runs of a sweep.

    Prints a table, in nats: runs that differ only by their seeds share a line, with median, minimum
    and maximum over the seeds, and the name of the best run (lowest KL or -ELBO, highest
    log-likelihood); of two runs with log Z also the log Bayes factor. Draws the scores against K,
    the training curves, and the densities of targets and best fits.
    """
    from nflow_cli.runs.directory import RunDirectory

    if output is not None:
        expect_replaceable("--output", [output])
    is_sweep = len(runs) == 1 and RunDirectory(Path(runs[0])).has(SWEEP)
    sweep = Path(runs[0]) if is_sweep else None
    present(runs, as_json, output, sweep, {"format": pictures, "dpi": dpi})


def present(
    paths: Sequence[str],
    as_json: bool = False,
    output: str | None = None,
    sweep: Any = None,
    saving: Mapping[str, Any] = MappingProxyType({"format": "png"}),
) -> None:
    """Print the table of runs; draw their pictures, and print the paths on stderr.

    Pictures go to ``output`` or the plots of ``sweep``; ``saving``: arguments of
    ``plotting.save_figure``.
    """
    from nflow_cli.sweeps.compare import (
        bayes_factor,
        differences,
        examples,
        gather,
        scores_table,
        tables_of,
    )
    from nflow_cli.sweeps.plan import overlap

    results, unfinished = gather(paths)
    if not results:
        raise NflowError(f"{paths[0]}: no run has finished")
    if unfinished:
        counts = ", ".join(
            f"{count} {printable(status):.20}" for status, count in unfinished.items()
        )
        terminal_output.tell(f"unfinished runs left out: {counts}")
    tables, factor = tables_of(results), bayes_factor(results)
    if as_json:
        groups = [r for groups in tables for r in _records(groups, differences(groups))]
        more = {} if factor is None else {"log_bayes_factor": factor._asdict()}
        click.echo(json_text({"groups": groups, **more}))
    else:
        click.echo("\n\n".join(terminal_output.table(*scores_table(g), keys=3) for g in tables))
        if factor is not None:
            click.echo(f"\n{factor}")
    for word, (name, reason) in examples(results).items():
        terminal_output.tell(f"[{word}] such as {name}: {reason}")
    shared = (overlap(g.seeds, g.restarts) for groups in tables for g in groups)
    for note in [*dict.fromkeys(filter(None, shared)), *_notes_of_measures(tables)]:
        terminal_output.tell(note)
    if output is None and sweep is None:
        terminal_output.tell("no pictures drawn; --output DIR draws them there")
        return
    for path in _draw(tables, sweep, output, saving):
        click.echo(printable(path), err=True)


def _notes_of_measures(tables: Iterable[Sequence[Any]]) -> list[str]:
    measures: dict[str, set[str]] = {}
    for group in (group for groups in tables for group in groups):
        if measure := group.best.facts.get("measure"):
            measures.setdefault(group.identity[0], set()).add(measure)
    return [
        f"{printable(name)}: log-likelihoods of different `measure` are not comparable: kinds, "
        "steps or atoms of columns differ"
        for name, found in measures.items()
        if len(found) > 1
    ]


def _records(groups: Sequence[Any], differences: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for group, difference in zip(groups, differences):
        subject, flow, k = group.identity
        measures = group.best.report.MEASURES
        yield {
            group.best.config.subject_key: subject,
            "flow": flow,
            "k": k,
            "settings": dict(group.settings),
            "seeds": group.seeds,
            "runs": [str(result.path) for result in group.results],  # the best first
            "scores": {m.key: _score(group, m.key) for m in measures if group.spread(m.key)},
            **({"difference_to_the_best": difference._asdict()} if difference else {}),
            "warnings": {m.key: word for m in measures if (word := group.words(m.key))},
        }


def _score(group: Any, key: str) -> dict[str, float]:
    spread, error = group.spread(key), group.error(key)
    values = {"median": spread.median, "min": spread.low, "max": spread.high}
    return values if error is None else {**values, "standard_error": error}


def _draw(
    tables: Sequence[Any], sweep: Any, output: str | None, saving: Mapping[str, Any]
) -> Iterator[Path]:
    from nflow_cli.cli.compare_pictures import pictures_of
    from nflow_cli.plotting.style import save_figure
    from nflow_cli.runs.directory import PLOTS, RunDirectory

    for name, picture in pictures_of(tables).items():

        def save(file: Any, picture: Any = picture) -> None:
            save_figure(picture, file, **saving)

        if output is None:
            yield RunDirectory(sweep).write(f"{PLOTS}/{name}.{saving['format']}", save)
        else:
            yield RunDirectory.at(output).write(f"{name}.{saving['format']}", save)

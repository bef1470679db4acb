"""``nflow compare``: runs side by side, in a table and in pictures."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:  # which load schemas and NumPy
    from nflow_cli.sweeps.compared_runs import Difference, Group


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
    sweep: Path | None = None,
    saving: Mapping[str, Any] = MappingProxyType({"format": "png"}),
) -> None:
    """Print the table of runs; draw their pictures, and print the paths on stderr.

    Pictures go to ``output`` or the plots of ``sweep``; ``saving``: arguments of
    :func:`~nflow_cli.plotting.style.save_figure`.
    """
    from nflow_cli.sweeps.compared_runs import (
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
    tables = tables_of(results)
    factor = bayes_factor(results)
    if as_json:
        records: list[dict[str, Any]] = []
        for groups in tables:
            records += _records(groups, differences(groups))
        comparison: dict[str, Any] = {"groups": records}
        if factor is not None:
            comparison["log_bayes_factor"] = factor._asdict()
        click.echo(json_text(comparison))
    else:
        texts = [terminal_output.table(*scores_table(groups), keys=3) for groups in tables]
        click.echo("\n\n".join(texts))
        if factor is not None:
            click.echo(f"\n{factor}")
    for word, (name, reason) in examples(results).items():
        terminal_output.tell(f"[{word}] such as {name}: {reason}")
    overlaps = [overlap(group.seeds, group.restarts) for groups in tables for group in groups]
    for note in [*dict.fromkeys(filter(None, overlaps)), *_notes_of_measures(tables)]:
        terminal_output.tell(note)
    if output is None and sweep is None:
        terminal_output.tell("no pictures drawn; --output DIR draws them there")
        return
    for path in _draw(tables, sweep, output, saving):
        click.echo(printable(path), err=True)


def _notes_of_measures(tables: Iterable[Sequence["Group"]]) -> list[str]:
    """Note on each data set whose groups have log-likelihoods of different measures."""
    measures: dict[str, set[str]] = {}
    for group in itertools.chain(*tables):
        measure = group.best.facts.get("measure")
        if measure:
            measures.setdefault(group.identity.subject, set()).add(measure)
    return [
        f"{printable(subject)}: log-likelihoods of different `measure` are not comparable: kinds, "
        "steps or atoms of columns differ"
        for subject, values in measures.items()
        if len(values) > 1
    ]


def _records(
    groups: Sequence["Group"], differences: Sequence["Difference | None"]
) -> Iterator[dict[str, Any]]:
    """Group as JSON has it, with its scores over seeds."""
    for group, difference in zip(groups, differences):
        measures = group.best.report.MEASURES
        record = {
            group.best.config.subject_key: group.identity.subject,
            "flow": group.identity.flow,
            "k": group.identity.k,
            "settings": dict(group.settings),
            "seeds": group.seeds,
            "runs": [str(result.path) for result in group.results],  # the best first
        }
        scores = {measure.key: _score(group, measure.key) for measure in measures}
        record["scores"] = {key: score for key, score in scores.items() if score}
        if difference:
            record["difference_to_the_best"] = difference._asdict()
        labels = {measure.key: group.words(measure.key) for measure in measures}
        record["warnings"] = {key: label for key, label in labels.items() if label}
        yield record


def _score(group: "Group", key: str) -> dict[str, float]:
    """Median, minimum and maximum of a score over seeds, and its error; empty if unknown."""
    spread = group.spread(key)
    if spread is None:
        return {}
    score = {"median": spread.median, "min": spread.low, "max": spread.high}
    error = group.error(key)
    if error is not None:
        score["standard_error"] = error
    return score


def _draw(
    tables: Sequence[Sequence["Group"]],
    sweep: Path | None,
    output: str | None,
    saving: Mapping[str, Any],
) -> Iterator[Path]:
    """Paths of the pictures, each once it is written."""
    from nflow_cli.plotting.style import save_figure
    from nflow_cli.runs.directory import PLOTS, RunDirectory
    from nflow_cli.sweeps.pictures import pictures_of

    for name, picture in pictures_of(tables).items():
        file_name = f"{name}.{saving['format']}"
        save = partial(save_figure, picture, **saving)
        if output is not None:
            yield RunDirectory.at(output).write(file_name, save)
        elif sweep is not None:
            yield RunDirectory(sweep).write(f"{PLOTS}/{file_name}", save)

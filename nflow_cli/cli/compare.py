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
from nflow_cli.evaluation.warnings import words
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
    from nflow_cli.sweeps.compare import bayes_factor, examples, gather, scores_table, tables_of
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
        groups = [r for groups in tables for r in _records(groups)]
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


def _records(groups: Sequence[Any]) -> Iterator[dict[str, Any]]:
    from nflow_cli.sweeps.compare import differences

    for group, difference in zip(groups, differences(groups)):
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
    from nflow_cli import plotting
    from nflow_cli.runs.directory import PLOTS, RunDirectory

    for name, picture in _pictures(tables).items():

        def save(file: Any, picture: Any = picture) -> None:
            plotting.save_figure(picture, file, **saving)

        if output is None:
            yield RunDirectory(sweep).write(f"{PLOTS}/{name}.{saving['format']}", save)
        else:
            yield RunDirectory.at(output).write(f"{name}.{saving['format']}", save)


def _pictures(tables: Sequence[Any]) -> dict[str, Any]:
    from nflow_cli import plotting
    from nflow_cli.sweeps.compare import densities

    pictures: dict[str, Any] = {}
    for groups in tables:
        seeds = max(len(group.seeds) for group in groups)
        for measure in (m for m in groups[0].best.report.MEASURES if m.judges):
            panels = _panels([g for g in groups if g.shows(measure.key)], measure.key)
            if panels:
                name = f"{measure.name} ({measure.unit})"
                pictures[measure.key] = plotting.spread_figure(panels, name, seeds)
    for groups in tables:
        if picture := _courses(groups):
            name = groups[0].best.config.command
            pictures["training" if len(tables) == 1 else f"training-{name}"] = picture
    targets: dict[str, list[Any]] = {}
    fits = (group for groups in tables for group in groups if group.best.has_densities)
    for group in fits:
        axis, log_target, log_q = densities(group.best)
        panels = targets.setdefault(group.identity[0], [])
        if not panels:
            panels.append(plotting.Density("target", axis, log_target))
        title = f"{_series_name(group)}, K = {group.identity[2]}"
        if word := words(group.best.warnings, "free_energy"):
            title += f" [{word}]"
        panels.append(plotting.Density(title, axis, log_q))
    if targets:
        pictures["densities"] = plotting.densities_figure(targets)
    return pictures


def _panels(groups: Sequence[Any], key: str) -> dict[str, list[Any]]:
    from nflow_cli.plotting.compare import Series

    panels: dict[str, dict[str, list[Any]]] = {}
    for group in groups:
        what, _, k = group.identity
        lines = panels.setdefault(what, {})
        point = (k, *group.spread(key), group.words(key))
        lines.setdefault(_series_name(group), []).append(point)
    return {
        title: [Series(name, *map(list, zip(*points))) for name, points in lines.items()]
        for title, lines in panels.items()
    }


def _courses(groups: Sequence[Any]) -> Any:
    from nflow_cli import plotting
    from nflow_cli.sweeps.compare import course, course_name

    panels: dict[str, list[Any]] = {}
    for group in groups:
        what, _, k = group.identity
        for result in group.results:
            if followed := course(result):
                curve = plotting.Curve(f"{_series_name(group)}, K = {k}", *followed)
                panels.setdefault(what, []).append(curve)
    several = any(group.restarts > 1 for group in groups)
    note = "best restart of each interval" if several else ""
    step = f"{groups[0].best.report.CURVES[0]} (logarithmic)"
    name = course_name(result for group in groups for result in group.results)
    return panels and plotting.courses_figure(panels, name, step, note)


def _series_name(group: Any) -> str:
    differing = (f"{key.removeprefix('train.')} = {text}" for key, text in group.settings.items())
    return ", ".join([group.identity[1], *differing])

"""Pictures of compared runs, with Matplotlib."""

from collections.abc import Sequence
from typing import Any

from nflow_cli import plotting
from nflow_cli.evaluation.warnings import words
from nflow_cli.sweeps.compare import Group, course, course_name, densities


def pictures_of(tables: Sequence[Sequence[Group]]) -> dict[str, Any]:
    """Pictures by name: scores against K, training curves, and densities."""
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
    panels: dict[str, dict[str, list[Any]]] = {}
    for group in groups:
        what, _, k = group.identity
        lines = panels.setdefault(what, {})
        point = (k, *group.spread(key), group.words(key))
        lines.setdefault(_series_name(group), []).append(point)
    return {
        title: [plotting.Series(name, *map(list, zip(*points))) for name, points in lines.items()]
        for title, lines in panels.items()
    }


def _courses(groups: Sequence[Group]) -> Any:
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


def _series_name(group: Group) -> str:
    differing = (f"{key.removeprefix('train.')} = {text}" for key, text in group.settings.items())
    return ", ".join([group.identity[1], *differing])

"""Pictures of compared runs, with Matplotlib."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from nflow_cli import plotting
from nflow_cli.evaluation.warnings import words
from nflow_cli.sweeps.compare import Group, course, course_name, densities

Labelled = Sequence[tuple[Any, str]]  # groups with their labels


def pictures_of(tables: Sequence[Sequence[Group]]) -> dict[str, Any]:
    """Pictures by name: scores against K, training curves, and densities."""
    pictures: dict[str, Any] = {}
    labelled = [_labelled(groups) for groups in tables]
    for groups in labelled:
        seeds = max(len(group.seeds) for group, _ in groups)
        of_flows = [pair for pair in groups if pair[0].best.config.is_of_flows]  # others have no K
        for measure in (m for m in groups[0][0].best.report.MEASURES if m.judges):
            panels = _panels([pair for pair in of_flows if pair[0].shows(measure.key)], measure.key)
            if panels:
                name = f"{measure.name} ({measure.unit})"
                pictures[measure.key] = plotting.spread_figure(panels, name, seeds)
    for groups in labelled:
        if picture := _courses(groups):
            name = groups[0][0].best.config.command
            pictures["training" if len(tables) == 1 else f"training-{name}"] = picture
    targets: dict[str, list[Any]] = {}
    fits = (pair for groups in labelled for pair in groups if pair[0].best.has_densities)
    for group, label in fits:
        axis, log_target, log_q = densities(group.best)
        panels = targets.setdefault(group.identity[0], [])
        if not panels:
            panels.append(plotting.Density("target", axis, log_target))
        title = _with_k(group, label)
        if word := words(group.best.warnings, "free_energy"):
            title += f" [{word}]"
        panels.append(plotting.Density(title, axis, log_q))
    if targets:
        pictures["densities"] = plotting.densities_figure(targets)
    return pictures


def _labelled(groups: Sequence[Group]) -> Labelled:
    """Groups with their flows, and settings that tell some of one flow and K apart: a setting that
    goes with K splits no line.
    """
    alike: dict[Any, list[Any]] = defaultdict(list)
    for group in groups:
        alike[group.identity].append(group.settings.items())
    apart = {key for one, *others in alike.values() for some in others for key, _ in some ^ one}
    return [
        (
            group,
            ", ".join(
                [group.identity.flow]
                + [
                    f"{k.removeprefix('train.')} = {v}"
                    for k, v in group.settings.items()
                    if k in apart
                ]
            ),
        )
        for group in groups
    ]


def _with_k(group: Group, label: str) -> str:
    return f"{label}, K = {group.identity.k}" if group.best.config.is_of_flows else label


def _panels(groups: Labelled, key: str) -> dict[str, list[Any]]:
    panels: dict[str, dict[str, list[Any]]] = {}
    for group, label in groups:
        what, _, k = group.identity
        lines = panels.setdefault(what, {})
        point = (k, group.values(key), group.words(key))
        lines.setdefault(label, []).append(point)
    return {
        title: [plotting.Series(name, *map(list, zip(*points))) for name, points in lines.items()]
        for title, lines in panels.items()
    }


def _courses(groups: Labelled) -> Any:
    panels: dict[str, list[Any]] = {}
    for group, label in groups:
        for result in group.results:
            if followed := course(result):
                curve = plotting.Curve(_with_k(group, label), *followed)
                panels.setdefault(group.identity.subject, []).append(curve)
    several = any(group.restarts > 1 for group, _ in groups)
    note = "best restart of each interval" if several else ""
    step = f"{groups[0][0].best.report.CURVES[0]} (logarithmic)"
    name = course_name(result for group, _ in groups for result in group.results)
    return panels and plotting.courses_figure(panels, name, step, note)

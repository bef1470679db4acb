"""Pictures of compared runs, with Matplotlib."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from nflow_cli.evaluation.warnings import words
from nflow_cli.plotting.style import Figure
from nflow_cli.sweeps.compared_runs import Group, Identity, Settings, course, course_name, densities
from nflow_cli.sweeps.comparison_figures import (
    Curve,
    Density,
    Series,
    courses_figure,
    densities_figure,
    spread_figure,
)

Labelled = Sequence[tuple[Group, str]]  # groups with their labels


def pictures_of(tables: Sequence[Sequence[Group]]) -> dict[str, Figure]:
    """Pictures by name: scores against K, training curves, and densities."""
    labelled_tables = [_labelled(groups) for groups in tables]
    pictures = {}
    for groups in labelled_tables:
        pictures |= _score_pictures(groups)
    for groups in labelled_tables:
        picture = _courses(groups)
        if picture is not None:
            command = groups[0][0].best.config.command
            name = "training" if len(tables) == 1 else f"training-{command}"
            pictures[name] = picture
    targets = _densities([pair for groups in labelled_tables for pair in groups])
    if targets:
        pictures["densities"] = densities_figure(targets)
    return pictures


def _score_pictures(groups: Labelled) -> dict[str, Figure]:
    """Pictures of the scores by which runs are judged, against K."""
    seeds = max(len(group.seeds) for group, _ in groups)
    of_flows = [pair for pair in groups if pair[0].best.config.is_of_flows]  # others have no K
    pictures = {}
    for measure in groups[0][0].best.report.MEASURES:
        if not measure.judges:
            continue
        panels = _panels([pair for pair in of_flows if pair[0].shows(measure.key)], measure.key)
        if panels:
            name = f"{measure.name} ({measure.unit})"
            pictures[measure.key] = spread_figure(panels, name, seeds)
    return pictures


def _densities(groups: Labelled) -> dict[str, list[Density]]:
    """Panels of each target: its density, and those of the best fits that keep theirs."""
    targets: dict[str, list[Density]] = {}
    for group, label in groups:
        if not group.best.has_densities:
            continue
        axis, log_target, log_q = densities(group.best)
        panels = targets.setdefault(group.identity.subject, [])
        if not panels:
            panels.append(Density("target", axis, log_target))
        title = _with_k(group, label)
        labels = words(group.best.warnings, "free_energy")
        if labels:
            title += f" [{labels}]"
        panels.append(Density(title, axis, log_q))
    return targets


def _labelled(groups: Sequence[Group]) -> Labelled:
    """Groups with their flows, and settings that tell some of one flow and K apart: a setting that
    goes with K splits no line.
    """
    settings_by_identity: dict[Identity, list[Settings]] = defaultdict(list)
    for group in groups:
        settings_by_identity[group.identity].append(frozenset(group.settings.items()))
    differing = set()
    for settings in settings_by_identity.values():
        for items in settings[1:]:
            differing |= {key for key, _ in items ^ settings[0]}
    return [(group, _label(group, differing)) for group in groups]


def _label(group: Group, keys: Collection[str]) -> str:
    """Flow of a group, and its settings of some keys."""
    texts = [
        f"{key.removeprefix('train.')} = {value}"
        for key, value in group.settings.items()
        if key in keys
    ]
    return ", ".join([group.identity.flow, *texts])


def _with_k(group: Group, label: str) -> str:
    return f"{label}, K = {group.identity.k}" if group.best.config.is_of_flows else label


def _panels(groups: Labelled, key: str) -> dict[str, list[Series]]:
    """Series of a score over K, by target and label."""
    panels: dict[str, dict[str, list[Group]]] = {}
    for group, label in groups:
        lines = panels.setdefault(group.identity.subject, {})
        lines.setdefault(label, []).append(group)
    return {
        title: [_series(label, line, key) for label, line in lines.items()]
        for title, lines in panels.items()
    }


def _series(label: str, groups: Sequence[Group], key: str) -> Series:
    return Series(
        label,
        [group.identity.k for group in groups],
        [group.values(key) for group in groups],
        [group.words(key) for group in groups],
    )


def _courses(groups: Labelled) -> Figure | None:
    """Picture of the training curves; ``None`` if no run has recorded one."""
    panels: dict[str, list[Curve]] = {}
    for group, label in groups:
        for result in group.results:
            curve = course(result)
            if curve is not None:
                panels.setdefault(group.identity.subject, []).append(
                    Curve(_with_k(group, label), *curve)
                )
    if not panels:
        return None
    has_restarts = any(group.restarts > 1 for group, _ in groups)
    note = "best restart of each interval" if has_restarts else ""
    step = f"{groups[0][0].best.report.CURVES[0]} (logarithmic)"
    name = course_name(result for group, _ in groups for result in group.results)
    return courses_figure(panels, name, step, note)

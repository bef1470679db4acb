"""Score table of a comparison: groups of runs with their spread."""

from collections.abc import Sequence

from nflow_cli.experiments.rows import with_error
from nflow_cli.experiments.summary import Measure
from nflow_cli.sweeps.compare import Group
from nflow_cli.sweeps.paired import differences

Columns = tuple[list[str], list[list[str]]]  # their names, and a row of texts for each group


def scores_table(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Header and a row for each group of one experiment.

    Target or data, flow, K, number of seeds; scores; paired differences; differing settings; speed;
    the best run.
    """
    best = groups[0].best
    known = [m for m in best.report.MEASURES if any(g.shows(m.key) for g in groups)]
    header = [best.config.subject_key, "flow", "K", "seeds"]
    rows = [[*map(str, g.identity), str(len(g.seeds))] for g in groups]
    parts = [_cells(groups, m) for m in known if m.has_spread]
    parts += [_differences(groups), _settings(groups)]
    parts += [_cells(groups, m) for m in known if not m.has_spread]
    for names, cells in parts:
        header += names
        rows = [[*row, *more] for row, more in zip(rows, cells)]
    header.append("best run")
    return header, [[*row, g.best.path.resolve().name] for row, g in zip(rows, groups)]


def _settings(groups: Sequence[Group]) -> Columns:
    differing = sorted({key for group in groups for key in group.settings})
    settings = [group.best.settings() for group in groups]
    return differing, [[some.get(key, "") for key in differing] for some in settings]


def _differences(groups: Sequence[Group]) -> Columns:
    found = differences(groups)
    if not any(found):
        return [], [[] for _ in groups]
    texts = (f"{d.value:.4f} ± {d.standard_error:.4f}" if d else "" for d in found)
    return ["to the best, paired"], [[text] for text in texts]


def _cells(groups: Sequence[Group], measure: Measure) -> Columns:
    several = measure.has_spread and any(len(group.seeds) > 1 for group in groups)
    rows = []
    for group in groups:
        spread = group.spread(measure.key) if group.shows(measure.key) else None
        error = group.error(measure.key)
        if spread is None:
            rows.append(["", ""])
            continue
        median, low, high = (f"{value:,.{measure.decimals}f}" for value in spread)
        text = median if error is None else with_error(spread[0], error, measure.decimals)
        word = group.words(measure.key)
        rows.append([f"{text} [{word}]" if word else text, f"{low} – {high}"])
    names = [f"{measure.name} median", f"{measure.name} min – max"] if several else [measure.name]
    return names, [row[: len(names)] for row in rows]

"""The table of a comparison: the scores of each group of runs, and their spread. No Keras here."""

from collections.abc import Sequence

from nflow_cli.experiments.experiment import Measure
from nflow_cli.sweeps.compare import Group


def scores_table(groups: Sequence[Group], exact: bool = False) -> tuple[list[str], list[list[str]]]:
    """Return the header and a row for each of the groups of one experiment.

    The first three columns are what is trained on, the flow and K; then come the settings that
    differ, the number of seeds, the scores, and the name of the best run. ``exact`` scores have all
    their digits, and columns by the keys of a summary.
    """
    experiment = groups[0].best.experiment
    known = [m for m in experiment.measures if any(g.shows(m.key) for g in groups)]
    differing = sorted({key for group in groups for key in group.settings})
    header = [experiment.config.subject_key, "flow", "K", *differing, "seeds"]
    rows = []
    for g in groups:
        settings = g.best.settings()
        values = (settings.get(key, "") for key in differing)
        rows.append([*map(str, g.identity), *values, str(len(g.seeds))])
    for measure in known:
        names, cells = _cells(groups, measure, exact)
        header += names
        rows = [[*row, *more_cells] for row, more_cells in zip(rows, cells)]
    header.append("best run")
    return header, [[*row, g.best.run.path.resolve().name] for row, g in zip(rows, groups)]


def _cells(
    groups: Sequence[Group], measure: Measure, exact: bool
) -> tuple[list[str], list[list[str]]]:
    """Return the columns of a measure: their names, and a row of texts for each group."""
    several = measure.has_spread and any(len(group.seeds) > 1 for group in groups)
    rows = []
    for group in groups:
        spread = group.spread(measure.key) if group.shows(measure.key) else None
        if spread is None:
            rows.append([""] * 4)
        elif exact:
            rows.append([*map(repr, spread), group.words(measure.key)])
        else:
            median, low, high = (f"{value:,.{measure.decimals}f}" for value in spread)
            word = group.words(measure.key)
            rows.append([f"{median} [{word}]" if word else median, f"{low} – {high}"])
    if exact:
        columns = [f"{measure.key}_{name}" for name in ("median", "min", "max", "caveats")]
        some = any(row[3] for row in rows)
        return columns[: 3 + some], [row[: 3 + some] for row in rows]
    names = [f"{measure.name} median", f"{measure.name} min – max"] if several else [measure.name]
    return names, [row[: len(names)] for row in rows]

"""Pictures of an audit of synthetic rows."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.constants import DPI
from nflow_cli.plotting.style import ORANGE, SKY, add_title, drawing
from nflow_cli.tables.pictures.cells_dependence import dependence_figures
from nflow_cli.tables.pictures.cells_marginals import marginals_figure
from nflow_cli.tables.scores.audit.leaks import Rate

WIDTH = 7.5  # inches
HOLDOUT = "holdout rows"
LINE = 0.42  # inches, of an attack


@drawing()
def likeness_figures(
    kinds: Mapping[str, ColumnKind], rows: np.ndarray, draws: np.ndarray, subject: str
) -> dict[str, Figure]:
    """Pictures `marginals`, `dependence` and `pairs` of rows ``(n, C)`` and draws ``(m, C)``."""
    return {
        "marginals": marginals_figure(kinds, rows, draws, subject, HOLDOUT),
        **dependence_figures(kinds, rows, draws, subject, HOLDOUT),
    }


@drawing()
def leaks_figure(rates: Mapping[str, Rate], subject: str) -> Figure:
    """Draw rates on training and holdout rows, and their differences with 95 % intervals."""
    figure = Figure((WIDTH, 1.4 + LINE * len(rates)), DPI, layout="constrained")
    of_rates, of_differences = figure.subplots(1, 2, sharey=True)
    lines = np.arange(len(rates))
    training = np.array([rate.training for rate in rates.values()])
    holdout = np.array([rate.holdout for rate in rates.values()])
    of_rates.barh(lines - 0.2, 100 * training, 0.36, color=ORANGE, label="training rows")
    of_rates.barh(lines + 0.2, 100 * holdout, 0.36, color=SKY, label=HOLDOUT)
    of_rates.set_yticks(lines, [name.replace("_", " ") for name in rates])
    of_rates.invert_yaxis()
    of_rates.set_xlabel("rate, %")
    difference = np.array([rate.difference for rate in rates.values()])
    half = np.array([rate.high - rate.difference for rate in rates.values()])
    of_differences.errorbar(
        100 * difference, lines, xerr=100 * half, fmt="o", color="black", ms=4, capsize=3
    )
    of_differences.axvline(0, color="grey", lw=0.8)
    of_differences.set_xlabel("difference, points, with 95 % interval")
    figure.legend(*of_rates.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    add_title(figure, subject, "attacks on training rows, beside holdout rows")
    return figure

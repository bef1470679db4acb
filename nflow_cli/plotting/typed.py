"""Pictures of a fit to a table with given columns, categories or whole numbers."""

from matplotlib.figure import Figure

from nflow_cli.config.roles import Roles
from nflow_cli.plotting.calibration import calibration_figure
from nflow_cli.plotting.columns import corner_figure, marginals_figure, normality_figure
from nflow_cli.plotting.conditions import conditions_figure
from nflow_cli.plotting.style import Arrays, Summary, drawing, fix_layout
from nflow_cli.plotting.table import training_figure


def typed_figures(
    evaluation: Arrays, metrics: Arrays, summary: Summary, roles: Roles
) -> dict[str, Figure]:
    """Return the pictures of such a fit.

    They are those of :func:`~nflow_cli.plotting.columns.table_figures`, whose draws are at what is
    given with the rows, `calibration`, and of a conditional density `conditions`.
    """
    drawers = {"corner": corner_figure} if roles.dim > 1 else {}
    drawers |= {"marginals": marginals_figure, "normality": normality_figure}
    with drawing():
        figures = {name: draw(evaluation, summary) for name, draw in drawers.items()}
        figures["training"] = training_figure(metrics, summary)
        for figure in figures.values():
            fix_layout(figure)
    figures["calibration"] = calibration_figure(evaluation, summary, roles)
    if len(evaluation.get("condition_rows", ())):  # none where no rows are kept
        figures["conditions"] = conditions_figure(evaluation, summary, roles)
    return figures

"""Pictures of a fit to a whole table, whose columns are of any kind."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.evaluation.pit import Pit
from nflow_cli.plotting.cells_dependence import dependence_figures
from nflow_cli.plotting.cells_marginals import marginals_figure
from nflow_cli.plotting.cells_scores import pit_figure, rows_figure
from nflow_cli.plotting.style import Arrays, drawing, fix_layout


def whole_table_figures(
    kinds: Mapping[str, ColumnKind],
    evaluation: Arrays,
    judged: Pit,
    subject: str,
    what: str = "test rows",
) -> dict[str, Figure]:
    """Return the pictures `marginals`, `dependence`, `pairs`, `pit` and `rows` of a fit.

    `dependence` and `pairs` are left out of a table of one column.

    Args:
        kinds: Of the C columns, in their order, those of levels with all that training rows have.
        evaluation: ``rows`` ``(n, C)`` and ``draws`` ``(m, C)``, each cell the number of a level,
            -1 for a new one, or a value (of a date the days since 1970, of a time the seconds),
            NaN where missing. ``pit`` ``(n, D)`` of the modelled columns, and ``weights`` ``(n,)``
            if the rows have some, which count for the PIT alone: elsewhere rows are as they are.
            ``rows_log_q`` ``(n,)`` and ``draws_log_q`` ``(m,)`` in nats.
        judged: The PIT as scores, of the D modelled columns.
        subject: What was fitted, and by what, for the title.
        what: What the rows are.
    """
    rows, draws = evaluation["rows"], evaluation["draws"]
    modelled = [i for i, name in enumerate(kinds) if name in judged.columns]
    own = {name: kinds[name] for name in kinds if name in judged.columns}
    with drawing():
        figures = {
            "marginals": marginals_figure(
                own, rows[:, modelled], draws[:, modelled], subject, what
            ),
            **dependence_figures(kinds, rows, draws, subject, what),
            "pit": pit_figure(evaluation["pit"], judged, subject, evaluation.get("weights")),
            "rows": rows_figure(evaluation["rows_log_q"], evaluation["draws_log_q"], subject, what),
        }
        for figure in figures.values():
            fix_layout(figure)
    return figures

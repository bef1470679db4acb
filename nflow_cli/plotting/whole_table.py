"""Pictures of a fit to a whole table, whose columns are of any kind."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.evaluation.pit import Pit
from nflow_cli.plotting.cells_dependence import dependence_figures
from nflow_cli.plotting.cells_marginals import marginals_figure
from nflow_cli.plotting.cells_scores import pit_figure, rows_figure
from nflow_cli.plotting.style import Arrays, drawing


def whole_table_figures(
    kinds: Mapping[str, ColumnKind],
    evaluation: Arrays,
    judged: Pit,
    subject: str,
    what: str = "test rows",
    n_given: int = 0,
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
        judged: The PIT as scores, of the D modelled columns or of their components.
        subject: What was fitted, and by what, for the title.
        what: What the rows are.
        n_given: The columns before are given, not modelled.
    """
    rows, draws = evaluation["rows"], evaluation["draws"]
    own = dict(list(kinds.items())[n_given:])
    with drawing():
        return {
            "marginals": marginals_figure(
                own, rows[:, n_given:], draws[:, n_given:], subject, what
            ),
            **dependence_figures(kinds, rows, draws, subject, what),
            "pit": pit_figure(evaluation["pit"], judged, subject, evaluation.get("weights")),
            "rows": rows_figure(evaluation["rows_log_q"], evaluation["draws_log_q"], subject, what),
        }

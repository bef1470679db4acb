"""Pictures of a fit to a whole table."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.evaluation.pit import Pit
from nflow_cli.plotting.cells_dependence import dependence_figures
from nflow_cli.plotting.cells_marginals import marginals_figure
from nflow_cli.plotting.cells_scores import pit_figure
from nflow_cli.plotting.style import Arrays, drawing


def whole_table_figures(
    kinds: Mapping[str, ColumnKind],
    evaluation: Arrays,
    judged: Pit,
    subject: str,
    n_given: int = 0,
) -> dict[str, Figure]:
    """Pictures `marginals`, `dependence`, `pairs` and `pit` of a fit.

    A table of one column has no `dependence` and `pairs`.

    Args:
        kinds: Of the C columns in order, with all levels of training rows.
        evaluation: ``rows`` ``(n, C)`` and ``draws`` ``(m, C)``, given columns first; a cell is the
            index of a level, -1 for a new one, or a value (dates in days, times in seconds since
            1970), NaN if missing. ``pit`` ``(n, D)`` and its optional ``weights`` ``(n,)``.
        judged: PIT scores of the D modelled columns or their components.
        subject: Data and model, for the title.
        n_given: Number of given columns.
    """
    rows, draws = evaluation["rows"], evaluation["draws"]
    own = dict(list(kinds.items())[n_given:])
    with drawing():
        return {
            "marginals": marginals_figure(own, rows[:, n_given:], draws[:, n_given:], subject),
            **dependence_figures(kinds, rows, draws, subject),
            "pit": pit_figure(evaluation["pit"], judged, subject, evaluation.get("weights")),
        }

"""Pictures of a fit to a whole table."""

from collections.abc import Mapping
from typing import Any

from nflow_cli import plotting
from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.kinds_schema import row_names
from nflow_cli.evaluation.pit import pit
from nflow_cli.plotting.table import training_figure
from nflow_cli.text import printable


def figures(
    config: CellsConfig,
    evaluation: Mapping[str, Any],
    metrics: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    """Pictures of a density of cells by name."""
    kinds = config.data.kinds or {}
    names = [name for group in row_names(kinds, config.data.given) for name in group]
    subject = f"{printable(config.subject)}, {config.model_text}"
    shown = evaluation["pit"]
    weights = evaluation.get("test_weights")
    judged = pit(
        shown, list(summary["pit"]["columns"]), None if weights is None else weights[: len(shown)]
    )
    pictures = plotting.whole_table_figures(
        {name: kinds[name].alone for name in names},
        evaluation,
        judged,
        subject,
        n_given=len(config.data.given),
    )
    return {**pictures, "training": training_figure(metrics, summary)}

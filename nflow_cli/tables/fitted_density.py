"""Summary of a trained density of a table's rows."""

from typing import Any

from nflow_cli.config.table import CellsConfig, FitConfig
from nflow_cli.data.kinds.dataset import Dataset
from nflow_cli.experiments.summary import Fitted
from nflow_cli.tables.loaded_tables import TableModel
from nflow_cli.tables.row_training import Training
from nflow_cli.tables.table_data import facts_of
from nflow_cli.tables.table_scoring import RowDensity, judged


def fitted_density(
    model: TableModel,
    config: CellsConfig | FitConfig,
    density: RowDensity,
    data: Dataset,
    training: Training,
    facts: dict[str, Any],
) -> Fitted:
    """Scores and arrays of a trained density, with the figures of its training."""
    scores, arrays = judged(model, config, density, data)
    summary = {
        **scores,
        **facts_of(data),
        "steps": training.steps,
        "best_update": training.best_update,
        **training.speed._asdict(),
        **facts,
    }
    return Fitted(config, summary, arrays)

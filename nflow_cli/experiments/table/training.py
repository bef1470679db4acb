"""Training of a density of a table's rows, by maximum likelihood."""

from nflow_cli.config.table import CellsConfig, FitConfig
from nflow_cli.data.dataset import Dataset
from nflow_cli.experiments.summary import Fitted
from nflow_cli.experiments.table import model_of
from nflow_cli.experiments.table.data import facts_of
from nflow_cli.experiments.table.scoring import judged
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.training.budget import Cost


def train(config: CellsConfig | FitConfig, directory: RunDirectory, data: Dataset) -> Fitted:
    """Train or resume in ``directory``, score and save."""
    train_model = model_of(config, "_training").train
    config, density, training, facts = train_model(config, directory, data)
    scores, arrays = judged(config, density, data)
    summary = {
        **scores,
        **facts_of(data),
        "steps": training.steps,
        "best_update": training.best_update,
        **training.speed._asdict(),
        **facts,
    }
    return Fitted(config, summary, arrays)


def trial(config: CellsConfig | FitConfig, data: Dataset) -> Cost:
    """Time the building, the updates and the scores of a model."""
    return model_of(config, "_trial").trial(config, data)

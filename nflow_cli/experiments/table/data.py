"""Table that a density is fitted to."""

from typing import Any

from nflow_cli.config import presets
from nflow_cli.config.table import CellsConfig, FitConfig, Tails
from nflow_cli.data.dataset import Dataset, load_dataset
from nflow_cli.data.table_files import open_table
from nflow_cli.data.tables import TableFile
from nflow_cli.errors import RunDirectoryError
from nflow_cli.experiments.recorded_data import found_again, with_tests
from nflow_cli.experiments.run import Run
from nflow_cli.runs.directory import CONFIG


def tails_of(config: CellsConfig | FitConfig) -> Tails | None:
    """Transform of tails before flows; ``None`` without flows."""
    return config.units.tails if isinstance(config, FitConfig) else None


def load(config: CellsConfig | FitConfig) -> Dataset:
    """Rows of a config."""
    return load_dataset(config.data, flows=tails_of(config))


def again(run: Run) -> Dataset:
    """Rows of a run, unchanged."""
    expect_settled(run)
    config = run.config
    settings, tails = with_tests(run, config.data), tails_of(config)
    return found_again(
        run, lambda name: load_dataset(settings.model_copy(update={"name": name}), flows=tails)
    )


def expect_settled(run: Run) -> None:
    """Refuse a run whose config lacks kinds or sizes."""
    config = run.config
    if not config.is_settled:
        raise RunDirectoryError(
            f"{run.path / CONFIG}: damaged: expected data.kinds, all sizes and train.steps"
        )


def read(name: str) -> TableFile:
    """Table by which a density is scored."""
    return open_table(name)


def settled(config: CellsConfig | FitConfig, data: Dataset) -> Any:
    """Config with column kinds, sizes and updates resolved."""
    config = config.settled(data.kinds, len(data.train))
    presets.expect_readable(config, data.name)
    return presets.validate(config.model_dump(), data.name)


def expect_fits(config: CellsConfig | FitConfig, data: Dataset) -> None:
    """Accept any number of rows: batches are drawn with replacement."""

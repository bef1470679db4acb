"""Base of both fits to a table: densities of cells, and flows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from nflow_cli.config import presets
from nflow_cli.config.forms import escaped
from nflow_cli.config.schema import CellsConfig, FitConfig
from nflow_cli.config.table_schema import Tails
from nflow_cli.errors import RunDirectoryError
from nflow_cli.experiments.experiment import Course, Experiment, Identity, checksum_of_data
from nflow_cli.experiments.rows import Summary
from nflow_cli.runs.array_shapes import ROW_WEIGHTS, ROWS, Shapes
from nflow_cli.runs.directory import CONFIG, RunDirectory


class OfTable(Experiment):
    """Fit to a table, by ``nflow fit``."""

    config: CellsConfig | FitConfig
    column = "update"
    formats: ClassVar = (".csv", ".parquet", ".npy")
    course = Course("validation_loss", "log-likelihood (nats a validation row)", -1)
    columns: ClassVar = ("update", "loss", "validation_loss")
    samples: ClassVar = None

    @property
    def shapes_of_rows(self) -> Shapes:
        """Shapes of the arrays by test row, if the run keeps them."""
        if not self.config.evaluate.keep_rows:
            return {}
        return {**ROWS, **(ROW_WEIGHTS if self.config.data.weights else {})}

    @property
    def given_example(self) -> str:
        kinds = self.config.data.kinds or {}
        values = {
            name: (kinds[name].levels or ["0"])[0] if name in kinds else "0"
            for name in self.config.data.given
        }
        return ",".join(escaped(f"{name}={value}") for name, value in values.items())

    @property
    def tails(self) -> Tails | None:
        """Transform of tails before flows; ``None`` without flows."""
        return None

    def data(self, run: RunDirectory | None = None) -> Any:
        from nflow_cli.data.dataset import load_dataset
        from nflow_cli.experiments.data import found_again, with_tests

        settings, tails = self.config.data, self.tails
        if run is None:
            return load_dataset(settings, flows=tails)
        self.expect_settled(run)
        settings = with_tests(run, settings)
        return found_again(
            run, lambda name: load_dataset(settings.model_copy(update={"name": name}), flows=tails)
        )

    def expect_settled(self, run: RunDirectory) -> None:
        """Refuse a run whose config lacks kinds or sizes."""
        if not self.config.is_settled:
            raise RunDirectoryError(
                f"{run.path / CONFIG}: damaged: expected data.kinds, all sizes and train.steps"
            )

    def settled(self, data: Any) -> Any:
        """Config with column kinds, sizes and updates resolved."""
        config = self.config.settled(data.kinds, len(data.train))
        presets.expect_readable(config, data.name)
        return presets.validate(config.model_dump(), data.name)

    def expect_fits(self, data: Any) -> None:
        """Accept any number of rows: batches are drawn with replacement."""

    def notes_of_data(self, data: Any) -> Sequence[str]:
        return data.notes

    def read_data(self, name: str) -> Any:
        from nflow_cli.data.table_files import open_table

        return open_table(name)

    def write_samples(
        self, trained: Any, n: int, path: Path, seed: int, given: str | None = None
    ) -> list[Path]:
        """Write ``n`` rows in the table's columns, with their log-density in nats."""
        from nflow_cli.experiments.table.scoring import write_draws

        write_draws(trained, n, path, seed, given)
        return [path]

    def identity(self, summary: Summary) -> Identity:
        return self.identity_of(summary["data"]["name"])

    def settings(self, summary: Summary) -> dict[str, str]:
        return checksum_of_data(summary)

"""What the two fits to a table share: by cells, and by flows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from nflow_cli.config import presets
from nflow_cli.config.forms import escaped
from nflow_cli.config.schema import CellsConfig, FitConfig
from nflow_cli.config.table_schema import Tails
from nflow_cli.errors import RunDirectoryError
from nflow_cli.experiments.experiment import Course, Experiment, Identity
from nflow_cli.experiments.rows import Summary
from nflow_cli.runs.directory import CONFIG, RunDirectory


class OfTable(Experiment):
    """A fit to a table, by ``nflow fit``."""

    config: CellsConfig | FitConfig
    name = "table"
    column = "update"
    formats: ClassVar = (".csv", ".parquet", ".npy")
    course = Course("validation_loss", "log-likelihood (nats a validation row)", -1)
    columns: ClassVar = ("update", "loss", "validation_loss")
    samples: ClassVar = None
    scores_rows = True

    @property
    def length(self) -> int:
        """How many updates the training makes; 0 before that is known."""
        return self.config.train.steps or 0

    @property
    def keeps_rows(self) -> bool:
        """Whether a run keeps some test rows for its pictures."""
        return self.config.evaluate.keep_rows

    @property
    def given_example(self) -> str:
        """Values of given columns that samples may be drawn at, as text; "" where none are."""
        kinds = self.config.data.kinds or {}
        values = {
            name: (kinds[name].levels or ["0"])[0] if name in kinds else "0"
            for name in self.config.data.given
        }
        return ",".join(escaped(f"{name}={value}") for name, value in values.items())

    @property
    def tails(self) -> Tails | None:
        """How tails are transformed before flows; ``None`` where there are none."""
        return None

    def data(self, run: RunDirectory | None = None) -> Any:
        """Load the rows, or those that a run was fitted to."""
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
        """See that the config says all that a run needs.

        Raises:
            RunDirectoryError: It does not.
        """
        if not self.config.is_settled:
            raise RunDirectoryError(
                f"{run.path / CONFIG}: damaged: expected data.kinds, all sizes and train.steps"
            )

    def settled(self, data: Any) -> Any:
        """Return the config with the kinds of columns, sizes and updates written out."""
        config = self.config.settled(data.kinds, len(data.train))
        presets.expect_readable(config, data.name)
        return presets.validate(config.model_dump(), data.name)

    def settled_like(self, written: Any) -> Any:
        """Return the config with the kinds, sizes and updates of a run."""
        config: Any = self.config
        return config.settled_like(written) if isinstance(written, type(config)) else config

    def expect_fits(self, data: Any) -> None:
        """See nothing: batches are drawn with replacement."""

    def notes_of_data(self, data: Any) -> Sequence[str]:
        """Return which columns and rows were left out."""
        return data.notes

    def read_data(self, name: str) -> Any:
        """Open a table that has the columns of the run."""
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
        """Return the name of the data and the model."""
        return self.identity_of(summary["data"]["name"])

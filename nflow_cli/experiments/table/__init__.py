"""A table of D columns, fitted by maximum likelihood."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from nflow_cli.config import presets
from nflow_cli.config.memory import Footprint
from nflow_cli.config.schema import Config, FitConfig
from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation import caveats as cautions
from nflow_cli.evaluation.caveats import Caveat
from nflow_cli.experiments.experiment import checksum_of_data
from nflow_cli.experiments.rows import Judgement, Rows, Summary
from nflow_cli.experiments.table import pictures, rows
from nflow_cli.experiments.table.likelihood import Likelihood
from nflow_cli.runs.directory import CONFIG, RunDirectory


class Table(Likelihood):
    """A fit to a table, by ``nflow fit``."""

    config: FitConfig
    formats: ClassVar = (".csv", ".parquet", ".npy")
    scores_rows = True

    @property
    def footprint(self) -> Footprint | None:
        """What an update takes of memory; ``None`` before the columns are known."""
        return super().footprint if self.config.is_settled else None

    @property
    def length(self) -> int:
        """How many updates the training makes; 0 before that is known."""
        return self.config.train.steps or 0

    def data(self, run: RunDirectory | None = None) -> Any:
        """Load the rows, or those that a run was fitted to."""
        from nflow_cli.data.table_rows import load_table
        from nflow_cli.experiments.data import found_again, with_tests

        settings, tails = self.config.data, self.config.units.tails
        if run is None:
            return load_table(settings, tails)
        self._expect_settled(run)
        settings = with_tests(run, settings)
        return found_again(
            run, lambda name: load_table(settings.model_copy(update={"name": name}), tails)
        )

    def settled(self, data: Any) -> Config:
        """Return the config with the columns, levels and updates written out."""
        config = self.config.settled(data.modelled, data.roles.levels, len(data.train))
        return presets.validate(config.model_dump(), data.name, {"fit": FitConfig})

    def settled_like(self, written: Config) -> Config:
        """Return the config with the columns, levels and updates of a run."""
        return self.config.settled_like(written) if isinstance(written, FitConfig) else self.config

    def notes_of_data(self, data: Any) -> Sequence[str]:
        """Return which columns and rows were left out."""
        return data.notes

    def _expect_settled(self, run: RunDirectory) -> None:
        if not self.config.is_settled:
            raise RunDirectoryError(
                f"{run.path / CONFIG}: damaged: expected data.columns, all levels and train.steps"
            )

    def load(self, run: RunDirectory) -> Any:
        """Return the density that was trained, in the units of the table."""
        from nflow_cli.experiments.data import units_of
        from nflow_cli.experiments.trained import TrainedTable

        self._expect_settled(run)
        units = units_of(run, self.config.dim)
        return TrainedTable(run.path, self.config, self.load_model(run), units)

    def scores_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Judge a density by the test rows."""
        from nflow_cli.evaluation.scores import table_scores

        return table_scores(density, data)

    def arrays_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Return what the pictures are drawn from."""
        from nflow_cli.evaluation.table import density_of_points, rows_and_draws

        arrays = density_of_points if self.is_in_the_plane else rows_and_draws
        return arrays(density, data, self.config.seed, self.keeps_rows)

    def read_data(self, name: str) -> Any:
        """Open a table that has the columns of the run."""
        from nflow_cli.data.table_files import open_table

        return open_table(name)

    def judged(self, trained: Any, data: Any, caveats: list[Caveat]) -> tuple[dict[str, Any], Rows]:
        """Judge a fit by another table, read in a stream."""
        from nflow_cli.experiments.table.scoring import judge

        return self._scores_and_rows(trained, judge(trained, data), caveats)

    def write_scores(self, trained: Any, data: Any, path: Path, with_latents: bool) -> Judgement:
        """Write the rows of a table with their log-density, and with their latents if asked to."""
        from nflow_cli.experiments.table.scoring import write_scored

        mean, caveats = write_scored(trained, data, path, with_latents), list[Caveat]()
        return Judgement(*self._scores_and_rows(trained, mean, caveats), caveats)

    def _scores_and_rows(
        self, trained: Any, mean: Any, caveats: list[Caveat]
    ) -> tuple[dict[str, Any], Rows]:
        from nflow_cli.experiments.data import is_data_of

        scores, discrete = mean.scores(), list(self.config.roles.steps)
        if is_data_of(RunDirectory(trained.path), mean.rows.hexdigest()):
            caveats.append(cautions.TRAINED_ON)
        if few := cautions.few_rows(scores):
            caveats.append(few)
        return scores, rows.scored_rows(mean, caveats, discrete)

    def write_samples(
        self, trained: Any, n: int, path: Path, seed: int, given: Any = None
    ) -> list[Path]:
        """Write ``n`` rows in the table's columns, with their log-density in nats."""
        from nflow_cli.experiments.table.scoring import write_draws

        write_draws(trained, self.batches(trained, n, seed, given), path)
        return [path]

    def batches(self, trained: Any, n: int, seed: int, given: Any) -> Any:
        """Draw ``n`` rows, some at a time."""
        return trained.batches(n, seed)

    def damage(self, arrays: Mapping[str, Any], summary: Summary) -> str:
        """Return which file of the pictures is not of these columns, and why, or ""."""
        return pictures.damage(arrays, summary, self.config.roles.numbers)

    def settings(self, summary: Summary) -> dict[str, str]:
        """Tell data of one name apart."""
        return checksum_of_data(summary)

"""A table of plain numbers, fitted by a stack of flows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from nflow_cli.config import presets
from nflow_cli.config.memory import Footprint, of_flows
from nflow_cli.config.schema import Config, FitConfig
from nflow_cli.errors import ConfigError, RunDirectoryError
from nflow_cli.evaluation.caveats import Caveat, ruined_fit
from nflow_cli.experiments.density import DensityExperiment
from nflow_cli.experiments.experiment import (
    FLOWS_EXPECTED,
    Course,
    Identity,
    Measure,
    checksum_of_data,
    expect_named_data,
)
from nflow_cli.experiments.rows import Judgement, Rows, Summary
from nflow_cli.experiments.table import pictures, rows
from nflow_cli.runs.array_shapes import ROW_WEIGHTS, ROWS, Shapes
from nflow_cli.runs.directory import CONFIG, RunDirectory

if TYPE_CHECKING:
    from nflow_cli.experiments.checked_run import CheckedRun


class Table(DensityExperiment):
    """A fit of flows to a table of plain numbers, by ``nflow fit --flow``."""

    config: FitConfig
    name = "table"
    formats: ClassVar = (".csv", ".parquet", ".npy")
    measures = (
        Measure("log_likelihood", "log-likelihood", "nats", 4, judges=True, sign=-1),
        Measure("gaussian_log_likelihood", "of a Gaussian", "nats", 4),
        Measure("gap", "gap to the truth", "nats", 4),
        Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
    )
    course = Course("validation_loss", "log-likelihood (nats a validation row)", -1)
    columns, summary_form = pictures.COLUMNS, pictures.TableSummary
    samples: ClassVar = None
    scores_rows = True

    # Before training.

    @property
    def footprint(self) -> Footprint | None:
        """What an update takes of memory; ``None`` before the columns are known."""
        config = self.config
        if not config.is_settled:
            return None
        samples = (config.train.batch_size or 0) * self.members
        given = len(config.given)
        return Footprint(samples, given + config.dim, of_flows(config.flow, config.dim) + given)

    @property
    def length(self) -> int:
        """How many updates the training makes; 0 before that is known."""
        return self.config.train.steps or 0

    @property
    def given_example(self) -> str:
        """Values of given columns that samples may be drawn at, as text; "" where none are."""
        return ",".join(f"{name}=0".replace(",", "\\,") for name in self.config.given)

    def data(self, run: RunDirectory | None = None) -> Any:
        """Load the rows, or those that a run was fitted to."""
        from nflow_cli.data.dataset import load_dataset
        from nflow_cli.experiments.data import found_again, with_tests

        settings, tails = self.config.data, self.config.units.tails
        if run is None:
            return load_dataset(settings, flows=tails)
        self._expect_settled(run)
        settings = with_tests(run, settings)
        return found_again(
            run, lambda name: load_dataset(settings.model_copy(update={"name": name}), flows=tails)
        )

    def settled(self, data: Any) -> Config:
        """Return the config with the kinds of columns and the updates written out."""
        config = self.config.settled(data.kinds, len(data.train))
        presets.expect_readable(config, data.name)
        return presets.validate(config.model_dump(), data.name, {"fit": FitConfig})

    def settled_like(self, written: Config) -> Config:
        """Return the config with the kinds of columns and the updates of a run."""
        return self.config.settled_like(written) if isinstance(written, FitConfig) else self.config

    def notes_of_data(self, data: Any) -> Sequence[str]:
        """Return which columns and rows were left out."""
        return data.notes

    def _expect_settled(self, run: RunDirectory) -> None:
        if not self.config.is_settled:
            raise RunDirectoryError(f"{run.path / CONFIG}: damaged: expected data.kinds and sizes")

    # Training.

    def fit(self, run: RunDirectory, data: Any) -> dict[str, Any]:
        """Train, judge and save; return the summary."""
        from nflow_cli.experiments.table import fit as table_fit

        return table_fit.run(self.config, run, data, self.judge, self.keeps_rows)

    def load(self, run: RunDirectory) -> Any:
        """Return the density that was trained, in the units of the table."""
        from nflow_cli.experiments.data import column_units
        from nflow_cli.experiments.table.fit import built_stack
        from nflow_cli.experiments.trained import TrainedTable
        from nflow_cli.runs.model_file import load_weights

        self._expect_settled(run)
        config = self.config
        flow = built_stack(config)
        load_weights(run, flow, config.flow.model_dump(exclude_none=True), config.dim)
        units = (column_units(run, names) for names in (config.columns, config.given))
        return TrainedTable(run.path, config, flow, *units)

    def flows_in_the_plane(self, run: RunDirectory) -> Any:
        """Load a density of two numbers, each of whose flows can be drawn."""
        if self.config.given:
            raise ConfigError(f"{FLOWS_EXPECTED} columns that are given")
        return super().flows_in_the_plane(run)

    # Scores.

    @property
    def keeps_rows(self) -> bool:
        """Whether a run keeps some test rows for its pictures."""
        return self.config.evaluate.keep_rows

    def judge(self, density: Any, data: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return :meth:`scores_of` and :meth:`arrays_of`."""
        from nflow_cli.training.progress import phase

        with phase(f"scoring: {len(data.test):,} test rows"):
            scores = self.scores_of(density, data)
        with phase("preparing pictures"):
            return scores, self.arrays_of(density, data)

    def scores_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Judge a density by the test rows."""
        from nflow_cli.evaluation.scores import table_scores

        return table_scores(density, data, self.config.seed)

    def ruined(self, summary: Summary) -> Caveat | None:
        """Return the warning of a fit that is worse than its base."""
        return ruined_fit(summary, "log_likelihood", sign=-1)

    def labels(self) -> dict[str, Any]:
        """Return what the summary says of the config, beside its flow, K and seed."""
        return {**super().labels(), "given": self.config.given}

    def rows(self, summary: Summary, caveats: Sequence[Caveat]) -> Rows:
        """Return the rows of the table that a training ends with."""
        return rows.rows_of(summary, self.length, caveats)

    def verdict(self, summary: Summary, caveats: Sequence[Caveat]) -> Rows:
        """Return the log-likelihood of the test rows, and that of a Gaussian."""
        return rows.verdict_of(summary, caveats)

    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        """Judge a fit by its test rows, or by another table."""
        from nflow_cli.data.dataset import Dataset
        from nflow_cli.evaluation.truth import gap_to_the_truth
        from nflow_cli.experiments.table.judging import judged_table

        if not isinstance(data, Dataset):
            return judged_table(trained, data, self._lines)
        gap = gap_to_the_truth(trained.log_prob, data.name, seed, data.modelled)
        scores = self.scores_of(trained, data) | gap
        facts = {**data.sizes, **scores}
        caveats = self.caveats({**recorded, **facts})
        return Judgement(scores, self._lines + rows.held_out_rows(facts, caveats), caveats)

    @property
    def _lines(self) -> Rows:
        flow = self.config.flow
        return [("data", self.config.subject), ("flow", f"{flow.text}, K = {flow.k}")]

    def read_data(self, name: str) -> Any:
        """Open a table that has the columns of the run."""
        from nflow_cli.data.table_files import open_table

        return open_table(name)

    def write_scores(self, trained: Any, data: Any, path: Path, with_latents: bool) -> Judgement:
        """Write the rows of a table with their log-density, and with their latents if asked to."""
        from nflow_cli.experiments.table.judging import write_scored

        return write_scored(trained, data, path, with_latents, [])

    def write_samples(
        self, trained: Any, n: int, path: Path, seed: int, given: str | None = None
    ) -> list[Path]:
        """Write ``n`` rows in the table's columns, with their log-density in nats."""
        from nflow_cli.experiments.table.scoring import write_draws

        write_draws(trained, n, path, seed, given)
        return [path]

    # Side by side with others.

    def identity(self, summary: Summary) -> Identity:
        """Return the name of the data, the flow and K."""
        return self.identity_of(summary["data"]["name"])

    def settings(self, summary: Summary) -> dict[str, str]:
        """Return what tells data of one name apart."""
        return checksum_of_data(summary)

    def expect_comparable(self, run: RunDirectory, summary: Summary) -> None:
        """See that the summary names the data."""
        expect_named_data(run, summary)

    # Pictures and checks.

    @property
    def is_in_the_plane(self) -> bool:
        """Whether the pictures are of the plane: of one density of two columns, given nothing."""
        return self.config.dim == 2 and self.members == 1 and not self.config.given

    @property
    def shapes(self) -> Shapes:
        """The arrays in ``evaluation.npz``: of the plane, or of rows."""
        shown = pictures.PLANE
        if not self.is_in_the_plane:
            shown = pictures.shapes_of(self.config.dim, bool(self.config.given))
        if not self.keeps_rows:
            return shown
        return {**shown, **ROWS, **(ROW_WEIGHTS if self.config.data.weights else {})}

    def arrays_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Return what the pictures are drawn from."""
        from nflow_cli.evaluation.table import density_of_points, rows_and_draws

        arrays = density_of_points if self.is_in_the_plane else rows_and_draws
        return arrays(density, data, self.config.seed, self.keeps_rows)

    def damage(self, arrays: Mapping[str, Any], summary: Summary) -> str:
        """Return which file of the pictures is not of these columns, and why, or ""."""
        return pictures.damage(arrays, summary, self.config.columns)

    def draw(self, *arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Return the pictures by name."""
        from nflow_cli import plotting

        draw = plotting.points_figures if self.is_in_the_plane else plotting.table_figures
        return draw(*arrays)

    def checked(self, run: RunDirectory, trained: Any) -> "CheckedRun":
        """Return a run to be checked."""
        from nflow_cli.experiments.table.checks import CheckedTable

        return CheckedTable(run, trained, self)

"""Fits of flow stacks to tables of plain numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nflow_cli.config.schema import FitConfig
from nflow_cli.config.table_schema import Tails
from nflow_cli.errors import ConfigError
from nflow_cli.evaluation.warnings import ScoreWarning, ruined_fit
from nflow_cli.experiments.density import DensityExperiment
from nflow_cli.experiments.experiment import FLOWS_EXPECTED, Measure, checksum_of_data
from nflow_cli.experiments.picture_data import damage_of_columns
from nflow_cli.experiments.rows import Judgement, Rows, Summary
from nflow_cli.experiments.summary import Fitted
from nflow_cli.experiments.table import pictures, rows
from nflow_cli.experiments.table.experiment import OfTable
from nflow_cli.experiments.table.summary import TableSummary
from nflow_cli.runs.array_shapes import ROW_WEIGHTS, ROWS, Shapes
from nflow_cli.runs.directory import RunDirectory

if TYPE_CHECKING:
    from nflow_cli.experiments.checked_run import CheckedRun


class Table(OfTable, DensityExperiment):
    """A fit of flows to plain numbers, by ``nflow fit --flow``."""

    config: FitConfig
    measures = (
        Measure("log_likelihood", "log-likelihood", "nats", 4, judges=True, sign=-1),
        Measure("gaussian_log_likelihood", "Gaussian", "nats", 4),
        Measure("gap", "gap to the truth", "nats", 4),
        Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
    )
    summary_type = TableSummary

    # Before training.

    @property
    def tails(self) -> Tails:
        """The transform of tails before the flows."""
        return self.config.units.tails

    # Training.

    def fit(self, run: RunDirectory, data: Any) -> Fitted:
        """Train, score and save."""
        from nflow_cli.experiments.table import fit as table_fit

        return table_fit.run(self.config, run, data, self.judge, self.keeps_rows)

    def load(self, run: RunDirectory) -> Any:
        """Load the trained density, in the table's units."""
        from nflow_cli.experiments.data import column_units
        from nflow_cli.experiments.table.fit import built_stack
        from nflow_cli.experiments.table.trained import TrainedTable
        from nflow_cli.runs.model_file import load_weights

        self.expect_settled(run)
        config = self.config
        flow = built_stack(config)
        load_weights(run, flow, config.flow.model_dump(exclude_none=True), config.dim)
        units = (column_units(run, names) for names in (config.columns, config.given))
        return TrainedTable(run.path, self, flow, *units)

    def flows_in_the_plane(self, run: RunDirectory) -> Any:
        """Load a 2-D density whose flows can be drawn."""
        if self.config.given:
            raise ConfigError(f"{FLOWS_EXPECTED} columns that are given")
        return super().flows_in_the_plane(run)

    # Scores.

    def judge(self, density: Any, data: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return :meth:`scores_of` and :meth:`arrays_of`."""
        from nflow_cli.training.progress import phase

        with phase(f"scoring: {len(data.test):,} test rows"):
            scores = self.scores_of(density, data)
        with phase("preparing pictures"):
            return scores, self.arrays_of(density, data)

    def scores_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Score a density by the test rows."""
        from nflow_cli.evaluation.scores import table_scores

        return table_scores(density, data, self.config.seed)

    def ruined(self, summary: Summary) -> ScoreWarning | None:
        """Warn if worse than the base."""
        return ruined_fit(summary, "log_likelihood", sign=-1)

    def labels(self) -> dict[str, Any]:
        """Return the summary's config entries."""
        return {**super().labels(), "given": self.config.given}

    def rows(self, summary: Summary, warnings: Sequence[ScoreWarning]) -> Rows:
        """Return the printed scores."""
        return rows.rows_of(summary, self.length, warnings)

    def verdict(self, summary: Summary, warnings: Sequence[ScoreWarning]) -> Rows:
        """Return log-likelihood and gain."""
        return rows.verdict_of(summary, warnings)

    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        """Score by test rows, or another table."""
        from nflow_cli.data.dataset import Dataset
        from nflow_cli.evaluation.truth import gap_to_the_truth
        from nflow_cli.experiments.table.judging import judged_table

        if not isinstance(data, Dataset):
            return judged_table(trained, data, self._lines)
        gap = gap_to_the_truth(trained.log_prob, data.name, seed, data.modelled)
        scores = self.scores_of(trained, data) | gap
        facts = {**data.sizes, **scores}
        warnings = self.warnings({**recorded, **facts})
        return Judgement(scores, self._lines + rows.held_out_rows(facts, warnings), warnings)

    @property
    def _lines(self) -> Rows:
        flow = self.config.flow
        return [("data", self.config.subject), ("flow", f"{flow.text}, K = {flow.k}")]

    def write_scores(self, trained: Any, data: Any, path: Path, with_latents: bool) -> Judgement:
        """Write rows with log-density, and latents if asked."""
        from nflow_cli.experiments.table.judging import write_scored

        return write_scored(trained, data, path, with_latents, [])

    # Side by side with others.

    def settings(self, summary: Summary) -> dict[str, str]:
        """Return the checksum of the data."""
        return checksum_of_data(summary)

    # Pictures and checks.

    @property
    def is_in_the_plane(self) -> bool:
        """Whether the pictures are 2-D maps: two columns, none given, no ensemble."""
        return self.config.dim == 2 and self.config.train.members == 1 and not self.config.given

    @property
    def shapes(self) -> Shapes:
        """The arrays in ``evaluation.npz``."""
        shown = pictures.PLANE
        if not self.is_in_the_plane:
            shown = pictures.shapes_of(self.config.dim, bool(self.config.given))
        if not self.keeps_rows:
            return shown
        return {**shown, **ROWS, **(ROW_WEIGHTS if self.config.data.weights else {})}

    def arrays_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Return the arrays of the pictures."""
        from nflow_cli.evaluation.table import density_of_points, rows_and_draws

        arrays = density_of_points if self.is_in_the_plane else rows_and_draws
        return arrays(density, data, self.config.seed, self.keeps_rows)

    def damage(self, arrays: Mapping[str, Any], summary: Summary) -> str:
        """Return an inconsistency between arrays and columns, or ""."""
        return damage_of_columns(arrays, summary, self.config.columns)

    def draw(self, *arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Return the pictures by name."""
        from nflow_cli import plotting

        draw = plotting.points_figures if self.is_in_the_plane else plotting.table_figures
        return draw(*arrays)

    def checked(self, run: RunDirectory, trained: Any) -> "CheckedRun":
        """Return the checks of a run."""
        from nflow_cli.experiments.table.checks import CheckedTable

        return CheckedTable(run, trained, self)

"""Fits of flow stacks to tables of plain numbers."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from nflow_cli.config.schema import FitConfig
from nflow_cli.config.table_schema import Tails
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.evaluation.warnings import ScoreWarning, few_rows, grouped_rows, mass, ruined_fit
from nflow_cli.experiments.density import DensityExperiment
from nflow_cli.experiments.experiment import Measure
from nflow_cli.experiments.picture_data import inconsistency_with_columns
from nflow_cli.experiments.rows import Judgement, Rows, Summary
from nflow_cli.experiments.table import pictures, rows
from nflow_cli.experiments.table.experiment import OfTable
from nflow_cli.experiments.table.summary import TableSummary
from nflow_cli.registry import BASES, resolve
from nflow_cli.runs.array_shapes import Shapes
from nflow_cli.runs.directory import RunDirectory


class Table(OfTable, DensityExperiment):
    """Fit of flows to plain numbers, by ``nflow fit --flow``."""

    config: FitConfig
    measures = (
        Measure("log_likelihood", "log-likelihood", "nats", 4, judges=True, sign=-1),
        Measure("gaussian_log_likelihood", "Gaussian", "nats", 4),
        Measure("gap", "gap to the truth", "nats", 4),
        Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
    )
    summary_type = TableSummary
    fitting = "nflow_cli.experiments.table.fit:run"
    trying = "nflow_cli.experiments.table.fit:trial"
    checking = "nflow_cli.experiments.table.checks:CheckedTable"
    printed = rows
    rules: ClassVar = (partial(ruined_fit, key="log_likelihood", sign=-1), mass, few_rows)

    # Before training.

    @property
    def tails(self) -> Tails:
        return self.config.units.tails

    # Training.

    def load(self, run: RunDirectory) -> Any:
        from nflow_cli.experiments.data import column_units
        from nflow_cli.experiments.table.fit import built_stack
        from nflow_cli.experiments.table.trained import TrainedTable

        self.expect_settled(run)
        config = self.config
        flow = built_stack(config)
        self.load_weights(run, flow, config.flow.model_dump(exclude_none=True), config.dim)
        units = (column_units(run, names) for names in (config.columns, config.given))
        base = resolve(BASES[config.base_name])()
        return TrainedTable(run.path, self, base, flow, *units)

    @property
    def undrawn(self) -> str:
        return "columns that are given" if self.config.given else super().undrawn

    # Scores.

    def warnings(self, summary: Summary) -> list[ScoreWarning]:
        """Warnings about the scores."""
        found = grouped_rows(summary, self.config.data.group)
        return [*super().warnings(summary), *([found] if found else [])]

    def labels(self) -> dict[str, Any]:
        return {**super().labels(), "given": self.config.given}

    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        from nflow_cli.data.dataset import Dataset
        from nflow_cli.evaluation.scores import table_scores
        from nflow_cli.experiments.table.judging import judged_table

        if not isinstance(data, Dataset):
            return judged_table(trained, data, self._lines)
        scores = table_scores(trained, data, self.config.seed, seed)
        facts = {**data.sizes, **scores}
        warnings = self.warnings({**recorded, **facts})
        return Judgement(scores, self._lines + rows.held_out_rows(facts, warnings), warnings)

    @property
    def _lines(self) -> Rows:
        flow = self.config.flow
        return [("data", self.config.subject), ("flow", f"{flow.text}, K = {flow.k}")]

    def write_scores(self, trained: Any, data: Any, path: Path, with_latents: bool) -> Judgement:
        from nflow_cli.experiments.table.judging import write_scored

        return write_scored(trained, data, path, with_latents, [])

    def judge_scores(self, found: Tally, name: str) -> Judgement:
        from nflow_cli.experiments.table.judging import judged_tally

        return judged_tally(found, self.config, [("data", name)])

    # Pictures and checks.

    @property
    def shapes(self) -> Shapes:
        shown = pictures.PLANE
        if not self.config.is_in_the_plane:
            shown = pictures.shapes_of(self.config.dim, bool(self.config.given))
        return {**shown, **self.shapes_of_rows}

    def inconsistency(self, arrays: Mapping[str, Any], summary: Summary) -> str:
        return inconsistency_with_columns(arrays, summary, self.config.columns)

    @property
    def drawing(self) -> str:
        kind = "points" if self.config.is_in_the_plane else "table"
        return f"nflow_cli.plotting:{kind}_figures"

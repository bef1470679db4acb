"""Fits of a density of cells to whole tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.kinds_schema import row_names
from nflow_cli.errors import ConfigError, DataError
from nflow_cli.evaluation.warnings import ScoreWarning
from nflow_cli.experiments.cells.summary import CellsSummary
from nflow_cli.experiments.experiment import FLOWS_EXPECTED, Measure, checksum_of_data
from nflow_cli.experiments.rows import Judgement, Rows, Summary
from nflow_cli.experiments.summary import Fitted
from nflow_cli.experiments.table.experiment import OfTable
from nflow_cli.runs.array_shapes import ROW_WEIGHTS, ROWS, Shapes
from nflow_cli.runs.directory import WEIGHTS, RunDirectory

if TYPE_CHECKING:
    from nflow_cli.experiments.checked_run import CheckedRun


class WholeTable(OfTable):
    """A fit of a density of cells to a table, by ``nflow fit``."""

    config: CellsConfig
    measures = (
        Measure("log_likelihood", "log-likelihood", "nats", 4, judges=True, sign=-1),
        Measure("independent_log_likelihood", "independent", "nats", 4),
        Measure("gain", "gain", "nats", 4),
        Measure("gap", "gap to the truth", "nats", 4),
        Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
    )
    model_file = WEIGHTS
    needs_tensorflow = False
    predicts = True
    summary_type = CellsSummary

    # Before training.

    def settled(self, data: Any) -> Any:
        """Return the config with column kinds, sizes, updates and ``cells.unmixed`` resolved."""
        from nflow_cli.densities.cells.fitting import fitted_columns
        from nflow_cli.densities.cells.unmixing import are_better, can_be_unmixed, fit_unmixing

        config = super().settled(data)
        asked, found = config.cells.unmixed, None
        if asked is not False and can_be_unmixed(data):
            found = fit_unmixing(fitted_columns(data), data)
        if asked and not found:
            raise ConfigError(
                "cells.unmixed: expected two or more columns of plain numbers, none of them given "
                f"or linear in others. Received: {data.name}"
            )
        unmixed = found is not None and (asked or are_better(found, data))
        cells = config.cells.model_copy(update={"unmixed": unmixed})
        return config.model_copy(update={"cells": cells})

    # Training.

    def fit(self, run: RunDirectory, data: Any) -> Fitted:
        from nflow_cli.experiments.cells.run import run as fit_run

        return fit_run(self.config, run, data)

    def load(self, run: RunDirectory) -> Any:
        from nflow_cli.experiments.cells.loaded import load

        self.expect_settled(run)
        return load(run, self)

    # Scores.

    def warnings(self, summary: Summary) -> list[ScoreWarning]:
        from nflow_cli.experiments.cells.warnings import warnings_of

        data = self.config.data
        are_chosen = any((data.split, data.test, data.group))
        return warnings_of(summary, are_chosen)

    def ruined(self, summary: Summary) -> ScoreWarning | None:
        from nflow_cli.experiments.cells.warnings import ruined

        return ruined(summary)

    def labels(self) -> dict[str, Any]:
        return {"target": None, "given": [*self.config.data.given]}

    @property
    def model_text(self) -> str:
        return self.config.cells.text

    def rows(self, summary: Summary, warnings: Sequence[ScoreWarning]) -> Rows:
        from nflow_cli.experiments.cells.printed import rows_of

        return rows_of(summary, self.length, warnings)

    def verdict(self, summary: Summary, warnings: Sequence[ScoreWarning]) -> Rows:
        from nflow_cli.experiments.cells.printed import verdict_of

        return verdict_of(summary, warnings)

    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        from nflow_cli.data.dataset import Dataset
        from nflow_cli.experiments.cells import judge, printed
        from nflow_cli.experiments.cells.scoring import judged_table

        lines = [("data", self.config.subject), ("model", self.model_text)]
        if not isinstance(data, Dataset):
            return judged_table(trained, data, [("data", data.name), *lines[1:]])
        estimated = judge.estimates(trained, data.test, self.config.seed)
        scores = judge.held_out(trained, data, estimated, self.config.seed, seed)
        facts = {**data.sizes, **scores}
        found = self.warnings(facts)
        rows = printed.verdict_of(facts, found) + printed.pit_rows(facts, found)
        rows += printed.memorisation_rows(facts, found)
        return Judgement(scores, lines + rows + printed.notes(facts), found)

    def write_scores(self, trained: Any, data: Any, path: Path, with_latents: bool) -> Judgement:
        from nflow_cli.experiments.cells.scoring import write_scored

        if with_latents:
            raise DataError("--latent: expected a fit by --flow; a density of cells has no latents")
        lines = [("data", data.name), ("model", self.model_text)]
        return write_scored(trained, data, path, lines)

    def write_explained(self, trained: Any, data: Any, held_out: Any, path: Path) -> Judgement:
        """Write rows with the surprise of each cell and p-values; return scores and oddest rows."""
        from nflow_cli.experiments.cells.explaining import write_explained

        lines = [("data", data.name), ("model", self.model_text)]
        return write_explained(trained, data, held_out.test, path, lines)

    def write_predictions(
        self, trained: Any, data: Any, path: Path, target: str | None, quantiles: Sequence[float]
    ) -> Judgement:
        """Write rows with the distribution of one column given the others; score it."""
        from nflow_cli.experiments.cells.predicting import write_predicted

        return write_predicted(trained, data, path, target, quantiles)

    # Side by side with others.

    def settings(self, summary: Summary) -> dict[str, str]:
        """Return checksum and base measure: only equal measures are comparable."""
        return {**checksum_of_data(summary), "measure": str(summary.get("measure"))[:12]}

    # Pictures and checks.

    @property
    def shapes(self) -> Shapes:
        names = row_names(self.config.data.kinds or {}, self.config.data.given)
        d = len(names.modelled) + len(names.computed)
        c = d + len(names.given)
        shown: Shapes = {"rows": ("t", c), "draws": ("s", c), "draws_log_q": "s", "pit": ("u", d)}
        if self.keeps_rows:
            shown |= {**ROWS, **(ROW_WEIGHTS if self.config.data.weights else {})}
        return shown

    def draw(self, *arrays: Mapping[str, Any]) -> dict[str, Any]:
        from nflow_cli.experiments.cells.plots import figures

        return figures(self.config, *arrays)

    def flows_in_the_plane(self, run: RunDirectory) -> Any:
        """Refuse: cells have no flows."""
        raise ConfigError(
            f"{FLOWS_EXPECTED} cells, which has no flows; `nflow fit TABLE --flow planar` fits some"
        )

    def checked(self, run: RunDirectory, trained: Any) -> "CheckedRun":
        from nflow_cli.experiments.cells.checks import CheckedCells

        return CheckedCells(run, trained, self)

"""Fits of a density of cells to whole tables."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nflow_cli.config.cells_schema import CellsConfig
from nflow_cli.config.kinds_schema import row_names
from nflow_cli.errors import ConfigError, DataError
from nflow_cli.evaluation.tallies import Tally
from nflow_cli.evaluation.warnings import few_rows, grouped_rows
from nflow_cli.experiments.cells import printed
from nflow_cli.experiments.cells import warnings as of_cells
from nflow_cli.experiments.cells.summary import CellsSummary
from nflow_cli.experiments.experiment import Measure, Rule
from nflow_cli.experiments.rows import Judgement, Rows, Summary
from nflow_cli.experiments.table.experiment import OfTable
from nflow_cli.runs.array_shapes import Shapes
from nflow_cli.runs.directory import EVALUATION, WEIGHTS, RunDirectory

GAPS = 0.1  # least share of training rows with gaps, of which some are filled in training
FILLED = 0.5  # share of a batch, then


class WholeTable(OfTable):
    """Fit of a density of cells to a table, by ``nflow fit``."""

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
    fitting = "nflow_cli.experiments.cells.run:run"
    trying = "nflow_cli.experiments.cells.fit:trial"
    checking = "nflow_cli.experiments.cells.checks:CheckedCells"
    printed = printed
    summary_type = CellsSummary

    # Before training.

    def settled(self, data: Any) -> Any:
        """Config with column kinds, sizes, updates, ``cells.unmixed`` and ``train.filled``
        resolved.
        """
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
        unmixed = asked or (found is not None and are_better(found, data))
        if found and unmixed and not asked:
            from nflow_cli.experiments.cells.turning import trained_unmixing

            _, unmixed = trained_unmixing(found, data, config)
        cells = config.cells.model_copy(update={"unmixed": unmixed})
        train = config.train
        if train.filled is None:
            train = train.model_copy(update={"filled": FILLED if _have_gaps(data) else 0.0})
        return config.model_copy(update={"cells": cells, "train": train})

    # Training.

    def load(self, run: RunDirectory) -> Any:
        from nflow_cli.experiments.cells.loaded import load

        self.expect_settled(run)
        return load(run, self)

    # Scores.

    @property
    def rules(self) -> Sequence[Rule]:
        data = self.config.data
        are_chosen = any((data.split, data.test, data.group))
        memorised = partial(of_cells.memorised, are_chosen=are_chosen)
        of_groups = partial(grouped_rows, column=data.group)
        of_rows = of_cells.miscalibrated, memorised, of_cells.copied, of_cells.lost, of_groups
        return of_cells.ruined, few_rows, *of_rows

    def labels(self) -> dict[str, Any]:
        return {"target": None, "given": [*self.config.data.given]}

    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        from nflow_cli.data.dataset import Dataset
        from nflow_cli.experiments.cells import judge
        from nflow_cli.experiments.cells.scoring import judged_table

        if not isinstance(data, Dataset):
            return judged_table(trained, data, self._lines(data.name))
        lines = self._lines(self.config.subject)
        estimated = judge.estimates(trained, data.test, self.config.seed)
        scores = judge.held_out(trained, data, estimated, self.config.seed, seed)
        facts = {**data.sizes, **scores}
        found = self.warnings(facts)
        rows = printed.verdict_of(facts, found) + printed.pit_rows(facts, found)
        rows += printed.memorisation_rows(facts, found) + printed.copies_rows(facts, found)
        rows += printed.lost_rows(facts, found)
        return Judgement(scores, lines + rows + printed.notes(facts), found)

    def write_scores(self, trained: Any, data: Any, path: Path, with_latents: bool) -> Judgement:
        from nflow_cli.experiments.cells.scoring import write_scored

        if with_latents:
            raise DataError("--latent: expected a fit by --flow; a density of cells has no latents")
        return write_scored(trained, data, path, self._lines(data.name))

    def judge_scores(self, found: Tally, name: str) -> Judgement:
        from nflow_cli.experiments.cells.scoring import judged_tally

        return judged_tally(found, self.config, self._lines(name))

    def _lines(self, name: str) -> Rows:
        return [("data", name), ("model", self.config.model_text)]

    def write_explained(self, trained: Any, data: Any, path: Path) -> Judgement:
        """Write rows with the surprise of each cell and p-values; return scores and oddest rows."""
        from nflow_cli.experiments.cells.explaining import write_explained

        return write_explained(trained, data, path, self._lines(data.name))

    def write_predictions(
        self, trained: Any, data: Any, path: Path, question: Mapping[str, Any], plot: Path | None
    ) -> Judgement:
        from nflow_cli.experiments.cells.predicting_jointly import write_predictions

        return write_predictions(trained, data, path, question, plot)

    def judge_of_predictions(
        self, trained: Any, question: Mapping[str, Any]
    ) -> Callable[[Tally, str], Judgement]:
        from nflow_cli.experiments.cells.predicting_jointly import judge_of

        return judge_of(trained, question)

    def write_imputed(
        self, trained: Any, data: Any, path: Path, draws: int | None, seed: int
    ) -> Judgement:
        from nflow_cli.experiments.cells.imputing import write_imputed

        return write_imputed(trained, data, path, draws, seed)

    def judge_drift(self, trained: Any, data: Any) -> Judgement:
        from nflow_cli.experiments.cells.drifting import judged_drift

        return judged_drift(trained, data)

    # Side by side with others.

    def settings(self, summary: Summary) -> dict[str, str]:
        """Checksum and base measure: only equal measures are comparable."""
        return {**super().settings(summary), "measure": str(summary.get("measure"))[:12]}

    # Pictures and checks.

    @property
    def shapes(self) -> Shapes:
        names = row_names(self.config.data.kinds or {}, self.config.data.given)
        d = len(names.modelled) + len(names.computed)
        c = d + len(names.given)
        shown: Shapes = {"rows": ("t", c), "draws": ("s", c), "draws_log_q": "s", "pit": ("u", d)}
        return {**shown, **self.shapes_of_rows}

    def inconsistency(self, arrays: Mapping[str, Any], summary: Summary) -> str:
        from nflow_cli.experiments.cells.kept_rows import wrong_cells

        kinds, given = self.config.data.kinds or {}, self.config.data.given
        wrong = wrong_cells(kinds, given, arrays["rows"], arrays["draws"])
        return f"{EVALUATION}: damaged: {wrong}" if wrong else ""

    def draw(self, *arrays: Mapping[str, Any]) -> dict[str, Any]:
        from nflow_cli.experiments.cells.plots import figures

        return figures(self.config, *arrays)


def _have_gaps(data: Any) -> bool:
    import numpy as np

    modelled = slice(len(data.given), len(data.given) + len(data.modelled))
    return bool(np.isnan(data.train[:, modelled]).any(axis=1).mean() >= GAPS)

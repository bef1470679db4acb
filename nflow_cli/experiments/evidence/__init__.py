"""log Z from draws of a posterior, by the learned harmonic mean."""

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from nflow_cli.config.evidence_schema import EvidenceConfig
from nflow_cli.errors import ConfigError, RunDirectoryError
from nflow_cli.experiments.density import DensityExperiment
from nflow_cli.experiments.evidence import rows
from nflow_cli.experiments.evidence.summary import EvidenceSummary
from nflow_cli.experiments.evidence.warnings import RULES
from nflow_cli.experiments.experiment import Course, Measure, checksum_of_data
from nflow_cli.experiments.rows import Judgement, Summary
from nflow_cli.runs.array_shapes import Shapes
from nflow_cli.runs.directory import CONFIG, RUN, RunDirectory


class Evidence(DensityExperiment):
    """Estimate of log Z from draws, by ``nflow evidence``."""

    config: EvidenceConfig
    measures = (
        Measure("log_z", "log Z", "nats", 4),
        Measure("log_z_standard_error", "± log Z", "nats", 4, has_spread=False),
        Measure("pareto_k", "k-hat", "", 2),
        Measure("kl", "KL", "nats", 3, judges=True),
    )
    course = Course("validation_loss", "validation loss (nats)")
    columns = ("update", "loss", "validation_loss")
    shapes: ClassVar[Shapes] = {"tail": "u", "smooth_tail": "u"}
    summary_type = EvidenceSummary
    samples: ClassVar = None
    fitting = "nflow_cli.experiments.evidence.fit:run"
    drawing = "nflow_cli.plotting:evidence_figures"
    checking = "nflow_cli.experiments.evidence.checks:CheckedEvidence"
    printed = rows
    rules: ClassVar = RULES

    def data(self, run: RunDirectory | None = None) -> Any:
        from nflow_cli.data.draws import load_draws, usual_space
        from nflow_cli.experiments.data import found_again

        settings = self.config.data
        if run is None:
            return load_draws(settings)
        # A space that is not recorded was that of the name.
        space = settings.space or usual_space(settings.log_p)
        others = _other_files(run, settings.others)
        settings = settings.model_copy(update={"others": others, "space": space})
        return found_again(run, lambda name: load_draws(settings.model_copy(update={"name": name})))

    def settled(self, data: Any) -> EvidenceConfig:
        """Config with the parameters and the space named, and the folds counted."""
        settings = self.config.data
        found = {"columns": list(data.columns), "folds": data.n_folds}
        found["space"] = data.space or settings.space
        return self.config.model_copy(update={"data": settings.model_copy(update=found)})

    def notes_of_data(self, data: Any) -> Sequence[str]:
        return data.notes

    def load(self, run: RunDirectory) -> Any:
        from nflow_cli.experiments.data import column_units
        from nflow_cli.experiments.evidence.fit import built_stack
        from nflow_cli.experiments.trained import TrainedFlows
        from nflow_cli.registry import BASES, resolve

        config = self.config
        if not config.is_settled:
            raise RunDirectoryError(f"{run.path / CONFIG}: damaged: expected columns and folds")
        flow = built_stack(config)
        self.load_weights(run, flow, config.flow.model_dump(exclude_none=True), config.dim)
        base = resolve(BASES[config.base_name])()
        return TrainedFlows(run.path, self, base, flow, column_units(run, config.columns))

    def labels(self) -> dict[str, Any]:
        return {"target": None, "columns": self.config.columns}

    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        from nflow_cli.experiments.evidence import bridge
        from nflow_cli.experiments.evidence.judge import judged

        density, draws = data if isinstance(data, tuple) else (None, data)
        scores = dict(judged(trained, draws).scores)
        warnings = self.warnings({**recorded, **scores})
        if density is not None:
            bounds = self.config.data.bounds
            scores |= bridge.bridge_scores(trained, draws, density, bounds, seed)
            warnings = [*warnings, *bridge.bridge_warnings(scores)]
        shown = {"space": recorded.get("space"), **scores}
        table = [("draws", self.config.subject), *rows.judged_rows(shown, warnings)]
        more = bridge.bridge_rows(scores, warnings) if density is not None else []
        return Judgement(scores, [*table, *more], warnings)

    def data_and_density(self, run: RunDirectory, place: str) -> Any:
        from nflow_cli.experiments.infer.user_code import load_function

        user, draws = load_function(place), self.data(run)
        coordinates = list(draws.columns), self.config.data.bounds
        if user.coordinates and user.coordinates != coordinates:
            raise ConfigError(
                f"{user.name}: expected the parameters and bounds of the run, "
                f"{', '.join(draws.columns)}. Received: {', '.join(user.coordinates[0])}"
            )
        return user, draws

    def read_data(self, name: str) -> Any:
        """Refuse ``--data``: log Z is that of the run's own draws."""
        raise ConfigError("--data: expected none: a run of `nflow evidence` has draws of its own")

    def sample_columns(self, trained: Any) -> list[str]:
        return self.config.columns

    def log_evidence(self, summary: Summary) -> tuple[float | None, float | None]:
        return summary["log_z"], summary["log_z_standard_error"]

    def settings(self, summary: Summary) -> dict[str, str]:
        return checksum_of_data(summary)


def _other_files(run: RunDirectory, named: Sequence[str]) -> list[str]:
    """Recorded paths of the further files, if these still exist, or else their names."""
    data: Any = run.read_json(RUN).get("data")
    paths = data.get("paths") if isinstance(data, dict) else None
    found = paths[1:] if isinstance(paths, list) else []
    are_there = len(found) == len(named) and all(
        isinstance(path, str) and os.path.exists(path) for path in found
    )
    return found if are_there else list(named)

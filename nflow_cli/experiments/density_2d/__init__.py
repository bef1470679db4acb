"""Fits of flows to named 2-D densities by reverse KL."""

from functools import partial
from typing import Any, ClassVar

from nflow_cli.config.schema import Fit2DConfig
from nflow_cli.evaluation.warnings import (
    ScoreWarning,
    dominated,
    few_rows,
    lost_mode,
    mass,
    ruined_fit,
)
from nflow_cli.experiments.density import DensityExperiment
from nflow_cli.experiments.density_2d import rows
from nflow_cli.experiments.density_2d.summary import TargetSummary
from nflow_cli.experiments.experiment import Measure
from nflow_cli.experiments.rows import Judgement, Summary, likelihood_rows
from nflow_cli.registry import BASES, resolve
from nflow_cli.runs.array_shapes import STRIP, Shapes
from nflow_cli.runs.directory import RunDirectory


class Target(DensityExperiment):
    """Fit to a named 2-D density, by ``nflow fit-2d``."""

    config: Fit2DConfig
    measures = (
        Measure("kl", "KL", "nats", 5, judges=True),
        Measure("free_energy", "free energy", "nats", 5, judges=True),
        Measure("ess", "ESS", "", 3),
        Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
    )
    shapes: ClassVar[Shapes] = {
        **{"axis_1": "x", "axis_2": "y", "log_target": "yx", "log_base": "yx", "log_q": "yx"},
        **{"samples": ("s", 2), "base_samples": ("t", 2), "target_samples": ("u", 2), **STRIP},
    }
    summary_type = TargetSummary
    samples: ClassVar = (100, 10**7)
    fitting = "nflow_cli.experiments.density_2d.fit:run"
    drawing = "nflow_cli.plotting:fit2d_figures"
    checking = "nflow_cli.experiments.density_2d.checks:CheckedTarget"
    printed = rows
    rules: ClassVar = (partial(ruined_fit, key="free_energy", sign=1), dominated, mass, few_rows)

    def data(self, run: RunDirectory | None = None) -> None:
        """``None``: the config holds the target."""

    def load(self, run: RunDirectory) -> Any:
        from nflow_cli.experiments.trained import TrainedDensity

        base = resolve(BASES[self.config.base_name])()
        return TrainedDensity(run.path, self, base, self.load_model(run))

    def warnings(self, summary: Summary) -> list[ScoreWarning]:
        """Warnings about the scores. A lost mode explains a few large weights."""
        train, warnings = self.config.train, super().warnings(summary)
        lost = lost_mode(summary, train.annealing.share > 0)
        if lost is None:
            return warnings
        return [lost, *(warning for warning in warnings if warning.word != "dominated")]

    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        from nflow_cli.evaluation.likelihood import likelihood_of_points, tallied_points
        from nflow_cli.evaluation.target import evaluate_samples

        n = samples or self.config.evaluate.samples
        scores = evaluate_samples(trained, trained.target, seed, n).scores
        of_points = {}
        if data is not None:
            of_points = likelihood_of_points(tallied_points(trained.log_prob(data)))
        warnings = self.warnings({**recorded, **scores, **of_points})
        lines = rows.evaluated_rows(trained, scores, n, seed, warnings)
        if of_points:
            lines += likelihood_rows(of_points, warnings)
        drawn = {"samples": n, "seed": seed}
        return Judgement({**drawn, **scores, **of_points}, lines, warnings)

    def read_data(self, name: str) -> Any:
        from nflow_cli.data.point_files import read_points

        return read_points(name)

    @property
    def target_text(self) -> str:
        return self.config.target.model_dump_json()

"""Fits of flows to a log-density by reverse KL, in D dimensions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from nflow_cli.config.infer_schema import IN_PYTHON, InferConfig
from nflow_cli.errors import ConfigError
from nflow_cli.evaluation.warnings import ScoreWarning
from nflow_cli.experiments.density import DensityExperiment
from nflow_cli.experiments.experiment import Measure
from nflow_cli.experiments.infer import rows
from nflow_cli.experiments.infer.summary import InferSummary
from nflow_cli.experiments.infer.warnings import RULES
from nflow_cli.experiments.picture_data import inconsistency_with_columns
from nflow_cli.experiments.rows import Judgement, Rows, Summary
from nflow_cli.experiments.summary import read_summary
from nflow_cli.registry import INFER_BASES, make
from nflow_cli.runs.array_shapes import Shapes
from nflow_cli.runs.directory import SUMMARY, RunDirectory

NETCDF = ".nc"  # suffix


class Inference(DensityExperiment):
    """Fit to a log-density, by ``nflow infer``.

    A user's log-density is executed only when named on the command line.
    """

    config: InferConfig
    measures = (
        Measure("free_energy", "free energy", "nats", 5, judges=True),
        Measure("estimated_log_z", "log Z", "nats", 5),
        Measure("pareto_k", "k-hat", "", 2),
        Measure("ess", "ESS", "", 3),
        Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
    )
    summary_type = InferSummary
    samples: ClassVar = (1_000, 10**7)
    formats: ClassVar = (".csv", ".npy", NETCDF)
    fitting = "nflow_cli.experiments.infer.fit:run"
    trying = "nflow_cli.experiments.infer.fit:trial"
    drawing = "nflow_cli.plotting:infer_figures"
    checking = "nflow_cli.experiments.infer.checks:CheckedInference"
    printed = rows
    rules: ClassVar = RULES

    @property
    def shapes(self) -> Shapes:
        points: Shapes = {"rows": ("t", self.config.dim), "samples": ("s", self.config.dim)}
        return {**points, "columns_shown": "c", "tail": "u", "smooth_tail": "u"}

    def data(self, run: RunDirectory | None = None) -> Any:
        """Built-in density; a user's is never executed from a config."""
        density = self.config.density
        if density.is_built_in:
            from nflow_cli.backend.start import start_tensorflow

            start_tensorflow()  # before what imports it
            from nflow_cli.experiments.infer.subject import built_in

            return built_in(self.config)
        where = f"of {density.path}" if density.path != IN_PYTHON else "of Python"
        if run is None:
            raise ConfigError(
                f"density: a function {where}, never executed from a preset; name it: "
                f"nflow infer FILE.py:{density.name}"
            )
        raise ConfigError(
            f"{run.path}: fitted to {density.name} {where}, never executed from a run directory; "
            f"name it: --density FILE.py:{density.name}"
        )

    def density_again(self, place: str) -> Any:
        from nflow_cli.experiments.infer.subject import subject_again

        return subject_again(self.config, place)

    @property
    def resuming(self) -> Sequence[str]:
        density = self.config.density
        if density.is_built_in:
            return []
        path = "FILE.py" if density.path == IN_PYTHON else density.path
        return ["--density", f"{path}:{density.name}"]

    def notes_of_data(self, data: Any) -> Sequence[str]:
        return data.notes

    def load(self, run: RunDirectory) -> Any:
        from nflow_cli.densities.log_density import units_of
        from nflow_cli.experiments.trained import TrainedInference

        density, base = self.config.density, make(INFER_BASES, self.config.base)
        units = units_of(density.columns, density.bounds)
        return TrainedInference(run.path, self, base, self.load_model(run), units)

    def load_model(self, run: RunDirectory) -> Any:
        """Trained flow stack, or the stacks of a mixture."""
        from nflow_cli.experiments.infer.members import weighted_stacks

        if (count := self._members(run)) == 1:
            return super().load_model(run)
        flow = weighted_stacks(self.config, count)
        self.load_weights(
            run, flow, self.config.flow.model_dump(exclude_none=True), self.config.dim
        )
        return flow

    def _members(self, run: RunDirectory) -> int:
        return len(read_summary(run, self)["member_weights"]) if run.has(SUMMARY) else 1

    def labels(self) -> dict[str, Any]:
        facts = {"target": self.config.subject, "base": self.config.base_name}
        return {**facts, "columns": self.config.density.columns}

    def rows(self, summary: Summary, warnings: Sequence[ScoreWarning]) -> Rows:
        return rows.rows_of(summary, self.config.length, warnings, self.truth)

    @property
    def truth(self) -> Mapping[str, tuple[float, float]]:
        """Known moments of a built-in density."""
        from nflow_cli.experiments.infer.subject import built_in

        density = self.config.density
        known = built_in(self.config).target.moments if density.is_built_in else {}
        return {density.columns[i]: moments for i, moments in known.items()}

    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        from nflow_cli.evaluation.inference import judge, sample_size
        from nflow_cli.experiments.infer.starts import starts_of

        n = samples or sample_size(self.config.evaluate.samples, trained.inside.members)
        parts = trained.inside, data.target, trained.units, trained.columns
        scores = judge(*parts, seed, n, starts_of(self.config)).scores
        warnings = self.warnings({**recorded, **scores})
        flow = ("flow", f"{self.config.flow.text}, K = {self.config.flow.k}")
        head = [("density", self.config.subject), flow, ("samples", f"{n:,}, seed {seed}")]
        table = head + rows.judged_rows(scores, warnings, self.truth)
        return Judgement({"samples": n, "seed": seed, **scores}, table, warnings)

    def read_data(self, name: str) -> Any:
        """Refuse ``--data``: a density is judged by draws."""
        raise ConfigError("--data: expected none: a run of `nflow infer` is scored by its draws")

    def sample_columns(self, trained: Any) -> list[str]:
        return trained.columns

    def settings(self, summary: Summary) -> dict[str, str]:
        sha256 = self.config.density.sha256
        return {} if sha256 is None else {"density.sha256": sha256[:12]}

    def log_evidence(self, summary: Summary) -> tuple[float | None, float | None]:
        return summary["estimated_log_z"], summary["log_z_standard_error"]

    def inconsistency(self, arrays: Mapping[str, Any], summary: Summary) -> str:
        return inconsistency_with_columns(arrays, summary, self.config.density.columns)

    def write_samples(
        self, trained: Any, n: int, path: Path, seed: int, given: str | None = None
    ) -> list[Path]:
        if path.suffix.lower() != NETCDF:
            return super().write_samples(trained, n, path, seed, given)
        from nflow_cli.experiments.inference_data import write_draws

        return write_draws(trained, trained.target, n, path, seed)

    def write_beside_density(
        self, trained: Any, data: Any, n: int, path: Path, seed: int, resample: bool
    ) -> tuple[list[Path], str]:
        from nflow_cli.evaluation.inference import effective_share, resampled
        from nflow_cli.evaluation.weights_verdict import verdict
        from nflow_cli.experiments import inference_data
        from nflow_cli.runs.samples_file import write_rows

        if not resample:
            return inference_data.write_draws(trained, data.target, n, path, seed), ""
        points, weights = resampled(trained.inside, data.target, trained.units, seed, n)
        if path.suffix.lower() == NETCDF:
            paths = inference_data.write_points(trained, data.target, points, path)
        else:
            paths = write_rows(path, trained.columns, n, [points], points.dtype)
        share, k = effective_share(weights.shares), weights.k
        note = f"resampled from {len(weights.shares):,} draws by weights of ESS {share:.3f}"
        return paths, f"{note}, k-hat {k:.2f}: {verdict(k)}"

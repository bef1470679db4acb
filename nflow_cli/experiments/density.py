"""Base of experiments with a flow stack over a base."""

from pathlib import Path
from typing import Any, ClassVar

from nflow_cli.config.schema import EvidenceConfig, Fit2DConfig, FitConfig, InferConfig
from nflow_cli.experiments.experiment import Course, Experiment
from nflow_cli.runs.directory import RunDirectory


class DensityExperiment(Experiment):
    """Fit of a flow density."""

    config: EvidenceConfig | Fit2DConfig | FitConfig | InferConfig
    column = "update"
    formats: ClassVar = (".csv", ".npy")
    course = Course("kl", "KL (nats)", otherwise="free energy (nats)")
    columns = ("update", "loss", "kl", "beta")

    def expect_fits(self, data: Any) -> None:
        """Accept any number of rows: batches are drawn with replacement."""

    def labels(self) -> dict[str, Any]:
        target = self.config.target
        return {"target": target and target.name, "base": self.config.base_name}

    def load_model(self, run: RunDirectory) -> Any:
        """Trained flow stack."""
        from nflow_cli.flows.side_by_side import make_stack

        config = self.config
        flow = make_stack(
            **config.flow.model_dump(), seed=config.seed, members=self.config.train.members
        )
        flow.build((None, config.dim))
        arguments = config.flow.model_dump(exclude_none=True)
        self.load_weights(run, flow, arguments, config.dim)
        return flow

    @property
    def undrawn(self) -> str:
        members, flow = self.config.train.members, self.config.flow
        reasons = {
            f"D = {self.config.dim}": self.config.dim != 2,
            f"an ensemble of {members}": members > 1,
            "K = 0": not flow.k and not flow.affine,
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    def sample_columns(self, trained: Any) -> list[str]:
        """Names of coordinates in a file of samples."""
        return [f"z{i + 1}" for i in range(trained.dim)]

    def write_samples(
        self, trained: Any, n: int, path: Path, seed: int, given: str | None = None
    ) -> list[Path]:
        import numpy as np

        from nflow_cli.runs.samples_file import write_rows

        rows = (np.column_stack([x, log_q]) for _, x, log_q in trained.batches(n, seed))
        columns = [*self.sample_columns(trained), "log_q"]
        return write_rows(path, columns, n, rows, trained.dtype)

"""Points, or rows of a table, fitted by maximum likelihood."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nflow_cli.evaluation import caveats as cautions
from nflow_cli.evaluation.caveats import Caveat, ruined_fit
from nflow_cli.experiments.density import DensityExperiment
from nflow_cli.experiments.experiment import (
    Identity,
    Measure,
    checksum_of_data,
    expect_named_data,
)
from nflow_cli.experiments.rows import Rows, Summary, likelihood_rows
from nflow_cli.experiments.table import pictures, rows
from nflow_cli.registry import POINT_SETS
from nflow_cli.runs.directory import RunDirectory

if TYPE_CHECKING:
    from nflow_cli.experiments.checked_run import CheckedRun
    from nflow_cli.training.programs import Programs


class Table(DensityExperiment):
    """A fit to points."""

    name = "table"
    measures = (
        Measure("log_likelihood", "log-likelihood", "nats", 4, judges=True, sign=-1),
        Measure("gaussian_log_likelihood", "of a Gaussian", "nats", 4),
        Measure("gap", "gap to the truth", "nats", 4),
        Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
    )
    shapes, columns, summary_form = pictures.SHAPES, pictures.COLUMNS, pictures.TableSummary
    samples: ClassVar = None

    def data(self, run: RunDirectory | None = None) -> Any:
        """Load the points, or those that a run was fitted to."""
        from nflow_cli.data.points import load_point_data
        from nflow_cli.experiments.data import points_of

        seed, size = self.config.seed, self.config.data and self.config.data.size
        if run is not None:
            return points_of(run, seed, size)
        return load_point_data(self.config.subject, seed, size)

    def caveats_of_data(self, data: Any) -> list[Caveat]:
        """Tell of values that repeat."""
        caveat = cautions.atoms({"atoms": data.atoms})
        return [caveat] if caveat else []

    def fit(self, run: RunDirectory, data: Any, programs: "Programs | None") -> dict[str, Any]:
        """Train, judge and save; return the summary."""
        from nflow_cli.experiments.table import fit as table_fit

        return table_fit.run(self.config, run, data)

    def load(self, run: RunDirectory) -> Any:
        """Return the density that was trained, in the units of the points."""
        from nflow_cli.experiments.data import units_of
        from nflow_cli.experiments.trained import TrainedDensity

        units = units_of(run, self.config.dim)
        return TrainedDensity(run.path, self.config, self.load_model(run), units)

    def ruined(self, summary: Summary) -> Caveat | None:
        """Tell a fit that is worse than its base."""
        return ruined_fit(summary, "log_likelihood", sign=-1)

    def rows(self, summary: Summary, caveats: Sequence[Caveat]) -> Rows:
        """Return the rows of the table that a training ends with."""
        return rows.rows_of(summary, self.length, caveats)

    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> tuple[Rows, list[Caveat]]:
        """Judge a fit by its test points, or by other points."""
        from nflow_cli.data.points import PointData
        from nflow_cli.evaluation.scores import gap_to_the_truth, held_out_scores, likelihood
        from nflow_cli.experiments.data import is_data_of

        caveats, flow = self.caveats(recorded), self.config.flow
        lines = [
            ("data", self.config.subject),
            ("flow", f"{flow.text}, K = {flow.k}"),
        ]
        if isinstance(data, PointData):
            scores = held_out_scores(trained, data) | gap_to_the_truth(trained, data.name, seed)
            return lines + rows.held_out_rows(scores, caveats), caveats
        if is_data_of(RunDirectory(trained.path), data):
            caveats.append(cautions.TRAINED_ON)
        return lines + likelihood_rows(likelihood(trained, data), caveats), caveats

    def identity(self, summary: Summary) -> Identity:
        """Return the name of the points, the flow and K."""
        return self.identity_of(summary["data"]["name"])

    def settings(self, summary: Summary) -> dict[str, str]:
        """Tell points of one name apart, unless they are drawn from the seed."""
        if summary["data"]["name"] in POINT_SETS:
            return {}
        return checksum_of_data(summary)

    def expect_comparable(self, run: RunDirectory, summary: Summary) -> None:
        """See that the summary names the data."""
        expect_named_data(run, summary)

    def draw(self, *arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Return the pictures by name."""
        from nflow_cli import plotting

        return plotting.points_figures(*arrays)

    def checked(self, run: RunDirectory, trained: Any) -> "CheckedRun":
        """Return a run to be checked."""
        from nflow_cli.experiments.table.checks import CheckedTable

        return CheckedTable(run, trained, self)

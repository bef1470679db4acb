"""Points in the plane, as ``nflow fit-2d --data`` fits them: drawn and split by the run's seed."""

from typing import Any

from nflow_cli.config.schema import Fit2DConfig
from nflow_cli.evaluation import caveats as cautions
from nflow_cli.evaluation.caveats import Caveat
from nflow_cli.experiments.experiment import checksum_of_data
from nflow_cli.experiments.rows import Rows, Summary, likelihood_rows
from nflow_cli.experiments.table.likelihood import Likelihood
from nflow_cli.registry import POINT_SETS
from nflow_cli.runs.directory import RunDirectory


class Points(Likelihood):
    """A fit to points."""

    config: Fit2DConfig
    from_start = False

    def data(self, run: RunDirectory | None = None) -> Any:
        """Load the points, or those that a run was fitted to."""
        from nflow_cli.data.points import load_point_data
        from nflow_cli.experiments.data import found_again

        seed, size = self.config.seed, self.config.data and self.config.data.size
        if run is None:
            return load_point_data(self.config.subject, seed, size)
        return found_again(run, lambda name: load_point_data(name, seed, size))

    def caveats_of_data(self, data: Any) -> list[Caveat]:
        """Tell of values that repeat."""
        caveat = cautions.atoms({"atoms": data.atoms})
        return [caveat] if caveat else []

    def load(self, run: RunDirectory) -> Any:
        """Return the density that was trained, in the units of the points."""
        from nflow_cli.experiments.data import units_of
        from nflow_cli.experiments.trained import TrainedDensity

        units = units_of(run, self.config.dim)
        return TrainedDensity(run.path, self.config, self.load_model(run), units)

    def scores_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Judge a density by the test points."""
        from nflow_cli.evaluation.scores import held_out_scores

        return held_out_scores(density, data)

    def arrays_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Return what the pictures are drawn from."""
        from nflow_cli.evaluation.table import density_of_points

        return density_of_points(density, data, self.config.seed)

    def judged(self, trained: Any, data: Any, caveats: list[Caveat]) -> tuple[dict[str, Any], Rows]:
        """Judge a fit by other points."""
        from nflow_cli.data.points import checksum
        from nflow_cli.evaluation.scores import likelihood
        from nflow_cli.experiments.data import is_data_of

        if is_data_of(RunDirectory(trained.path), checksum(data)):
            caveats.append(cautions.TRAINED_ON)
        scores = likelihood(trained, data)
        if few := cautions.few_rows(scores):
            caveats.append(few)
        return scores, likelihood_rows(scores, caveats)

    def settings(self, summary: Summary) -> dict[str, str]:
        """Tell points of one name apart, unless they are drawn from the seed."""
        return {} if summary["data"]["name"] in POINT_SETS else checksum_of_data(summary)

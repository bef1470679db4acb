"""A fit to a table that is checked."""

from nflow_cli.experiments import density_checks
from nflow_cli.experiments.checked_run import CheckedDensity, Checks


class CheckedTable(CheckedDensity):
    """A run on points."""

    @property
    def data_checks(self) -> Checks:
        """Checks of what it was trained on, by name."""
        return {"data": density_checks.check_points}

    @property
    def score_checks(self) -> Checks:
        """Checks of its scores and pictures, by name."""
        scores: Checks = {"summary": density_checks.check_held_out}
        if self.config.dim != 2:
            return {**scores, "arrays": density_checks.check_arrays_of_rows}
        in_the_plane = {"arrays": density_checks.check_arrays_of_points}
        return {"mass": density_checks.check_mass, **scores, **in_the_plane}

    def training_facts(self) -> tuple[dict[str, int | None], list[str]]:
        """Return the update whose weights were kept."""
        return {"best_update": self.best_at("validation_loss")}, []

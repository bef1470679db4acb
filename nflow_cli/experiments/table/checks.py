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
        return {
            "mass": density_checks.check_mass,
            "summary": density_checks.check_held_out,
            "arrays": density_checks.check_arrays_of_points,
        }

    def training_facts(self) -> tuple[dict[str, int | None], list[str]]:
        """Return the update whose weights were kept."""
        return {"best_update": self.best_at("validation_loss")}, []

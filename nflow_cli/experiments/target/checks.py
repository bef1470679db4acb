"""A fit to a target that is checked."""

from nflow_cli.experiments import density_checks
from nflow_cli.experiments.checked_flows import CheckedDensity
from nflow_cli.experiments.checked_run import Checks


class CheckedTarget(CheckedDensity):
    """A run on a target."""

    @property
    def score_checks(self) -> Checks:
        """Checks of its scores and pictures, by name."""
        return {
            "mass": density_checks.check_mass,
            "summary": density_checks.check_replay,
            "fresh draws": density_checks.check_fresh,
            "modes": density_checks.check_modes,
            "arrays": density_checks.check_arrays,
        }

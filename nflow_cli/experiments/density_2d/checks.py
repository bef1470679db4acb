"""Checks of a fit to a 2-D target."""

from nflow_cli.experiments import density_checks
from nflow_cli.experiments.checked_flows import CheckedDensity
from nflow_cli.experiments.checked_run import Checks


class CheckedTarget(CheckedDensity):
    """A run of ``nflow fit-2d`` to check."""

    @property
    def score_checks(self) -> Checks:
        """Checks of scores and pictures."""
        return {
            "mass": density_checks.check_mass,
            "summary": density_checks.check_replay,
            "fresh draws": density_checks.check_fresh,
            "modes": density_checks.check_modes,
            "arrays": density_checks.check_arrays,
        }

"""A fit to a target that is checked."""

from typing import Any

from nflow_cli.config.strict import MAX_SEED
from nflow_cli.experiments import density_checks
from nflow_cli.experiments.checked_run import CheckedDensity, Checks, differences
from nflow_cli.runs.directory import SUMMARY


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

    def training_facts(self) -> tuple[dict[str, int | None], list[str]]:
        """Say what the summary tells wrongly of the restart that was kept."""
        restarts: Any = self.summary.get("restarts")
        count = self.config.train.restarts
        try:
            best = int(restarts["best"])
            of_the_best = {key: restarts[key][best] for key in ("kl", "updates")}
            of_each = {len(restarts["kl"]), len(restarts["updates"])}
        except (KeyError, IndexError, TypeError, ValueError):
            return {}, [f"{SUMMARY}: restarts: damaged: received {restarts!r:.80}"]
        expected = {"count": count, "seed": (self.config.seed + best) % (MAX_SEED + 1)}
        wrong = differences(f"{SUMMARY}: restarts", expected, restarts)
        whole = {"kl": self.summary.get("kl"), "updates": self.length}
        wrong += differences(f"{SUMMARY}: the restart kept", whole, of_the_best)
        if best not in range(count) or of_each != {count}:
            wrong.append(f"{SUMMARY}: restarts: expected {count} of them")
        return {}, wrong

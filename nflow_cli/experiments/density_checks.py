"""Checks of a density: its mass, its scores, and the arrays that its pictures are drawn from."""

import math
from collections.abc import Callable

import numpy as np

from nflow_cli.arguments import MAX_SEED
from nflow_cli.evaluation.grids import Grid
from nflow_cli.evaluation.scores import mass_of
from nflow_cli.evaluation.table import deformation_samples, shown_tests
from nflow_cli.evaluation.target import evaluate_samples, missed_share, values_at
from nflow_cli.evaluation.verdicts import Outcome, Verdict, passed
from nflow_cli.evaluation.warnings import is_dominated
from nflow_cli.experiments.checked_flows import CheckedDensity
from nflow_cli.experiments.checked_run import agree, unlike
from nflow_cli.random_streams import stream
from nflow_cli.runs.array_shapes import SHOWN_SAMPLES
from nflow_cli.runs.directory import EVALUATION

MASS_TOLERANCE, BOUNDED_MASS_TOLERANCE = 1e-3, 5e-3  # a density that jumps is harder to sum
# Of a mass that is computed again: cells are divided by differences that rounding may move.
MASS_REPLAY_TOLERANCE = 3e-6
SIGMAS = 4.0
AS_GIVEN = f"{EVALUATION}: as the model gives it"
GRID_POINTS = 20_000  # at which the densities of a picture are computed again


def check_mass(run: CheckedDensity) -> Verdict:
    """Integrate ``q`` where its samples are; what could not be resolved is no failure."""
    bounded = run.trained.base.bounded
    tolerance = BOUNDED_MASS_TOLERANCE if bounded else MASS_TOLERANCE
    mass, error = mass_of(run.trained, run.config.seed)
    if math.isnan(mass):
        return Outcome.FAIL, "q has samples that are not finite"
    text = f"{mass:.5f} ± {error:.5f}, {run.score('mass'):.5f} in the summary"
    if not all(abs(value - 1) <= tolerance + error for value in (mass, run.score("mass"))):
        return Outcome.FAIL, text
    scores = {"mass": mass, "mass_error": error}
    return agree(run, scores, "from the same draws", MASS_REPLAY_TOLERANCE + 0.05 * error)


def check_replay(run: CheckedDensity) -> Verdict:
    """Compute the summary's scores again, from its own draws."""
    return agree(run, run.evaluation.summary, "from the same draws")


def check_fresh(run: CheckedDensity) -> Verdict:
    """Compute the summary's scores from fresh draws, within 4 standard errors of both."""
    density, seed = run.trained, (run.config.seed + 1) % (MAX_SEED + 1)
    fresh = evaluate_samples(density, density.target, seed, run.config.evaluate.samples).scores
    same = run.evaluation.scores
    errors = {"kl": "kl_standard_error", "free_energy": "kl_standard_error"}
    if not (is_dominated(fresh) or is_dominated(same)):
        errors["ess"] = "ess_standard_error"
    right, shown = True, []
    for key, error in errors.items():
        if fresh[key] is None:
            continue
        combined = math.hypot(fresh[error], same[error])
        away = abs(fresh[key] - run.score(key)) / max(combined, 1e-7)
        right = right and away <= SIGMAS
        shown.append(f"{key} {fresh[key]:.5f} ({away:.1f} s.e. away)")
    if "ess" not in errors:
        shown.append("ess not compared: a few samples outweigh the others")
    return passed(right), ", ".join(shown)


def check_modes(run: CheckedDensity) -> Verdict:
    """Compute again which share of the target lies where the fit has nearly no mass."""
    share = missed_share(run.trained, run.trained.target, run.config.seed)
    return agree(run, share, "from exact draws of the target")


def check_arrays(run: CheckedDensity) -> Verdict:
    """Compute again what the pictures of a fit to a target are drawn from."""
    density, n = run.trained, SHOWN_SAMPLES
    target, z0 = density.target, run.evaluation.first.z0[:n]
    wrong = run.unlike("samples", run.evaluation.first.x[:n]) + run.unlike("base_samples", z0)
    if target.sample is not None:
        drawn = target.sample(stream(run.config.seed, "target-samples"), n)
        wrong += run.unlike("target_samples", drawn)

    def at(points: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "log_target": values_at(target.log_prob, points),
            "log_base": values_at(density.base.log_prob, points),
            "log_q": density.log_prob(points),
        }

    wrong += _unlike_grid(run, at)
    wrong += _unlike_strip(run, lambda panels: density.partial_samples(z0, panels))
    return passed(not wrong), "; ".join(wrong) or AS_GIVEN


def check_arrays_of_points(run: CheckedDensity, rows: int) -> Verdict:
    """Compute again what the pictures of a fit to points are drawn from, so many test points."""
    density, seed = run.trained, run.config.seed
    wrong = run.unlike("samples", density.sample(SHOWN_SAMPLES, seed))
    wrong += run.unlike("test_points", shown_tests(run.data, seed)[:rows])
    wrong += _unlike_grid(run, lambda points: {"log_q": density.log_prob(points)})
    wrong += _unlike_strip(run, lambda panels: deformation_samples(density, panels, seed))
    return passed(not wrong), "; ".join(wrong) or AS_GIVEN


def _unlike_grid(
    run: CheckedDensity, at: Callable[[np.ndarray], dict[str, np.ndarray]]
) -> list[str]:
    """Compare densities on the grid of the pictures with those ``at`` some of its points."""
    points, chosen = _grid_points(run, "axis_1", "axis_2")
    wrong = []
    for key, expected in at(points).items():
        received = run.arrays[key].ravel()[chosen]
        wrong += unlike(f"{EVALUATION}: {key}", expected, received, nats=True)
    return wrong


def _unlike_strip(run: CheckedDensity, drawn: Callable[[list[int]], np.ndarray]) -> list[str]:
    """Compare the densities after the first k flows, at some points of their grid, and draws."""
    points, chosen = _grid_points(run, "deformation_axis_1", "deformation_axis_2")
    panels, density = run.arrays["deformation_k"], run.trained
    if not np.isin(panels, range(density.flow.length + 1)).all():
        return [f"{EVALUATION}: deformation_k: expected numbers of flows, received {panels}"]
    strip = run.arrays["log_deformation"].reshape(len(panels), -1)[:, chosen]
    log_q = density.partial_log_densities(dict.fromkeys(panels.tolist(), points))
    expected = np.stack([log_q[k] for k in panels.tolist()])
    wrong = unlike(f"{EVALUATION}: log_deformation", expected, strip, nats=True)
    return wrong + run.unlike("deformation_samples", drawn(panels.tolist()))


def _grid_points(run: CheckedDensity, *axes: str) -> tuple[np.ndarray, np.ndarray]:
    """Choose points of a grid: return them ``(m, 2)``, and their indices."""
    grid = Grid(*(run.arrays[name].astype(np.float64) for name in axes))
    chosen = stream(run.config.seed, "check-grid").permutation(len(grid))[:GRID_POINTS]
    return grid.at(chosen), chosen

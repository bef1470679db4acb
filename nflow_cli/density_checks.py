"""Checks of a density: its mass, its figures, and the arrays that its pictures are drawn from."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.caveats import is_dominated
from nflow_cli.checked_run import CheckedDensity, agree, differences, unlike
from nflow_cli.evaluation import (
    SHOWN_SAMPLES,
    evaluate_samples,
    partial_log_densities,
    partial_samples,
    pushed_samples,
    score,
)
from nflow_cli.flow_checks import Outcome, Verdict, passed
from nflow_cli.points_evaluation import SHOWN_POINTS, deformation_samples
from nflow_cli.run_dir import EVALUATION, RUN, SUMMARY
from nflow_cli.schema import MAX_SEED
from nflow_cli.scores import held_out_figures, log_ratios, mass_of
from nflow_cli.streams import stream

MASS_TOLERANCE, BOUNDED_MASS_TOLERANCE = 1e-3, 5e-3  # a density that jumps is harder to sum
# Of a mass that is computed again: cells are divided by differences that rounding may move.
MASS_REPLAY_TOLERANCE = 3e-6
SIGMAS = 4.0
AS_GIVEN = f"{EVALUATION}: as the model gives it"
GRID_POINTS = 20_000  # at which the densities of a picture are computed again
OF_A_TARGET = ("kl", "kl_standard_error", "free_energy", "ess", "log_z", "log_z_source")


def check_mass(run: CheckedDensity) -> Verdict:
    """Integrate ``q`` where its samples are; what could not be resolved is no failure."""
    bounded = run.trained.base.bounded
    tolerance = BOUNDED_MASS_TOLERANCE if bounded else MASS_TOLERANCE
    mass, error = mass_of(run.trained)
    if math.isnan(mass):
        return Outcome.FAIL, "q has samples that are not finite"
    text = f"{mass:.5f} ± {error:.5f}, {run.figure('mass'):.5f} in the summary"
    if not all(abs(value - 1) <= tolerance + error for value in (mass, run.figure("mass"))):
        return Outcome.FAIL, text
    if run.is_older:  # it may have summed otherwise
        return Outcome.OK, text
    figures = {"mass": mass, "mass_error": error}
    return agree(run, figures, "from the same draws", MASS_REPLAY_TOLERANCE + 0.05 * error)


def check_replay(run: CheckedDensity) -> Verdict:
    """Compute the summary's figures again, from its own draws."""
    samples = run.config.evaluate.samples
    figures, _, _ = evaluate_samples(*_parts(run), run.config.seed, samples)
    return agree(run, figures, "from the same draws")


def _parts(run: CheckedDensity) -> tuple[Any, Any, Any]:
    return run.trained.flow, run.trained.base, run.trained.target


def check_fresh(run: CheckedDensity) -> Verdict:
    """Compute the summary's figures from fresh draws, within 4 standard errors of both."""
    fresh = _scores(run, (run.config.seed + 1) % (MAX_SEED + 1))
    same = _scores(run, run.config.seed)
    errors = {"kl": "kl_standard_error", "free_energy": "kl_standard_error"}
    if not (is_dominated(fresh) or is_dominated(same)):
        errors["ess"] = "ess_standard_error"
    right, shown = True, []
    for key, error in errors.items():
        if fresh[key] is None:
            continue
        combined = math.hypot(fresh[error], same[error])
        away = abs(fresh[key] - run.figure(key)) / max(combined, 1e-7)
        right = right and away <= SIGMAS
        shown.append(f"{key} {fresh[key]:.5f} ({away:.1f} s.e. away)")
    if "ess" not in errors:
        shown.append("ess not compared: a few samples outweigh the others")
    return passed(right), ", ".join(shown)


def _scores(run: CheckedDensity, seed: int) -> dict[str, Any]:
    """Return the figures of a fit to a target from as many samples as its summary's."""
    ratios = log_ratios(run.trained, run.config.evaluate.samples, seed)
    return score(ratios, getattr(run.trained.target, "log_z", None))


def check_points(run: CheckedDensity) -> Verdict:
    """Find the points again, and the standardisation that they give."""
    data, units = run.data, run.trained.units
    expected = {**data.sizes, "data": {"name": data.name, "sha256": data.sha256}}
    if not run.lacks("atoms"):
        expected["atoms"] = list(data.atoms)
    wrong = differences(SUMMARY, expected, run.summary)
    for key, value in data.units.record().items():
        recorded = units.record()[key]
        if not np.allclose(recorded, value, rtol=1e-9, atol=0):  # sums differ between machines
            wrong.append(f"{RUN}: {key}: expected {value}, received {recorded}")
    text = f"{sum(data.sizes.values()):,} points found again"
    return passed(not wrong), "; ".join(wrong) or text


def check_held_out(run: CheckedDensity) -> Verdict:
    """Compute the summary's figures again, from the test points."""
    figures = held_out_figures(run.trained, run.data) | dict.fromkeys(OF_A_TARGET)
    return agree(run, figures, "from the test points")


def check_arrays(run: CheckedDensity) -> Verdict:
    """Compute again what the pictures of a fit to a target are drawn from."""
    flow, base, target = _parts(run)
    seed, n = run.config.seed, SHOWN_SAMPLES
    z0, z, _ = next(pushed_samples(flow, base, target, seed, run.config.evaluate.samples))
    wrong = run.unlike("samples", z[:n]) + run.unlike("base_samples", z0[:n])
    if exact := getattr(target, "sample", None):
        wrong += run.unlike("target_samples", exact(stream(seed, "target-samples"), n))

    def at(points: np.ndarray) -> dict[str, Any]:
        z = ops.convert_to_tensor(points.astype(np.float32))
        return {
            "log_target": ops.convert_to_numpy(target.log_prob(z)),
            "log_base": ops.convert_to_numpy(base.log_prob(z)),
            "log_q": run.trained.log_prob(points),
        }

    # The last panel holds log_q at the points of its grid that are nearest.
    before = run.arrays["deformation_k"] < flow.k
    drawn = partial(partial_samples, flow, z0[:n])
    wrong += _unlike_grid(run, at) + _unlike_strip(run, lambda z: z, 0.0, before, drawn)
    return passed(not wrong), "; ".join(wrong) or AS_GIVEN


def check_arrays_of_points(run: CheckedDensity) -> Verdict:
    """Compute again what the pictures of a fit to points are drawn from."""
    trained, units = run.trained, run.trained.units
    # An older run shows no more draws than it was judged by.
    n = len(run.arrays["samples"]) if run.is_older else SHOWN_POINTS
    wrong = run.unlike("samples", trained.sample(n, seed=run.config.seed))
    wrong += run.unlike("test_points", run.data.test[:SHOWN_POINTS])
    wrong += _unlike_grid(run, lambda points: {"log_q": trained.log_prob(points)})
    every = np.full(len(run.arrays["deformation_k"]), True)
    drawn = partial(deformation_samples, trained)
    wrong += _unlike_strip(run, units.inside, units.log_det, every, drawn)
    return passed(not wrong), "; ".join(wrong) or AS_GIVEN


def _unlike_grid(run: CheckedDensity, at: Callable[[np.ndarray], dict[str, Any]]) -> list[str]:
    """Compare densities on the grid of the pictures with those ``at`` some of its points."""
    points, chosen = _grid_points(run, "axis_1", "axis_2")
    wrong = []
    for key, expected in at(points).items():
        received = run.arrays[key].ravel()[chosen]
        wrong += unlike(f"{EVALUATION}: {key}", expected, received, nats=True)
    return wrong


def _unlike_strip(
    run: CheckedDensity,
    inside: Callable[[np.ndarray], np.ndarray],
    log_det: float,
    compared: np.ndarray,
    drawn: Callable[[list[int]], np.ndarray],
) -> list[str]:
    """Compare the densities after the first k flows, at some points of their grid, and draws."""
    points, chosen = _grid_points(run, "deformation_axis_1", "deformation_axis_2")
    panels, flow = run.arrays["deformation_k"], run.trained.flow
    if not np.isin(panels, range(flow.k + 1)).all():
        return [f"{EVALUATION}: deformation_k: expected numbers of flows, received {panels}"]
    strip = run.arrays["log_deformation"].reshape(len(panels), -1)[:, chosen]
    grids = dict.fromkeys(panels[compared].tolist(), inside(points).astype(np.float32))
    log_q = partial_log_densities(flow, run.trained.base, grids)
    expected = [log_q[k].astype(np.float64) + log_det for k in panels[compared].tolist()]
    name = f"{EVALUATION}: log_deformation"
    wrong = unlike(name, np.reshape(expected, (-1, len(chosen))), strip[compared], nats=True)
    if "deformation_samples" in run.arrays:
        wrong += run.unlike("deformation_samples", drawn(panels.tolist()))
    elif not run.is_older:
        wrong.append(f"{EVALUATION}: deformation_samples: missing")
    return wrong


def _grid_points(run: CheckedDensity, *axes: str) -> tuple[np.ndarray, np.ndarray]:
    """Choose points of a grid: return them ``(m, 2)``, and their indices."""
    first, second = (run.arrays[name].astype(np.float64) for name in axes)
    shape = (len(second), len(first))
    rng = stream(run.config.seed, "check-grid")
    chosen = rng.permutation(math.prod(shape))[:GRID_POINTS]
    rows, columns = np.unravel_index(chosen, shape)
    return np.stack([first[columns], second[rows]], axis=-1), chosen

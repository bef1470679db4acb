import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from keras import ops

from nflow_cli.experiments.comparison import Outcome
from nflow_cli.experiments.flow_checks import (
    Flows,
    check_log_det,
    check_margin,
    check_round_trip,
    jacobian,
)
from nflow_cli.flows.affine import Affine
from nflow_cli.flows.composition import Composition
from nflow_cli.flows.planar import Planar
from nflow_cli.flows.radial import Radial


def flows_of(name, raw, points=None):
    """Return flows with raw weights ``(repeats, *shape)``."""
    k = len(next(iter(raw.values()), [0]))
    laid_out = {key: value[..., None] for key, value in raw.items()}
    maps = Composition([name], [MAPS[name]], [laid_out], k)
    return Flows(maps, np.zeros((1, 2)) if points is None else points)


MAPS = {"planar": Planar(), "radial": Radial(), "affine": Affine()}


def planar(w_scale=1.0, u_scale=1.0):
    rng = np.random.default_rng(0)
    u, w = u_scale * rng.normal(size=(3, 2)), w_scale * rng.normal(size=(3, 2))
    return flows_of("planar", {"u": u, "w": w, "b": np.zeros(3)}, rng.normal(size=(100, 2)))


def nearly_no_bijection():
    """Return planar flows the least ``1 + w.û`` of which is 1e-30, and their like for radial ones.

    At the crease the first nearly folds; a radial flow stretches its centre by ten million.
    """
    flows = planar()
    (raw,) = flows.maps.weights
    w = raw["w"][..., 0] / np.linalg.norm(raw["w"][..., 0], axis=1, keepdims=True)
    folding = flows_of("planar", {"u": -69 * w, "w": w, "b": np.zeros(3)}, flows.points)
    centers = np.array([[0.0, 0], [0.1, 0], [0, 0.1]])
    radial = {"center": centers, "alpha": np.full(3, -12.0), "beta": np.full(3, 60.0)}
    return [folding, flows_of("radial", radial, flows.points)]


SOUND = [planar(), planar(30.0), planar(30.0, 30.0), planar(1.0, 1e3), *nearly_no_bijection()]


def test_sound_flows_pass_however_steep_they_are():
    for flows in SOUND:
        outcome, detail = check_round_trip(flows)
        assert outcome == Outcome.OK, detail
        assert check_log_det(flows)[0] == Outcome.OK


@dataclass(frozen=True)
class Wrong(Flows):
    """The same flows, with an inverse or a log-determinant that is off by ``by``."""

    at: str = "points"
    by: float = 1e-6

    def run(self, points, inverse=False, dtype="float64"):
        moved, log_det = super().run(points, inverse, dtype)
        if inverse:
            moved = moved + self.by * (self.at == "points") + self.by * moved * (self.at == "scale")
        return moved, log_det + self.by * (self.at == "log_det")


class Reversed(Flows):
    """An inverse that undoes the flows in the order in which they were done."""

    def run(self, points, inverse=False, dtype="float64"):
        if not inverse:
            return super().run(points, inverse, dtype)
        for step in self.maps.map_weights(
            lambda weight: ops.convert_to_tensor(weight, dtype)
        ).steps():
            moved = step.run(ops.convert_to_tensor(points, dtype), inverse=True)
            points, log_det = (ops.convert_to_numpy(array).astype(float) for array in moved)
        return points, log_det


WRONG = list(itertools.product(range(len(SOUND)), ["points", "scale", "log_det", "order"]))
# Each in the gentlest, and two each in the steepest and in the last; the others are slow.
QUICK = {*WRONG[:4], (2, "points"), (2, "log_det"), (5, "scale"), (5, "order")}


@pytest.mark.parametrize(
    ("index", "at"),
    [pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.slow) for pair in WRONG],
)
def test_a_wrong_inverse_is_seen_however_steep_the_flows_are(index, at):
    flows = SOUND[index]
    arguments = (flows.maps, flows.points)
    wrong = Reversed(*arguments) if at == "order" else Wrong(*arguments, at)
    assert check_round_trip(wrong)[0] == Outcome.FAIL


def test_a_wrong_log_determinant_is_seen():
    wrong = Wrong(planar().maps, planar().points, "log_det", 1e-5)
    assert check_log_det(wrong)[0] == Outcome.FAIL


def test_the_least_margin_is_reported():
    raw = {"u": np.array([[-3.0, 0], [1, 1]]), "w": np.array([[4.0, 0], [0, 1]]), "b": np.zeros(2)}
    outcome, detail = check_margin(flows_of("planar", raw))
    assert outcome == Outcome.OK
    assert detail == f"planar: minimum of 1 + w.û is {np.log1p(np.exp(-12.0)):.4g}"
    raw["u"][0, 0] = -1e4
    assert check_margin(flows_of("planar", raw))[0] == Outcome.FAIL
    radial = {"center": np.zeros((1, 2)), "alpha": np.zeros(1), "beta": np.array([-2.0])}
    _, detail = check_margin(flows_of("radial", radial))
    assert detail == f"radial: minimum of α + β̂ is {np.log1p(np.exp(-2.0)):.4g}"
    affine = {"shift": np.zeros((1, 2)), "log_scale": np.zeros((1, 2))}
    assert check_margin(flows_of("affine", affine)) == (Outcome.OK, "no flow with a margin")


def test_the_dense_jacobian_is_that_of_the_function():
    z = np.random.default_rng(0).normal(size=(4, 5, 3))
    matrix = np.array([[1.0, 2, 0], [0, 3, 1], [1, 0, 1]])
    dense = jacobian(lambda z: np.sin(z @ matrix.T), z)
    expected = np.cos(z @ matrix.T)[..., None] * matrix
    np.testing.assert_allclose(dense, expected, atol=1e-9)

"""Means of log-densities over rows and points: their errors, rounding, mass and truth."""

import itertools
import json
import math

import numpy as np
import pytest
from keras import ops
from scipy import stats
from stacks import density_of, make
from truth import Grid, mixture_log_prob, normal_log_prob

from nflow_cli.config.table import TableData
from nflow_cli.data.kinds.dataset import load_dataset
from nflow_cli.data.units import units_of
from nflow_cli.densities.bases import StandardNormal, UniformBox
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.evaluation.mass import mass_of
from nflow_cli.evaluation.tallies import (
    GAIN,
    Likelihood,
    Moments,
    RowScores,
    Tally,
    likelihood,
    likelihood_of_points,
    tallied,
)
from nflow_cli.flows.stack import FlowStack
from nflow_cli.inference.log_density import ArrayDensity, TensorDensity
from nflow_cli.inference.reverse_kl import rounding
from nflow_cli.tables.table_scoring import gap_to_the_truth

NAMES = ["a", "b", "c"]


def judge(log_q, baseline=None, weights=None):
    """Return the likelihood of rows, and the sums that it follows from."""
    found = tallied(RowScores(log_q, log_q[:, :1], baseline, NAMES), weights)
    return likelihood(found), found


def cells(n=400, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(shift - 1, 1, (n, 3))


def test_the_mean_of_rows_has_the_standard_error_of_a_mean():
    log_q = cells()
    judged, _ = judge(log_q)
    rows = log_q.sum(axis=1)
    assert judged.log_likelihood == pytest.approx(rows.mean())
    assert judged.log_likelihood_standard_error == pytest.approx(rows.std(ddof=1) / 20)
    assert (judged.n, judged.n_effective, judged.n_impossible) == (400, 400, 0)
    for n in (0, 1):  # without an error
        judged, _ = judge(cells(n), cells(n, 1))
        assert judged.log_likelihood_standard_error is judged.gain_standard_error is None
        assert (judged.log_likelihood is None) == (n == 0)
        assert Likelihood.model_validate(json.loads(judged.model_dump_json())) == judged


def test_the_error_of_a_gain_is_paired_and_columns_gain_by_themselves():
    baseline = 10 * cells(seed=1)  # rows differ much, the gain does not
    log_q = baseline + np.array([0.5, 0.0, -0.25])
    judged, _ = judge(log_q, baseline)
    assert judged.gain == pytest.approx(0.25)
    assert judged.gain_standard_error == pytest.approx(0, abs=1e-12)
    assert [judged.column_gains[name].mean for name in NAMES] == pytest.approx([0.5, 0.0, -0.25])


def test_the_gains_of_columns_add_up_to_that_of_the_row():
    log_q, baseline = cells(), cells(seed=1)
    log_q[:7, 1] = baseline[:7, 1] = np.nan
    log_q[8, 2] = baseline[9, 0] = -math.inf
    weights = np.random.default_rng(2).random(400)
    judged, found = judge(log_q, baseline, weights)
    assert found.means[GAIN].n == 398 and judged.n_impossible == 1
    columns = judged.column_gains.values()
    assert judged.gain == pytest.approx(sum(column.mean or 0 for column in columns))


def test_impossible_rows_and_unknown_cells_are_counted_and_are_not_in_the_mean():
    log_q = cells()
    expected, _ = judge(log_q[3:])
    log_q[:3, 1] = -math.inf
    judged, found = judge(log_q, cells(seed=1))
    assert (judged.n, judged.n_impossible, judged.n_effective) == (400, 3, 397)
    for key in ("log_likelihood", "log_likelihood_standard_error"):
        assert getattr(judged, key) == getattr(expected, key)
    assert found.means[GAIN].n == 397
    log_q = cells()
    log_q[:10, 2] = 0.0
    expected, _ = judge(log_q)
    log_q[:10, 2] = np.nan
    judged, _ = judge(log_q)
    assert (judged.n_unknown, judged.log_likelihood) == (10, expected.log_likelihood)
    log_q[:10] = np.nan  # of rows of which nothing is known
    assert judge(log_q)[0].n == 390


def test_a_baseline_of_other_cells_is_refused():
    log_q = cells()
    other = log_q.copy()
    other[0, 0] = np.nan
    for baseline in (other, log_q[:-1], log_q[:, :2]):
        with pytest.raises(ValueError, match="baseline"):
            judge(log_q, baseline)


def test_weights_are_numbers_of_equal_rows_but_for_what_is_known():
    log_q, baseline = cells(), cells(seed=1)
    count = np.random.default_rng(2).integers(0, 4, 400)
    weighted, _ = judge(log_q, baseline, count)
    times = np.repeat(np.arange(400), count)
    repeated, _ = judge(log_q[times], baseline[times])
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood)
    assert weighted.gain == pytest.approx(repeated.gain)
    assert weighted.n_effective == pytest.approx(count.sum() ** 2 / (count**2).sum())
    errors = (one.log_likelihood_standard_error or 0 for one in (weighted, repeated))
    assert next(errors) > 1.1 * next(errors)


@pytest.mark.parametrize(
    ("name", "base", "off"),
    [
        ("mixed", StandardNormal(), 1e-3),
        ("empty", StandardNormal(), 1e-3),
        ("radial", UniformBox(), 5e-3),
        ("empty", UniformBox(), 5e-3),
    ],
)
def test_the_mass_is_1(name, base, off):
    mass, error = mass_of(PushforwardDensity(base, make(name)), 0)
    assert abs(mass - 1) < off and abs(mass - 1) < error + 1e-3


def test_the_mass_of_a_narrow_and_of_a_wide_density_is_1():
    """One planar flow that stretches by the scale along an axis: no grid of a picture sees it."""
    for scale in (1e-6, 1e3):
        q = density_of(FlowStack(["planar"], 1))
        u = float(scale + np.log(-np.expm1(-scale)))  # the slope at 0 is softplus(w.u) = scale
        raw = {"u": [[1e3 * u, 0.0]], "w": [[1e-3, 0.0]], "b": [0.0]}
        for name, weight in q.flow.parameters[0].items():
            weight.assign(raw[name])
        mass, error = mass_of(q, 0)
        assert abs(mass - 1) < 1e-3 and error < 1e-3
    q.flow.parameters[0]["b"].assign([np.nan])
    assert np.isnan(mass_of(q, 0)).all()  # its samples are nowhere


def test_the_likelihood_of_points_is_their_mean_log_density():
    q = PushforwardDensity(StandardNormal(), make("empty"))
    points = 2 * np.random.default_rng(0).standard_normal((500, 2))
    found = likelihood_of_points(q.log_prob(points))
    expected = normal_log_prob(points)
    assert found["log_likelihood"] == pytest.approx(expected.mean(), rel=1e-5)
    assert found["log_likelihood_standard_error"] == pytest.approx(
        expected.std(ddof=1) / np.sqrt(500), rel=1e-5
    )
    assert (found["n"], found["outside"], found["n_effective"]) == (500, 0, 500)
    one = likelihood_of_points(q.log_prob(points[:1]))
    assert one["log_likelihood_standard_error"] is None and one["n"] == 1


def by_definition(v, w):
    mean = np.sum(w * v) / np.sum(w)
    n = np.sum(w) ** 2 / np.sum(w**2)
    return mean, np.sqrt(n / (n - 1) * np.sum(w**2 * (v - mean) ** 2)) / np.sum(w), n


@pytest.mark.parametrize("sizes", [(500,), (1, 0, 300, 199), (2,) * 250])
@pytest.mark.parametrize("are_weighted", [False, True])
def test_parts_of_any_sizes_have_the_mean_and_the_error_of_all_rows(sizes, are_weighted):
    rng = np.random.default_rng(0)
    v = rng.standard_normal(500) * 1e-6 - 1e3  # sums of squares would lose all digits
    w = rng.exponential(size=500) * (rng.random(500) < 0.9) if are_weighted else np.ones(500)
    ends = np.cumsum((0, *sizes))
    parts = [Moments.of(v[a:b], w[a:b]) for a, b in itertools.pairwise(ends)]
    found, (mean, error, n) = Moments.merged(parts), by_definition(v, w)
    assert (found.n, found.value) == (500, pytest.approx(mean, rel=1e-14))
    assert found.standard_error == pytest.approx(error, rel=1e-6)
    assert found.n_effective == pytest.approx(n, rel=1e-12)


def test_equal_weights_count_as_none_and_huge_ones_no_values_or_infinite_ones_are_no_error():
    v = np.array([1.0, 2.0, 4.0])
    error = stats.sem(v)
    for weights in (None, np.ones(3), np.full(3, 1e300)):
        found = Moments.of(v, weights)
        assert (found.value, found.standard_error) == (pytest.approx(7 / 3), pytest.approx(error))
        assert found.n_effective == 3
    none = Moments.of(np.empty(0))
    assert (none.value, none.standard_error, none.n_effective) == (None, None, 0)
    assert Moments.merged([]) == pytest.approx(none, nan_ok=True)
    assert Moments.of(np.ones(1)).standard_error is None
    one = Moments.of(np.array([1.0, -np.inf]))
    for found in (one, Moments.merged([one, Moments.of(np.ones(9)), none])):
        assert found.value == -np.inf and found.standard_error is None


def test_tallies_add_up_by_name_and_are_json():
    parts = [
        Tally({"a": Moments.of(np.ones(2))}, {"n": 2, "odd": 1}, {"least": 0.5}, {"1": {"-3": 2}}),
        Tally({"b": Moments.of(np.zeros(3))}, {"n": 3}, {"least": 0.25}, {"1": {"-3": 1, "4": 1}}),
    ]
    read = [Tally.read(json.loads(json.dumps(part._asdict()))) for part in parts]
    assert read == parts
    found = Tally.merged(read)
    assert {name: (one.n, one.value) for name, one in found.means.items()} == {
        "a": (2, 1.0),
        "b": (3, 0.0),
    }
    assert (found.counts, found.least) == ({"n": 5, "odd": 1}, {"least": 0.25})
    assert found.ranks == {"1": {"-3": 3, "4": 1}}


UNITS = units_of(["a", "b"], {})


def density_at(mean):
    flow = FlowStack(["planar"], 0, affine="diagonal", seed=0)
    flow.build((None, 2))
    flow.adapt(np.full(2, mean, "f"), np.eye(2))
    return PushforwardDensity(StandardNormal(), flow)


def error_of(function, mean=0.0, kind=TensorDensity):
    return rounding(density_at(mean), kind(function, 2, UNITS), seed=0)


def test_a_large_constant_rounds_a_density_of_tensors_and_not_one_of_arrays():
    def pair(x):
        return -0.5 * (x**2).sum(axis=1) - 3e7, -x

    measured = error_of(lambda x: small(x) - 3e7)
    assert measured["log_density_step"] == 2
    assert measured["rounding_error"] == pytest.approx(2 / math.sqrt(12), rel=1e-3)
    assert error_of(pair, kind=ArrayDensity)["rounding_error"] < 1e-5


def test_a_narrow_density_far_from_0_is_rounded_by_its_coordinates():
    # N(1000, 1) in a + b, N(0, 1e-8) in a - b: float32 has steps of 2^-14 at 1000.
    def ridge(x):
        total, difference = x[:, 0] + x[:, 1] - 2000.0, x[:, 0] - x[:, 1]
        return -0.125 * total**2 - 1e4 * difference  # of a known slope

    expected = 1e4 * math.sqrt(2) * 2**-14 / math.sqrt(12)
    assert error_of(ridge, mean=1000.0)["rounding_error"] == pytest.approx(expected, rel=0.1)
    assert error_of(small)["rounding_error"] < 1e-5


def small(x):
    return -0.5 * ops.sum(x * x, axis=-1)


def of_float32(x):
    return (-0.5 * (x**2).sum(axis=1) - 3e7).astype(np.float32), -x


def test_values_that_were_rounded_before_are_known_by_their_steps():
    """Of a constant that is subtracted too late, and of a pair of float32."""
    for function, kind in [
        (lambda x: (small(x) - 3e7) + 3e7, TensorDensity),
        (of_float32, ArrayDensity),
    ]:
        for bounds in ({}, {"a": [-50, None]}):
            density = kind(function, 2, units_of(["a", "b"], bounds))
            measured = rounding(density_at(0.0), density, seed=0)
            assert measured["log_density_step"] == 2
            assert measured["rounding_error"] == pytest.approx(2 / math.sqrt(12), rel=0.01)


ANGLES = np.arange(8) * np.pi / 4
CENTRES = 2 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], -1)


def eight_gaussians(x):
    return mixture_log_prob(x, np.ones(8), CENTRES, [0.04 * np.eye(2)] * 8)


def test_the_gap_of_a_gaussian_is_its_kl_by_quadrature():
    mean, scale = np.array([0.3, -0.2]), np.array([1.4, 1.7])

    def log_q(x):
        return normal_log_prob(x, mean, np.diag(scale**2))

    grid = Grid(4.0, 401)
    log_p = eight_gaussians(grid.points)
    log_ratio = log_p - log_q(grid.points)
    kl = grid.integral(np.exp(log_p) * log_ratio)
    deviation = np.sqrt(grid.integral(np.exp(log_p) * (log_ratio - kl) ** 2))
    received = gap_to_the_truth(log_q, "eight-gaussians", 3)
    error = received["gap_standard_error"]
    assert error == pytest.approx(deviation / np.sqrt(100_000), rel=0.02)
    assert abs(received["gap"] - kl) < 4 * error


def test_the_gap_is_0_of_the_truth_unknown_without_a_density_and_infinite_where_q_is_0():
    received = gap_to_the_truth(eight_gaussians, "eight-gaussians", 0)
    assert list(received.values()) == pytest.approx([0, 0], abs=1e-12)
    none = {"gap": None, "gap_standard_error": None}
    assert gap_to_the_truth(None, "points.csv", 0) == none
    received = gap_to_the_truth(
        lambda x: np.where(x[:, 0] < 2.5, 0.0, -np.inf), "eight-gaussians", 0
    )
    assert received == {"gap": np.inf, "gap_standard_error": None}


def test_the_gap_is_that_of_the_columns_in_their_order():
    assert gap_to_the_truth(None, "eight-gaussians", 0, ["x2"])["gap"] is None

    # Half as wide along the first column alone.
    def log_q(x):
        return eight_gaussians(x * [1, 2]) + np.log(2)

    def swapped(x):
        return log_q(x[:, ::-1])

    received, expected = (
        gap_to_the_truth(log_prob, "eight-gaussians", 0, columns)["gap"]
        for log_prob, columns in ((swapped, ["x2", "x1"]), (log_q, ["x1", "x2"]))
    )
    assert received == pytest.approx(expected) and expected > 0.1


def test_the_fresh_points_are_none_of_the_run():
    for name in ("two-moons", "eight-gaussians"):
        points, data = [], load_dataset(TableData(name=name, split_seed=5))
        gap_to_the_truth(lambda x, points=points: points.append(x) or np.zeros(len(x)), name, 5)
        for x in points:
            assert x.shape == (100_000, 2)
            assert not np.intersect1d(x, [*data.train, *data.validation, *data.test]).size

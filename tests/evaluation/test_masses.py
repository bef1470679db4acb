"""Mass of a density, uniformity of its PIT, and the tail of importance weights."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from nflow_cli.evaluation.importance import fit_tail, pareto_k, smoothed, tail_length
from nflow_cli.evaluation.mass import cells, mass
from nflow_cli.tables.scores.pit import p_value, pit

NAMES = ["a", "b", "c", "d"]


def uniform(n=1_000, dim=4, seed=0):
    return np.random.default_rng(seed).random((n, dim))


def pit_of_shifted(u, by):
    """Return the PIT under N(0, 1) of values that are `by` standard deviations off."""
    normal = NormalDist()
    return np.array([normal.cdf(normal.inv_cdf(p) + by) for p in u])


def test_cells_of_the_density_stay_within_the_band_in_99_of_100_samples():
    judged = [pit(uniform(200, seed=seed), NAMES).columns.values() for seed in range(500)]
    outside = [any(column.excess > 1 for column in columns) for columns in judged]
    assert 0 < sum(outside) <= 12  # 5 expected; more than 12 in 2 of 1,000 tries


def test_p_values_of_the_density_are_uniform_as_those_of_kolmogorov():
    values = [pit(uniform(100, 1, seed), ["a"]).p_value or 0.0 for seed in range(1_000)]
    for level in (0.01, 0.1, 0.5, 0.9):
        spread = math.sqrt(level * (1 - level) / 1_000)
        assert np.mean(np.array(values) <= level) == pytest.approx(level, abs=3.5 * spread)
    # Of his limiting distribution, by tables (Smirnov 1948).
    for x, p in [(0.5, 0.963945), (1.0, 0.269999), (1.36, 0.049486)]:
        assert p_value(x / 1e5, 1e10) == pytest.approx(p, abs=5e-6)


def test_a_shifted_column_is_found_and_named():
    u = uniform()
    u[:, 2] = pit_of_shifted(u[:, 2], 0.25)
    judged = pit(u, NAMES)
    assert judged.worst_column == "c"
    # A normal pit_of_shifted by 0.25 is off by at most 2 Φ(0.125) - 1.
    assert judged.columns["c"].distance == pytest.approx(0.0995, abs=3 * 0.5 / math.sqrt(1_000))
    assert (judged.p_value or 0) < 1e-6
    assert [name for name in NAMES if judged.columns[name].excess > 1] == ["c"]


def test_the_band_is_wider_for_more_columns_and_for_fewer_rows():
    def widest(n, dim):
        column = pit(uniform(n, dim), [str(i) for i in range(dim)]).columns["0"]
        return column.band or 0.0

    assert widest(100, 1) == pytest.approx(1.628 / (10 + 0.12 + 0.011), rel=1e-3)
    assert widest(100, 50) > 1.25 * widest(100, 1)
    assert widest(25, 1) > 1.9 * widest(100, 1)


def test_equal_weights_change_nothing_and_unequal_ones_count_for_fewer_rows():
    u = uniform()
    assert pit(u, NAMES, np.full(1_000, 7.0)) == pit(u, NAMES)
    weights = np.repeat([1.0, 0.0], 500)
    half, weighted = pit(u[:500], NAMES), pit(u, NAMES, weights)
    assert weighted == half
    # A tenth of the rows with nearly all of the weight: their number is the effective one.
    heavy = pit(u, NAMES, np.where(np.arange(1_000) < 100, 1.0, 1e-6))
    alone = pit(u[:100], NAMES)
    assert heavy.columns["a"].n_effective == pytest.approx(100, rel=1e-2)
    assert heavy.columns["a"].band == alone.columns["a"].band
    assert heavy.columns["a"].distance == pytest.approx(alone.columns["a"].distance, abs=1e-3)


def test_unknown_cells_are_left_out_of_their_column_alone():
    u = uniform()
    u[:900, 1] = np.nan
    judged = pit(u, NAMES)
    assert [judged.columns[name].n for name in NAMES] == [1_000, 100, 1_000, 1_000]
    assert judged.columns["b"].distance == pit(u[900:], NAMES).columns["b"].distance
    u[:, 3] = np.nan
    without = pit(u, NAMES)
    assert without.columns["d"].distance is None
    # The others are judged as three columns.
    assert without.columns["a"].band == pit(u[:, :3], NAMES[:3]).columns["a"].band
    for shape in [(0, 4), (5, 4)]:
        judged = pit(np.full(shape, np.nan), NAMES)
        assert (judged.worst_column, judged.p_value) == (None, None)


def log_weights_of_gaussians(scale, n=200_000, seed=0):
    """Return ``log p - log q`` for p = N(0, 1), q = N(0, scale²), at samples of q."""
    z = scale * np.random.default_rng(seed).standard_normal(n)
    return -0.5 * z**2 + 0.5 * (z / scale) ** 2 + math.log(scale)


def generalised_pareto(k, sigma, n, seed=0):
    u = np.random.default_rng(seed).random(n)
    return sigma * np.expm1(-k * np.log(u)) / k


def test_a_generalised_pareto_distribution_is_found_again():
    for k in (0.2, 0.5, 0.8, 1.2):
        found = fit_tail(np.sort(generalised_pareto(k, 2.5, 20_000)))
        assert found.k == pytest.approx(k, abs=0.04)
        assert found.scale == pytest.approx(2.5, rel=0.05)


def test_smoothed_weights_spread_less_about_the_true_normaliser():
    plain, smooth = [], []
    for seed in range(60):  # of infinite variance: k = 0.64
        log_weights = log_weights_of_gaussians(0.6, 5_000, seed)
        plain.append(math.log(np.exp(log_weights).mean()))
        smooth.append(math.log(np.exp(smoothed(log_weights).log_weights).mean()))
    assert abs(np.mean(smooth)) < 0.02
    assert np.std(smooth) < 0.9 * np.std(plain)


@pytest.mark.parametrize(
    ("scale", "k", "least", "largest", "at_200"),
    [
        (0.5, 0.6483334249, -10.5566161619, -4.4869390997, -8.0441253085),
        (0.7, 0.4397258955, -10.2548569586, -6.1274765562, -8.5461347270),
        (0.9, 0.1642806304, -10.0079879052, -8.4703363828, -9.3715236952),
        (1.3, -1.6038513078, -15.2264783511, -9.6423754538, -9.6424516900),
    ],
)
def test_weights_are_smoothed_as_arviz_does(scale, k, least, largest, at_200):
    """By arviz.psislw of ArviZ 0.22.0: k-hat, and of the sorted normalised logarithms three."""
    before = log_weights_of_gaussians(scale, 20_000)
    found = smoothed(before)
    below = np.argsort(before)[: -tail_length(20_000)]
    np.testing.assert_array_equal(found.log_weights[below], before[below])
    log_weights = np.sort(found.log_weights)
    log_weights -= np.log(np.exp(log_weights - log_weights[-1]).sum()) + log_weights[-1]
    expected = [k, least, largest, at_200]
    received = [found.k, log_weights[0], log_weights[-1], log_weights[-200]]
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-9)


def test_equal_weights_and_weights_of_0_are_left_as_they_are():
    equal = smoothed(np.zeros(1_000))
    assert equal.k == 0 and not equal.log_weights.any()
    some = np.where(np.arange(1_000) < 900, -np.inf, 0.0)
    np.testing.assert_array_equal(smoothed(some).log_weights, some)


def test_weights_that_spread_over_more_than_a_float_holds_are_poor_by_the_streamed_fit_too():
    normal = np.random.default_rng(0).standard_normal(200_000)
    for spread in (10.0, 50.0, 100.0, 1e4):
        result = smoothed(spread * normal)
        # Beyond the 99.33 % quantile, 2.47, a normal lies 0.34 above it on average: so does log w.
        assert result.k == pytest.approx(0.34 * spread, rel=0.2)
        assert pareto_k(-spread * normal) == pytest.approx(result.k, rel=1e-12)


RNG = np.random.default_rng(0)
DRAWS = RNG.standard_normal((50_000, 2))
LOG_2PI = math.log(2 * math.pi)


def log_normal(x):
    return -0.5 * (x**2).sum(axis=-1) - LOG_2PI


class Linear:
    """A standard normal, moved by a matrix and a shift."""

    def __init__(self, matrix, shift=(0, 0)):
        self.matrix, self.shift = np.array(matrix, float), np.array(shift, float)
        self.samples = DRAWS @ self.matrix.T + self.shift

    def log_prob(self, x):
        z = np.linalg.solve(self.matrix, (x - self.shift).T).T
        return log_normal(z) - np.linalg.slogdet(self.matrix)[1]


class Mixture:
    """Half of each of two densities."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.samples = np.concatenate([a.samples[::2], b.samples[::2]])

    def log_prob(self, x):
        return np.logaddexp(self.a.log_prob(x), self.b.log_prob(x)) - math.log(2)


class Exponential:
    """What ``exp(sigma z)`` makes of a standard normal: most of what its samples span is tail."""

    def __init__(self, sigma):
        self.sigma, self.samples = sigma, np.exp(sigma * DRAWS)

    def log_prob(self, x):
        x = np.maximum(x, 1e-300)
        jacobian = np.log(self.sigma * x).sum(axis=-1)
        return np.where(
            (x > 1e-300).all(axis=-1), log_normal(np.log(x) / self.sigma) - jacobian, -np.inf
        )


class Box:
    """Uniform on a square that is turned: it jumps along lines that no cell follows."""

    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    samples = (RNG.uniform(size=(50_000, 2)) - 0.5) @ turn.T

    def log_prob(self, x):
        return np.where((np.abs(x @ self.turn) < 0.5).all(axis=-1), 0.0, -np.inf)


SHAPES = {
    "normal": Linear(np.eye(2)),
    "thin": Linear([[1, 0], [1, 1e-4]], (5, -3)),
    "far apart": Mixture(Linear(np.eye(2)), Linear(0.1 * np.eye(2), (1000, 1000))),
    "in small units": Linear(1e-80 * np.eye(2)),
    "in large units": Linear(1e80 * np.eye(2)),
}


@pytest.mark.parametrize("density", SHAPES.values(), ids=SHAPES)
def test_the_mass_is_1_whatever_the_shape_and_the_units(density):
    found, error = mass(density.log_prob, density.samples)
    assert abs(found - 1) < 1e-3
    assert error < 1e-3


@pytest.mark.parametrize(
    ("density", "least"),
    [(Exponential(0.5), 2e-4), (Exponential(1.5), 2e-3), (Exponential(3.0), 1.0), (Box(), 5e-3)],
)
def test_a_heavy_tail_and_a_jump_count_or_are_known_not_to(density, least):
    found, error = mass(density.log_prob, density.samples)
    assert abs(found - 1) <= error < least


def test_what_is_no_density_shows_and_what_is_not_resolved_has_a_large_error():
    for factor in (0.9, 1.01):
        found, error = mass(lambda x, f=factor: log_normal(x) + math.log(f), DRAWS)
        assert abs(found - factor) < 1e-3 and error < 1e-3

    def log_prob(x):  # stripes
        return log_normal(x) + np.log1p(np.sin(1e5 * (x[:, 0] + 0.3 * x[:, 1])) * (1 - 1e-9))

    assert mass(log_prob, DRAWS)[1] > 0.01


def test_cells_cover_the_samples_once():
    corners, sides = cells(DRAWS)
    low, high = DRAWS.min(axis=0), DRAWS.max(axis=0)
    assert math.isclose(sides.prod(axis=1).sum(), (1.04 * (high - low)).prod())
    inside = (DRAWS[:500, None] >= corners) & (DRAWS[:500, None] < corners + sides)
    assert (inside.all(axis=-1).sum(axis=1) == 1).all()


def test_few_samples_and_equal_ones_end_and_without_a_density_there_is_no_mass():
    for samples in (np.zeros((500, 2)), np.repeat(DRAWS[:2], 500, 0), DRAWS[:3]):
        found, error = mass(log_normal, samples)
        assert 0 <= found < 1.01 and error < 1.01
    unknown, _ = mass(lambda x: np.where(x[:, 0] > 1, np.nan, log_normal(x)), DRAWS)
    assert math.isnan(unknown)

from contextlib import nullcontext

import numpy as np
import pytest
from truth import (
    Grid,
    all_signs,
    bin_masses,
    call,
    chi_square_excess,
    float64,
    gradient,
    kolmogorov_smirnov,
    mixture_log_prob,
    needs_float64,
)

from nflow_cli import registry
from nflow_cli.config.presets import validate
from nflow_cli.errors import ConfigError
from nflow_cli.inference import targets

MIXTURE = {
    "weights": [1.0, 3.0, 0.5],
    "means": [[-2.0, 0.5], [1.5, 1.5], [0.0, -3.0]],
    "covariances": [[[0.4, 0.0], [0.0, 1.5]], [[1.0, 0.6], [0.6, 0.5]], [[0.3, -0.2], [-0.2, 2.0]]],
}
ROUND = {"weights": [2.0, 1.0], "means": [[-1.0, 2.0], [3.0, 0.0]]}
RING = {"weights": [1.0], "centers": [[0.0, 0.0]], "radii": [2.0], "widths": [0.3]}
RINGS = {
    "weights": [1.0, 2.0, 0.5],
    "centers": [[-1.0, 0.5], [1.5, -1.0], [2.0, 2.0]],
    "radii": [1.0, 2.0, 0.0],
    "widths": [0.15, 0.3, 0.5],
}


def minus_u1(z):
    z1, z2 = z[..., 0], z[..., 1]
    ring = 0.5 * ((np.hypot(z1, z2) - 2) / 0.4) ** 2
    return np.logaddexp(-0.5 * ((z1 - 2) / 0.6) ** 2, -0.5 * ((z1 + 2) / 0.6) ** 2) - ring


def wall(z):
    return 50 * np.maximum(np.abs(z[..., 0]) - 4, 0) ** 2


def branch(z, below, width):
    off = z[..., 1] - np.sin(2 * np.pi * z[..., 0] / 4) + below
    return -0.5 * (off / width) ** 2


def minus_u2(z):
    return branch(z, 0.0, 0.4) - wall(z)


def minus_u3(z):
    w2 = 3 * np.exp(-0.5 * ((z[..., 0] - 1) / 0.6) ** 2)
    return np.logaddexp(branch(z, 0.0, 0.35), branch(z, w2, 0.35)) - wall(z)


def minus_u4(z):
    w3 = 3 * np.exp(-np.logaddexp(0, -(z[..., 0] - 1) / 0.3))
    return np.logaddexp(branch(z, 0.0, 0.4), branch(z, w3, 0.35)) - wall(z)


def minus_rings(weights, centers, radii, widths):
    def minus_u(z):
        return np.logaddexp.reduce(
            [
                np.log(w) - 0.5 * ((np.hypot(*np.moveaxis(z - c, -1, 0)) - r) / s) ** 2
                for w, c, r, s in zip(weights, np.array(centers), radii, widths)
            ]
        )

    return minus_u


def minus_mixture(weights, means, covariances):
    return lambda z: mixture_log_prob(z, weights, means, covariances)


def minus_wavy_ring(z):
    return np.sin(np.pi * z[..., 0]) - 2 * (np.sum(z**2, axis=-1) - 2) ** 2


EYE = np.eye(2)
# The target, -U written out again, log Z where it is known in closed form.
CATALOGUE = {
    "multimodal": (targets.Multimodal, minus_mixture([1, 1], [[2, 2], [-2, -2]], [EYE] * 2)),
    "gaussian-from-uniform": (
        targets.GaussianFromUniform,
        minus_mixture([1.0], [[1.0, 1.0]], [EYE]),
    ),
    "u1": (targets.U1, minus_u1),
    "u2": (targets.U2, minus_u2),
    "u3": (targets.U3, minus_u3),
    "u4": (targets.U4, minus_u4),
    "wavy-ring": (targets.WavyRing, minus_wavy_ring),
    "mixture": (lambda: targets.Mixture(**MIXTURE), minus_mixture(**MIXTURE)),
    "round mixture": (
        lambda: targets.Mixture(**ROUND),
        minus_mixture(**ROUND, covariances=[EYE] * 2),
    ),
    "ring": (lambda: targets.Ring(**RING), minus_rings(**RING)),
    "rings": (lambda: targets.Ring(**RINGS), minus_rings(**RINGS)),
}
DOCUMENTED = {"u1": 1.8775016, "u2": 2.1129413, "u3": 2.6725571, "u4": 2.7415500}  # log Z
BY_QUADRATURE = ("u1", "wavy-ring")
# Nodes at |z1| = 4, where the wall's curvature jumps.
GRID = Grid((8.0, 12.0), 801)

every_target = pytest.mark.parametrize("name", CATALOGUE)


@pytest.fixture(scope="module")
def on_grid():
    """Return -U on the grid, each target's once."""
    values = {}

    def get(name):
        if name not in values:
            values[name] = CATALOGUE[name][1](GRID.points)
        return values[name]

    return get


def make(name):
    return CATALOGUE[name][0]()


def density(name):
    """Return the density in NumPy, normalised by the target's log Z."""
    log_z = make(name).log_z
    return lambda z: np.exp(CATALOGUE[name][1](z) - log_z)


def random_points(n=400):
    rng = np.random.default_rng(0)
    return np.concatenate([rng.uniform(-5, 5, (n, 2)), 40 * rng.standard_normal((n // 4, 2))])


def test_every_target_of_the_registry_is_tested():
    assert set(registry.TARGETS) <= set(CATALOGUE)
    for name, place in registry.TARGETS.items():
        assert isinstance(make(name), registry.resolve(place))


@every_target
@needs_float64
@float64()
def test_log_prob_is_the_formula_less_log_z(name):
    target, z = make(name), random_points()
    expected = CATALOGUE[name][1](z) - target.log_z
    np.testing.assert_allclose(call(target.log_prob, z), expected, 1e-12, 1e-12)


@every_target
def test_float32_agrees_with_the_formula(name):
    target, z = make(name), random_points().astype("float32")
    log_prob = call(target.log_prob, z)
    assert log_prob.dtype == np.float32
    for leading in ((), (3,), (2, 1, 3)):
        points = np.ones((*leading, 2), "float32")
        assert call(target.log_prob, points).shape == leading
    expected = CATALOGUE[name][1](z.astype(float)) - target.log_z
    np.testing.assert_allclose(log_prob, expected, 1e-5, 1e-4)


@every_target
def test_log_z_is_that_of_the_quadrature_and_says_how_it_is_known(name, on_grid):
    target = make(name)
    assert abs(target.log_z - np.log(GRID.integral(np.exp(on_grid(name))))) < 1e-6
    assert abs(target.log_z - DOCUMENTED.get(name, target.log_z)) < 1e-7
    assert target.log_z_source == ("quadrature" if name in BY_QUADRATURE else "exact")


def test_log_z_of_the_wavy_ring_is_its_integral_in_polar_coordinates():
    r, step = np.linspace(0, 3, 6001, retstep=True)
    angle = 2 * np.pi * np.arange(400) / 400
    wave = np.exp(np.sin(np.pi * r[:, None] * np.cos(angle))).mean(axis=1)
    integral = step * np.sum(2 * np.pi * r * np.exp(-2 * (r**2 - 2) ** 2) * wave)
    assert abs(make("wavy-ring").log_z - np.log(integral)) < 1e-8


@pytest.mark.parametrize(("radius", "width"), [(0.0, 0.7), (0.1, 1.0), (3.0, 0.2), (1e3, 1e-2)])
def test_log_z_of_a_ring_is_its_radial_integral(radius, width):
    low = max(radius - 12 * width, 0) - radius
    off, step = np.linspace(low, 12 * width, 400_001, retstep=True)
    values = 2 * np.pi * (radius + off) * np.exp(-0.5 * (off / width) ** 2)
    expected = np.log((values.sum() - (values[0] + values[-1]) / 2) * step)
    ring = targets.Ring([1.0], [[0.0, 0.0]], [radius], [width])
    assert abs(ring.log_z - expected) < 1e-8


@every_target
def test_the_window_shows_all_but_two_thousandths_of_the_mass(name):
    window = make(name).window
    shown = bin_masses(density(name), np.linspace(-window, window, 2), inner=600).sum()
    assert 0.998 <= shown <= 1 + 1e-6


@every_target
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_is_finite_at_the_origin_on_axes_and_far_out(name, dtype):
    points = [all_signs(0, 1, 2, 4, 10, 1000), np.array([[1e-30, 0], [-1e-20, 1e-25], [1.0, 1.5]])]
    points = np.concatenate([*points, np.array(RINGS["centers"])]).astype(dtype)
    with float64() if dtype == "float64" else nullcontext():
        assert np.all(np.isfinite(call(make(name).log_prob, points)))
        assert np.all(np.isfinite(gradient(make(name).log_prob, points)))


@every_target
@needs_float64
@float64()
def test_the_gradient_is_the_slope_of_the_formula(name):
    z, step = random_points(100), 1e-4
    expected = np.empty_like(z)
    for i, way in enumerate(EYE):
        near, far = (
            CATALOGUE[name][1](z + h * way) - CATALOGUE[name][1](z - h * way)
            for h in (step, 2 * step)
        )
        expected[:, i] = (8 * near - far) / (12 * step)
    slope = gradient(make(name).log_prob, z)
    np.testing.assert_allclose(slope, expected, 1e-6, 1e-6)


@every_target
def test_samples_have_the_squares_margins_and_moments_of_the_density(name, on_grid):
    target, n = make(name), 200_000
    samples = target.sample(np.random.default_rng(3), n)
    assert samples.shape == (n, 2)
    assert abs(chi_square_excess(samples, density(name), target.window)) < 4
    values = np.exp(on_grid(name) - target.log_z)
    for i, axis in enumerate(GRID.axes):
        margin = values.sum(axis=1 - i)
        assert kolmogorov_smirnov(samples[:, i], axis, margin) < 1.95  # once in a thousand
    z1, z2 = GRID.points[..., 0], GRID.points[..., 1]
    moments = (lambda a, b: a, lambda a, b: b, lambda a, b: a * a, lambda a, b: a * b)
    for moment in (*moments, lambda a, b: b * b):
        drawn = moment(*samples.T)
        expected = GRID.integral(values * moment(z1, z2))
        assert abs(drawn.mean() - expected) < 4 * drawn.std() / np.sqrt(n)


@every_target
def test_the_generator_fixes_the_samples(name):
    first, again, other = (make(name).sample(np.random.default_rng(s), 50) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_weights_count_by_their_share():
    z = random_points(20)
    one = targets.Mixture([1, 3], ROUND["means"]), targets.Ring(**RINGS)
    ten = (
        targets.Mixture([10, 30], ROUND["means"]),
        targets.Ring(**RINGS | {"weights": [10.0, 20.0, 5.0]}),
    )
    for few, many in zip(one, ten):
        np.testing.assert_allclose(call(few.log_prob, z), call(many.log_prob, z), 1e-5, 1e-5)


@float64()
def test_a_mixture_far_out_falls_like_its_widest_part():
    mixture = targets.Mixture([0.5, 0.5], [[0, 0], [0, 0]], [0.25 * EYE, 4 * EYE])
    z = np.array([[1e3, 0.0]])
    expected = np.log(0.5) - np.log(2 * np.pi) - np.log(4) - 0.5 * 1e6 / 4
    np.testing.assert_allclose(call(mixture.log_prob, z), expected, 1e-13)


def command(**target):
    return {"command": "fit-2d", "target": target}


SINGLE = {"name": "mixture", "weights": [1.0], "means": [[0.0, 0.0]]}
NAN, INF = float("nan"), float("inf")
NO_DENSITIES = {
    "mixture": {
        "weights": [
            *([1.0, 1.0], [], [[1.0], [1.0], [1.0]], 1.0, [1.0, 0.0, 1.0], [1.0, -2.0, 2.0]),
            *([1.0, NAN, 2.0], [1.0, INF, 2.0], [1e-300, 1e300, 1.0], ["a", "b", "c"]),
        ],
        "means": [
            *([[0.0, 1.0]], [[0.0, 1.0, 2.0]] * 3, [[0.0], [0.0, 1.0], [2.0, 3.0]]),
            [[0.0, INF], [0.0, 1.0], [2.0, 3.0]],
        ],
        "covariances": [
            [[[1.0, 0.0], [0.0, 1.0]]],
            [[1.0, 1.0]] * 3,
            *([[row, [2.0, 1.0]]] * 3 for row in ([1.0, 2.0], [1.0], [NAN, 2.0], [INF, 2.0])),
            *([[[1.0, 1.0], [1.0, 1.0]]] * 3, [[[0.0, 0.0], [0.0, 0.0]]] * 3),
            *([[[-1.0, 0.0], [0.0, 1.0]]] * 3, [[[1.0, 0.5], [0.2, 1.0]]] * 3),
        ],
    },
    "ring": {
        "weights": [[1.0, 1.0], [], 1.0, [0.0], [NAN], [INF]],
        "centers": [[[0.0, 0.0, 0.0]], [[NAN, 0.0]], [[0.0, 0.0], [1.0]]],
        "radii": [[-0.5], [NAN], [INF]],
        "widths": [[0.0], [-1.0], [INF], [1e200], [1e-200], ["wide"]],
    },
}


@pytest.mark.parametrize("target", NO_DENSITIES)
def test_what_is_no_density_is_refused(target):
    options = {"mixture": MIXTURE, "ring": RING | {"radii": [0.0]}}[target]
    for option, values in NO_DENSITIES[target].items():
        for value in values:
            with pytest.raises(ConfigError, match=f"^mine: target(.{option}|:)"):
                validate(command(name=target, **options | {option: value}), "mine")


def test_a_covariance_that_is_singular_but_for_rounding_is_refused():
    rng = np.random.default_rng(0)
    for direction in rng.standard_normal((500, 2)):
        covariances = [np.outer(direction, direction).tolist()]
        with pytest.raises(ConfigError):
            validate(command(**SINGLE, covariances=covariances), "mine")


@float64()
def test_a_thin_covariance_is_a_density():
    thin = [[1.0, 0.999], [0.999, 1.0]]
    z = np.random.default_rng(0).standard_normal((50, 2))
    expected = mixture_log_prob(z, [1.0], [[0.0, 0.0]], [thin])
    target = validate(command(**SINGLE, covariances=[thin]), "mine").new_target()
    got = call(target.log_prob, z)
    np.testing.assert_allclose(got, expected, 1e-10)

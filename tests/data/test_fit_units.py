import math

import numpy as np
import pytest

from nflow_cli.data.column_maps import Log, Logit, Scale, Softplus, TukeyH
from nflow_cli.data.fit_units import Bounds, fit_units
from nflow_cli.data.units import ColumnUnits
from nflow_cli.errors import DataError

LOG_2PI = math.log(2 * math.pi)
ABOVE_0 = Bounds(low=0.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def normal(x):
    return -0.5 * (x * x + LOG_2PI)


def student_2(x):
    return -1.5 * np.log1p(x * x / 2) - math.log(2 * math.sqrt(2))


def logistic(x):
    return -np.abs(x) - 2 * np.log1p(np.exp(-np.abs(x)))


# By name: samples, their log-density, bounds, and how much more a row may cost in nats.
TRUTHS = {
    "normal": (lambda r, n: r.standard_normal(n), normal, None, 0.001),
    "t(2)": (lambda r, n: r.standard_t(2, n), student_2, None, 0.002),
    "cauchy": (
        lambda r, n: r.standard_cauchy(n),
        lambda x: -np.log1p(x * x) - math.log(math.pi),
        *(None, 0.003),
    ),
    "logistic": (lambda r, n: r.logistic(size=n), logistic, None, 0.001),
    "laplace": (
        lambda r, n: r.laplace(size=n),
        lambda x: -np.abs(x) - math.log(2),
        *(None, 0.01),
    ),
    "lognormal": (
        lambda r, n: r.lognormal(size=n),
        lambda x: normal(np.log(x)) - np.log(x),
        *(ABOVE_0, 0.001),
    ),
    "softplus of a normal": (
        lambda r, n: np.log1p(np.exp(r.normal(1, 2, n))),
        lambda x: normal((np.log(np.expm1(x)) - 1) / 2) - math.log(2) - np.log(-np.expm1(-x)),
        *(ABOVE_0, 0.005),
    ),
    "uniform": (lambda r, n: r.random(n), np.zeros_like, Bounds(0.0, 1.0), 0.001),
}


def fitted(x, bounds=None, **options):
    return ColumnUnits([fit_units(x, bounds, **options)])


def maps_of(units):
    return [type(one) for one in units.columns[0]]


@pytest.mark.parametrize("name", TRUTHS)
def test_what_a_column_loses_beside_its_true_density_is_small(name):
    draw, log_prob, bounds, most = TRUTHS[name]
    # In other units, where the bounds are those of the truth.
    shift, scale = (0.0, 1.0) if bounds else (30.0, 1e-3)
    units = fitted(shift + scale * draw(rng(1), 20_000), bounds)
    x = draw(rng(2), 200_000)
    z, log_det = units.inside_and_log_det(shift + scale * x[:, None])
    gaps = log_prob(x) - normal(z[:, 0]) - log_det - math.log(scale)
    error = gaps.std() / math.sqrt(len(gaps))
    assert -4 * error < gaps.mean() < most + 2 * error


def test_tails_are_there_only_where_the_rows_have_some():
    chance = sum(TukeyH in maps_of(fitted(rng(seed).standard_normal(2_000))) for seed in range(50))
    assert chance <= 3  # of 50: twice a gain of more than 2 nats is 4.5 % of half a chi-square
    assert maps_of(fitted(rng().random(20_000))) == [Scale]
    assert maps_of(fitted(rng().standard_t(5, 20_000))) == [Scale, TukeyH]
    assert maps_of(fitted(rng().standard_cauchy(20_000), tails="none")) == [Scale]


@pytest.mark.parametrize("h", [0.05, 0.4, 1.5])
def test_the_parameters_of_a_tail_are_found(h):
    z = rng(3).standard_normal(20_000)
    scale, tail = fitted(5 - 3 * z * np.exp(h * z * z / 2)).columns[0]
    assert abs(scale.centre - 5) < 0.1 and abs(scale.scale / 3 - 1) < 0.05
    assert abs(tail.h - h) < 0.03 * (1 + h)


def test_tails_are_those_of_the_first_rows():
    x = np.concatenate([rng(4).standard_normal(20_000), rng().standard_cauchy(20_000)])
    assert maps_of(fitted(x)) == [Scale]
    assert maps_of(fitted(x[::-1])) == [Scale, TukeyH]


def test_tails_heavier_than_any_are_capped():
    tail = fitted(rng().standard_cauchy(20_000) ** 5).columns[0][-1]
    assert tail == TukeyH(2.0)


def test_without_tails_the_centre_and_scale_are_robust():
    x = rng().random(20_001)
    (scale,) = fitted(x, tails="none").columns[0]
    low, middle, high = np.sort(x)[[5_000, 10_000, 15_000]]
    assert scale.centre == middle
    assert scale.scale == pytest.approx((high - low) / (2 * 0.6744897501960817))


@pytest.mark.parametrize("tails", ["tukey-h", "none"])
def test_an_outlier_does_not_move_the_centre_and_the_scale(tails):
    x = 7 + 2 * rng().standard_normal(20_000)
    x[11] = 2e8
    scale = fitted(x, tails=tails).columns[0][0]
    assert abs(scale.centre - 7) < 0.05 and abs(scale.scale / 2 - 1) < 0.1


@pytest.mark.parametrize(
    ("bounds", "flip", "draw", "first"),
    [
        (ABOVE_0, 1, "lognormal", Log(0.0, "above")),
        (Bounds(high=0.0), -1, "lognormal", Log(0.0, "below")),
        (ABOVE_0, 1, "standard_exponential", Softplus),
        (Bounds(high=0.0), -1, "standard_exponential", Softplus),
        (Bounds(0.0, 1e9), 1, "lognormal", Logit(0.0, 1e9)),
        (Bounds(), 1, "lognormal", Scale),
    ],
)
def test_bounds_are_taken_away_first(bounds, flip, draw, first):
    x = flip * getattr(rng(), draw)(size=5_000)
    bounded, *rest = fitted(x, bounds).columns[0]
    assert type(bounded) is first if isinstance(first, type) else bounded == first
    assert [type(one) for one in rest] in ([Scale], [Scale, TukeyH], [TukeyH])
    if isinstance(bounded, Softplus):
        assert bounded.scale == np.median(np.abs(x))


@pytest.mark.parametrize(
    ("share", "tails"),
    [(0.4, "tukey-h"), (0.9, "tukey-h"), (0.9999, "tukey-h"), (0.6, "none"), (0.9999, "none")],
)
def test_rows_that_are_equal_leave_a_scale(share, tails):
    x = rng().standard_normal(20_000)
    x[: int(share * len(x))] = 0.3
    z, log_det = fitted(rng().permutation(x), tails=tails).inside_and_log_det(x[:, None])
    assert np.isfinite(z).all() and np.isfinite(log_det).all()


@pytest.mark.parametrize("n", [2, 3, 10])
def test_a_few_rows_are_enough(n):
    x = np.arange(n) + 1.0
    for bounds in (None, ABOVE_0, Bounds(0.0, 100.0)):
        assert np.isfinite(fitted(x, bounds).inside(x[:, None])).all()


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        ([0.0, 1.0, 2.0], ABOVE_0),
        ([-1.0, 1.0, 2.0], ABOVE_0),
        ([1.0, 2.0, 3.0], Bounds(high=3.0)),
        ([0.5, 1.0], Bounds(0.0, 1.0)),
        ([2.0, 2.0, 2.0], None),
        ([1e16, 1e16 + 2], ABOVE_0),  # whose logarithms are equal
    ],
)
def test_rows_on_a_bound_or_all_equal_are_refused(values, bounds):
    with pytest.raises(DataError, match=r"expected values .*Received: "):
        fitted(np.array(values), bounds)

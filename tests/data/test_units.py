"""The units of columns, after which values are near N(0, 1), and dates as numbers."""

import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from truth import dense_jacobian

from nflow_cli.config.column_kinds import ColumnKind, Lattice
from nflow_cli.data.column_maps import Log, Logit, Scale, Softplus, TukeyH
from nflow_cli.data.files.columns import Column
from nflow_cli.data.files.dates import form_of, kind_of_form, numbers_of, texts_of
from nflow_cli.data.kinds.fit_units import Bounds, fit_units, units_of_numbers
from nflow_cli.data.units import IDENTITY, ColumnUnits
from nflow_cli.errors import DataError


def rng(seed=0):
    return np.random.default_rng(seed)


COLUMNS = ColumnUnits(
    [
        [Log(0.0, "above"), Scale(1.0, 0.5), TukeyH(0.2)],
        [],
        [Logit(-1.0, 3.0), Scale(0.3, 2.0)],
        [Softplus(10.0, "below", 2.0)],
    ]
)


def test_the_flows_own_coordinates_are_left_as_they_are():
    points = rng().standard_normal((5, 3)).astype("float32")
    for there in (IDENTITY.inside_and_log_det, IDENTITY.outside_and_log_det):
        array, log_det = there(points)
        assert array is points
        assert (log_det.shape, log_det.dtype) == ((5,), np.float32) and not log_det.any()


def test_each_column_goes_through_its_own_chain():
    z = rng().standard_normal((5, 20, 4))
    x, log_det = COLUMNS.outside_and_log_det(z)
    tail = 1 + 0.5 * z[..., 0] * np.exp(0.2 * z[..., 0] ** 2 / 2)
    share = 1 / (1 + np.exp(-(0.3 + 2 * z[..., 2])))
    expected = [np.exp(tail), z[..., 1], 4 * share - 1, 10 - 2 * np.log1p(np.exp(-z[..., 3]))]
    np.testing.assert_allclose(x, np.stack(expected, axis=-1), 1e-13, 1e-14)
    jacobians = dense_jacobian(COLUMNS.outside, z.reshape(-1, 4))
    np.testing.assert_allclose(log_det.ravel(), np.linalg.slogdet(jacobians)[1], atol=1e-9)
    again, log_det_inside = COLUMNS.inside_and_log_det(x)
    np.testing.assert_allclose(again, z, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(log_det_inside, -log_det, atol=1e-12)
    np.testing.assert_array_equal(COLUMNS.inside(x), again)


def test_float32_points_are_converted_in_float64():
    z = rng().standard_normal((20, 4)).astype("float32")
    for function in (COLUMNS.outside_and_log_det, COLUMNS.inside_and_log_det):
        points = abs(z) % 1 + 0.5
        for float32, float64 in zip(function(points), function(points.astype(float))):
            assert float32.dtype == np.float64
            np.testing.assert_array_equal(float32, float64)


def test_a_point_outside_one_bound_has_no_density_and_one_from_afar_is_within():
    inside = np.array([1.0, 0.0, 0.0, 0.0])
    assert np.isfinite(COLUMNS.inside_and_log_det(inside)[1])
    for column, value in [(0, 0.0), (0, -1.0), (2, -1.0), (2, 3.5), (3, 10.0), (0, np.inf)]:
        point = inside.copy()
        point[column] = value
        z, log_det = COLUMNS.inside_and_log_det(point)
        assert log_det == -np.inf and not np.isnan(z).any()
    far = np.array([-np.inf, -1e300, -1e3, 1e3, 1e300, np.inf])[:, None] * np.ones(4)
    x = COLUMNS.outside(far)
    assert np.isfinite(x).all() and np.isfinite(COLUMNS.inside_and_log_det(x)[1]).all()


N = 4_000


def grid(step=1.0, **facts):
    return ColumnKind(kind="grid", lattice=Lattice(step=step), resolution=step, **facts)


def inside(maps, values):
    for one in maps:
        values, _ = one.inside(values)
    return values


def outside(maps, units):
    for one in reversed(maps):
        units, _ = one.outside(units)
    return units


@pytest.mark.parametrize("step", [1e-6, 0.1, 1.0])
@pytest.mark.parametrize("bounds", [None, [0.0, None]])
def test_rounded_normal_numbers_are_standard_normal(step, bounds):
    draw = rng()
    values = np.abs(draw.normal(60.0, 4.0, N)) if bounds else draw.normal(-3.0, 4.0, N)
    values = np.rint(values / step) * step
    units = inside(units_of_numbers(values, grid(step, bounds=bounds)), values)
    assert abs(units.mean()) < 0.05 and units.std() == pytest.approx(1, abs=0.05)


SKEWED = {
    "log-normal": lambda z: np.exp(0.8 * z),
    "skewed to the left": lambda z: 83 - np.exp(2 - 0.7 * z),
    "heavy tails on both sides": lambda z: 5 + 0.2 * np.sinh(2 * z),
    "heavy on one side": lambda z: np.sinh(z + 1),
}


@pytest.mark.parametrize("name", SKEWED)
def test_skewed_numbers_are_standard_normal(name):
    z = rng(3).standard_normal(N)
    values = np.round(SKEWED[name](z), 3)
    units = inside(units_of_numbers(values, ColumnKind(kind="number", resolution=1e-3)), values)
    assert np.abs(units - (z - z.mean()) / z.std()).max() < 0.3


@pytest.mark.parametrize(
    "shares", [[0.6, 0.24, 0.05, 0.06, 0.03, 0.018, 0.002], [0.96, 0.02, 0.01, 0.01], [0.2] * 5]
)
def test_few_counts_at_a_bound_have_no_tail_beyond_belief(shares):
    values = rng(1).choice(np.arange(float(len(shares))), N, p=shares)
    maps = units_of_numbers(values, grid(bounds=[0.0, None]))
    assert outside(maps, np.array([3.0])) < 20 * len(shares)
    assert np.abs(inside(maps, values)).max() < 8


def test_values_without_spread_or_on_their_bounds_have_units():
    for values, centre in ((np.full(9, 7.0), 7.0), (np.empty(0), 0.0)):
        (scale,) = units_of_numbers(values, grid(0.5))
        assert (scale.centre, scale.scale) == (centre, 0.5)
    values = rng(2).integers(0, 10, N).astype(float)
    for bounds in ([0.0, None], [None, 9.0], [0.0, 9.0]):
        units = inside(units_of_numbers(values, grid(bounds=bounds)), values)
        assert np.isfinite(units).all() and np.abs(units).max() < 6


LOG_2PI = math.log(2 * math.pi)
ABOVE_0 = Bounds(low=0.0)


def normal(x):
    return -0.5 * (x * x + LOG_2PI)


def student_2(x):
    return -1.5 * np.log1p(x * x / 2) - math.log(2 * math.sqrt(2))


def cauchy(x):
    return -np.log1p(x * x) - math.log(math.pi)


def logistic(x):
    return -np.abs(x) - 2 * np.log1p(np.exp(-np.abs(x)))


# By name: samples, their log-density, bounds, and how much more a row may cost in nats.
TRUTHS = {
    "normal": (lambda r, n: r.standard_normal(n), normal, None, 0.001),
    "t(2)": (lambda r, n: r.standard_t(2, n), student_2, None, 0.002),
    "cauchy": (lambda r, n: r.standard_cauchy(n), cauchy, None, 0.003),
    "logistic": (lambda r, n: r.logistic(size=n), logistic, None, 0.001),
    "laplace": (lambda r, n: r.laplace(size=n), lambda x: -np.abs(x) - math.log(2), None, 0.01),
    "lognormal": (
        *(lambda r, n: r.lognormal(size=n), lambda x: normal(np.log(x)) - np.log(x)),
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


def test_tails_are_those_of_the_first_rows_and_capped():
    x = np.concatenate([rng(4).standard_normal(20_000), rng().standard_cauchy(20_000)])
    assert maps_of(fitted(x)) == [Scale]
    assert maps_of(fitted(x[::-1])) == [Scale, TukeyH]
    assert fitted(rng().standard_cauchy(20_000) ** 5).columns[0][-1] == TukeyH(2.0)


def test_the_centre_and_scale_are_robust():
    x = rng().random(20_001)
    (scale,) = fitted(x, tails="none").columns[0]
    low, middle, high = np.sort(x)[[5_000, 10_000, 15_000]]
    assert scale.centre == middle
    assert scale.scale == pytest.approx((high - low) / (2 * 0.6744897501960817))
    x = 7 + 2 * rng().standard_normal(20_000)
    x[11] = 2e8
    for tails in ("tukey-h", "none"):
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


def test_a_few_rows_or_equal_ones_leave_a_scale():
    for share in (0.4, 0.6, 0.9, 0.9999):
        x = rng().standard_normal(20_000)
        x[: int(share * len(x))] = 0.3
        for tails in ("tukey-h", "none"):
            units = fitted(rng().permutation(x), tails=tails)
            z, log_det = units.inside_and_log_det(x[:, None])
            assert np.isfinite(z).all() and np.isfinite(log_det).all()
    for n in (2, 3, 10):
        x = np.arange(n) + 1.0
        for bounds in (None, ABOVE_0, Bounds(0.0, 100.0)):
            assert np.isfinite(fitted(x, bounds).inside(x[:, None])).all()


def test_rows_on_a_bound_or_all_equal_are_refused():
    for values, bounds in (
        ([0.0, 1.0, 2.0], ABOVE_0),
        ([-1.0, 1.0, 2.0], ABOVE_0),
        ([1.0, 2.0, 3.0], Bounds(high=3.0)),
        ([0.5, 1.0], Bounds(0.0, 1.0)),
        ([2.0, 2.0, 2.0], None),
        ([1e16, 1e16 + 2], ABOVE_0),  # whose logarithms are equal
    ):
        with pytest.raises(DataError, match=r"expected values .*Received: "):
            fitted(np.array(values), bounds)


EPOCH = dt.datetime(1970, 1, 1)


@pytest.mark.parametrize(
    ("texts", "form", "kind"),
    [
        (["2020-02-29", "1969-12-31"], "%Y-%m-%d", "date"),
        (["2020/02/29"], "%Y/%m/%d", "date"),
        (["31.12.1999", "01.02.2000"], "%d.%m.%Y", "date"),
        (["31/12/1999", "01/02/2000"], "%d/%m/%Y", "date"),
        (["12/31/1999", "01/02/2000"], "%m/%d/%Y", "date"),
        (["12/31/1999", "1/2/2000"], "%-m/%-d/%Y", "date"),
        (["5 Mar 2001", "17 Dec 2003"], "%-d %b %Y", "date"),
        (["05-Mar-2001"], "%d-%b-%Y", "date"),
        (["March 5, 2001", "May 17, 2003"], "%B %-d, %Y", "date"),
        (["2020-02-29T23:59"], "%Y-%m-%dT%H:%M", "time"),
        (["2020-02-29 23:59:59"], "%Y-%m-%d %H:%M:%S", "time"),
        (["2020-02-29T23:59:59.25Z"], "%Y-%m-%dT%H:%M:%S%fZ", "time"),
        (["23:59", "00:00"], "%H:%M", "clock"),
        (["12.03.24", "31.12.70"], "%d.%m.%y", "date"),
        (["3/14/24", "12/1/19"], "%-m/%-d/%y", "date"),
        (["22mar2024", "01apr2023"], "%d%#b%Y", "date"),
        (["26APR2024"], "%d%^b%Y", "date"),
        (["26-APR-24"], "%d-%^b-%y", "date"),
        (["2024.04.26"], "%Y.%m.%d", "date"),
        (["2024. 4. 26.", "2023. 12. 1."], "%Y. %-m. %-d.", "date"),
        (["26.04.24 07:35"], "%d.%m.%y %H:%M", "time"),
        (["26APR2024:07:35:00"], "%d%^b%Y:%H:%M:%S", "time"),
        (["2024-04-26 07:35 UTC"], "%Y-%m-%d %H:%M UTC", "time"),
        (["2024年4月12日", "2023年11月2日"], "%Y年%-m月%-d日", "date"),
        (["29.02.2024 02:30"], "%d.%m.%Y %H:%M", "time"),
        (["1/13/2024 12:07 am", "12/1/2023 1:00 pm"], "%-m/%-d/%Y %-I:%M %#p", "time"),
        (["2:00 PM", "12:30 AM"], "%-I:%M %p", "clock"),
        (["9:05", "13:30"], "%-H:%M", "clock"),
    ],
)
def test_the_form_of_dates_is_found(texts, form, kind):
    assert form_of(texts) == form
    assert kind_of_form(form) == kind
    assert texts_of(numbers_of(texts, form), form, 2) == texts


def test_one_text_in_twenty_may_be_no_date_and_is_none():
    texts = [f"{hour:02}:30" for hour in range(20)]
    assert form_of([*texts, "9.12"]) == "%H:%M"
    assert form_of([*texts, "9.12", "soon"]) is None
    assert form_of(["9.12", "08:30"], [1, 19]) == "%H:%M"
    expected = [np.nan, 12 * 3_600 + 7 * 60, np.nan]
    np.testing.assert_array_equal(
        numbers_of(["9.12", "12:07 PM", "13:00 PM"], "%I:%M %p"), expected
    )


def test_what_is_no_date_in_one_form_has_none():
    one = ["a", "12", "2020", "2021-02-29", "2020-13-01", "2020-01-00", "24:00", "1.2.3.4"]
    several = [["01/02/2003", "03/04/2005"], ["2020-01-01", "01.01.2020"], ["2020-01-01", ""]]
    several += [["24-03-12", "19-01-31"], ["1.2.10", "3.1.12"], ["12.03.58", "01.02.71"]]
    several += [["18-29", "30-44"], ["1. Yes", "2. No"], ["T1c", "T2a"], ["12:30-14:00"]]
    several += [["01.2015", "12.2016"], ["March 2021", "May 2021"]]
    for texts in ([], *several, *([text] for text in one)):
        assert form_of(texts) is None, texts


@given(st.lists(st.dates(dt.date(1, 1, 1)), min_size=1))
def test_dates_are_the_days_of_the_calendar(dates):
    texts = [date.isoformat() for date in dates]
    numbers = numbers_of(texts, "%Y-%m-%d")
    assert numbers.tolist() == [(date - EPOCH.date()).days for date in dates]
    assert texts_of(numbers, "%Y-%m-%d") == texts


@given(st.lists(st.datetimes(dt.datetime(1700, 1, 1)), min_size=1))
def test_times_are_the_seconds_since_the_epoch(times):
    times = [time.replace(microsecond=0) for time in times]
    texts = [time.isoformat() for time in times]
    numbers = numbers_of(texts, "%Y-%m-%dT%H:%M:%S")
    assert numbers.tolist() == [(time - EPOCH).total_seconds() for time in times]
    assert texts_of(numbers, "%Y-%m-%dT%H:%M:%S") == texts


def test_a_date_in_a_column_of_times_is_its_midnight_and_back():
    days = Column("at", "date", np.array([19_783.0, np.nan]), None, [])  # 2024-03-01
    times = days.in_unit("time")
    np.testing.assert_equal(times.numbers, [1_709_251_200.0, np.nan])
    np.testing.assert_equal(times.in_unit("date").numbers, days.numbers)
    assert days.in_unit("date") is days

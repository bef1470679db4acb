import json
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from truth import gradient, to_numpy

from nflow_cli.data.column_maps import (
    Asinh,
    Log,
    Logit,
    Scale,
    Softplus,
    Tangent,
    TukeyH,
    recorded_map,
)
from nflow_cli.registry import COLUMN_MAPS, resolve

EPS = np.finfo(np.float64).eps
MAPS = [
    Scale(-3.0, 0.25),
    Scale(1e6, 1e-3),
    Log(0.0, "above"),
    Log(-7.5, "above"),
    Log(1e3, "below"),
    Softplus(0.0, "above", 2.0),
    Softplus(4.0, "below", 0.05),
    Tangent(0.0, "above", 5.0),
    Tangent(3.0, "below", 0.2),
    Logit(0.0, 1.0),
    Logit(-20.0, 1e3),
    Asinh(0.0, 1.0, -30.0, 30.0),
    Asinh(-3.0, 0.05, -2.0, 1.5),
    TukeyH(0.0),
    TukeyH(1e-9),
    TukeyH(0.3),
    TukeyH(2.0),
]
every_map = pytest.mark.parametrize("column_map", MAPS, ids=str)
BOUNDED = [one for one in MAPS if isinstance(one, Log | Softplus | Tangent | Logit)]


def distance(one, x):
    return x - one.bound if one.side == "above" else one.bound - x


def limits(one):
    if isinstance(one, Logit):
        return one.low, one.high
    return (one.bound, math.inf) if one.side == "above" else (-math.inf, one.bound)


def exact(one, x):
    """Return ``z`` by its definition, in as many digits as mpmath works with."""
    if isinstance(one, Scale):
        return (x - one.centre) / one.scale
    if isinstance(one, Logit):
        return mp.log((x - one.low) / (one.high - x))
    if isinstance(one, Asinh):
        y, ends = (x - one.centre) / one.scale, (mp.sinh(one.low), mp.sinh(one.high))
        c = min(max(y, ends[0]), ends[1])
        return mp.asinh(c) + (y - c) / mp.sqrt(1 + c * c)
    if isinstance(one, TukeyH):
        return mp.sign(x) * mp.sqrt(mp.lambertw(one.h * x * x).real / one.h) if one.h else x
    sign, d = (1 if one.side == "above" else -1), distance(one, x)
    if isinstance(one, Tangent):
        with mp.workdps(400):
            return sign * mp.sqrt(2) * mp.erfinv(4 / mp.pi * mp.atan(d / one.scale) - 1)
    return sign * mp.log(d if isinstance(one, Log) else mp.expm1(d / one.scale))


def exact_outside(one, z):
    """Return ``x`` by its definition."""
    if isinstance(one, Scale):
        return one.centre + one.scale * z
    if isinstance(one, Logit):
        return one.low + (mp.mpf(one.high) - one.low) / (1 + mp.exp(-z))
    if isinstance(one, Asinh):
        c = min(max(z, one.low), one.high)
        return one.centre + one.scale * (mp.sinh(c) + (z - c) * mp.cosh(c))
    if isinstance(one, TukeyH):
        return z * mp.exp(one.h * z * z / 2)
    sign = 1 if one.side == "above" else -1
    if isinstance(one, Tangent):
        tangent = mp.tan(mp.pi / 2 * mp.ncdf(-abs(z)))
        return one.bound + sign * one.scale * (tangent if sign * z < 0 else 1 / tangent)
    d = mp.exp(sign * z)
    return one.bound + sign * (d if isinstance(one, Log) else one.scale * mp.log1p(d))


def slope(function, at):
    with mp.workdps(120):
        return mp.log(mp.diff(function, at))


def near(value, expected, ulps=8):
    return abs(value - expected) <= ulps * EPS * max(1, abs(expected))


@every_map
@given(z=st.floats(-25, 25))
def test_values_and_slopes_are_those_of_the_definition(column_map, z):
    if isinstance(column_map, TukeyH | Tangent):  # beyond it has more digits than are computed
        z /= 4 if isinstance(column_map, TukeyH) else 2
    with mp.workdps(60):
        x, log_slope = map(float, column_map.outside(np.array(z)))
        # What one unit in the last place of z moves x by.
        moved = 4 * abs(z) * EPS * mp.exp(log_slope)
        expected = exact_outside(column_map, mp.mpf(z))
        assert abs(x - expected) <= 8 * EPS * max(abs(expected), *constants(column_map)) + moved
        assert near(log_slope, slope(lambda t: exact_outside(column_map, t), mp.mpf(z)))
        x = np.array(x)
        z, log_slope = map(float, column_map.inside(x))
        x = mp.mpf(float(x))
        assert near(z, exact(column_map, x))
        if x or not isinstance(column_map, TukeyH):  # no derivative of a root at 0
            assert near(log_slope, slope(lambda t: exact(column_map, t), x))
        else:
            assert near(log_slope, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_half_cauchy_does_not_rise_beyond_the_largest_number(dtype):
    z = np.geomspace(5, 9e4, 200, dtype=dtype)
    for xp in (np, ops):
        x, log_slope = map(to_numpy, Tangent(0.0, "above", 1.0).outside(xp.array(z), xp))
        log_p = math.log(2 / math.pi) - np.logaddexp(0, 2 * np.log(x.astype(float))) + log_slope
        seen = z < 10  # N(0, 1)
        normal = -(z.astype(float) ** 2) / 2 - math.log(2 * math.pi) / 2
        np.testing.assert_allclose(log_p[seen], normal[seen], rtol=1e-5)
        assert (np.diff(log_p) < 1e-3).all() and -711 < log_p[-1] < -85


def constants(one):
    return [abs(value) for value in vars(one).values() if isinstance(value, float)]


@given(
    log_h=st.floats(-12, 0.3), log_x=st.floats(-300, 150), negative=st.booleans()
)  # in powers of ten
def test_tails_are_exact_to_a_few_units_in_the_last_place(log_h, log_x, negative):
    h, x = 10.0**log_h, (-1 if negative else 1) * 10.0**log_x
    z, log_det = TukeyH(h).inside(np.array(x))
    with mp.workdps(400):
        w = mp.lambertw(mp.mpf(h) * mp.mpf(x) ** 2).real
        expected = mp.sign(x) * mp.sqrt(w / h)
        assert abs(z - expected) <= 4 * EPS * abs(expected)
        assert near(log_det, -(w / 2 + mp.log1p(w)), 4)


def test_without_tails_tukeys_map_is_the_identity():
    x = np.array([-1e300, -2.5, 0.0, 5e-324, 1.0])
    for values, log_det in (TukeyH(0.0).inside(x), TukeyH(0.0).outside(x)):
        np.testing.assert_array_equal(values, x)
        assert not log_det.any()


@every_map
def test_infinity_is_at_infinity_and_beyond_a_bound_there_is_no_density(column_map):
    ends = limits(column_map) if column_map in BOUNDED else (-math.inf, math.inf)
    z, log_det = column_map.inside(np.array([-math.inf, math.inf, math.nan]))
    for i, end in enumerate(ends):
        if math.isinf(end):
            assert z[i] == end
            continue
        assert log_det[i] == -math.inf
        outwards = 2 * i - 1
        far, log_dets = column_map.inside(end + outwards * np.array([0, 5e-324, 1, 1e300]))
        assert (log_dets == -math.inf).all() and np.isfinite(far).all()
        just_within = np.nextafter(end, -outwards * math.inf)
        assert np.isfinite(column_map.inside(np.array([just_within]))).all()
    assert not np.isnan(z[:2]).any() and not np.isnan(log_det[:2]).any()
    assert np.isnan(z[2]) and np.isnan(column_map.outside(np.array([math.nan]))[0])


@every_map
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_however_far_a_draw_is_it_has_a_density_and_no_gradient_is_nan(column_map, dtype):
    far = np.array([-1e38, -800, -50, 50, 800, 1e38], dtype)
    tensor = to_numpy(column_map.outside(ops.convert_to_tensor(far), ops)[0])
    for x in (column_map.outside(far)[0], tensor):
        assert x.dtype == dtype and np.isfinite(x).all() and (x[1:] >= x[:-1]).all()
        z, log_det = column_map.inside(x)
        assert np.isfinite(z).all() and np.isfinite(log_det).all()
    x = np.array([-1e30, -20, -7.5, 0, 1, 4, 1e3, 1e30], dtype)
    for part in (0, 1):
        assert not np.isnan(gradient(lambda t, p=part: column_map.inside(t, ops)[p], x)).any()


@pytest.mark.parametrize("column_map", [one for one in MAPS if one != Scale(1e6, 1e-3)], ids=str)
def test_tensors_go_where_arrays_go_and_have_that_slope(column_map):
    z = np.array([-4.5, -1.0, -0.1, 0.0, 1e-3, 0.7, 3.0], "float32")
    x, log_det = column_map.outside(z.astype(float))
    tensor, tensor_log_det = map(to_numpy, column_map.outside(ops.convert_to_tensor(z), ops))
    assert tensor.dtype == tensor_log_det.dtype == np.float32
    scale = max(1e-30, *constants(column_map))
    np.testing.assert_allclose(tensor, x, 1e-5, 1e-6 * scale)
    np.testing.assert_allclose(tensor_log_det, log_det, 1e-5, 1e-5)
    np.testing.assert_allclose(
        gradient(lambda t: column_map.outside(t, ops)[0], z), np.exp(log_det), 1e-4
    )
    expected = column_map.inside(tensor.astype(float))
    back = column_map.inside(ops.convert_to_tensor(tensor), ops)
    for tensor, array in zip(map(to_numpy, back), expected):
        np.testing.assert_allclose(tensor, array, 1e-4, 1e-4)
    slopes = gradient(lambda t: column_map.inside(t, ops)[0], x.astype("float32"))
    np.testing.assert_allclose(slopes, np.exp(-log_det), 1e-3)


def test_a_map_is_written_down_exactly():
    for one in MAPS:
        assert recorded_map(json.loads(json.dumps(one.record()))) == one
    assert {type(one) for one in MAPS} == {resolve(place) for place in COLUMN_MAPS.values()}


SCALE = {"name": "scale", "centre": 0.0, "scale": 1.0}
LOGIT = {"name": "logit", "low": 1.0, "high": 2.0}


@pytest.mark.parametrize(
    "record",
    [
        *(None, 3, "scale", [], {}, {"name": "cube"}, {"name": None}, {"name": []}),
        *({"name": "scale"}, {"name": "scale", "centre": 0.0}, SCALE | {"h": 0.0}),
        *(SCALE | {"scale": s} for s in (0.0, -1.0, None, "1", True, [1])),
        *(SCALE | {"centre": c} for c in (math.nan, math.inf, 10**400)),
        *({"name": "log", "bound": 0.0, "side": side} for side in ("left", None, 1)),
        {"name": "log", "bound": math.inf, "side": "above"},
        {"name": "softplus", "bound": 0.0, "side": "above", "scale": 0.0},
        *(LOGIT | {"high": high} for high in (1.0, 0.0, float(np.nextafter(1, 2)))),
        LOGIT | {"low": -1e308, "high": 1e308},
        {"name": "tukey-h", "h": -1e-9},
    ],
    ids=str,
)
def test_a_record_of_no_map_is_refused(record):
    with pytest.raises(ValueError, match="expected"):
        recorded_map(record)

import json

import numpy as np
import pytest
from truth import Grid, dense_jacobian, normal_log_prob

from nflow_cli.data.column_maps import Log, Logit, Scale, Softplus, TukeyH
from nflow_cli.data.units import IDENTITY, ColumnUnits

COLUMNS = ColumnUnits(
    [
        [Log(0.0, "above"), Scale(1.0, 0.5), TukeyH(0.2)],
        [],
        [Logit(-1.0, 3.0), Scale(0.3, 2.0)],
        [Softplus(10.0, "below", 2.0)],
    ]
)


def test_a_density_changes_by_the_jacobian_of_a_scale():
    centre, scale = np.array([3.0, -2.0]), np.array([0.5, 4.0])
    units = ColumnUnits([[Scale(*both)] for both in zip(centre, scale)])
    grid = Grid((10.0, 40.0), 801)
    z, log_det = units.inside_and_log_det(grid.points)
    log_p = normal_log_prob(z) + log_det
    assert grid.integral(np.exp(log_p)) == pytest.approx(1, abs=1e-9)
    expected = normal_log_prob(grid.points, centre, np.diag(scale**2))
    np.testing.assert_allclose(log_p, expected, atol=1e-10)


def test_the_flows_own_coordinates_are_left_as_they_are():
    points = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")
    for array, log_det in (
        IDENTITY.inside_and_log_det(points),
        IDENTITY.outside_and_log_det(points),
    ):
        assert array is points
        assert (log_det.shape, log_det.dtype) == ((5,), np.float32) and not log_det.any()


def test_each_column_goes_through_its_own_chain():
    z = np.random.default_rng(0).standard_normal((5, 20, 4))
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
    z = np.random.default_rng(0).standard_normal((20, 4)).astype("float32")
    for function in (COLUMNS.outside_and_log_det, COLUMNS.inside_and_log_det):
        points = abs(z) % 1 + 0.5
        for float32, float64 in zip(function(points), function(points.astype(float))):
            assert float32.dtype == np.float64
            np.testing.assert_array_equal(float32, float64)


def test_a_point_outside_one_bound_has_no_density():
    inside = [1.0, 0.0, 0.0, 0.0]
    for column, value in [(0, 0.0), (0, -1.0), (2, -1.0), (2, 3.5), (3, 10.0), (0, np.inf)]:
        point = np.array(inside)
        point[column] = value
        z, log_det = COLUMNS.inside_and_log_det(point)
        assert log_det == -np.inf and not np.isnan(z).any()
    assert np.isfinite(COLUMNS.inside_and_log_det(np.array(inside))[1])


def test_however_far_points_come_from_they_are_finite_and_within_the_bounds():
    far = np.array([-np.inf, -1e300, -1e3, 1e3, 1e300, np.inf])[:, None] * np.ones(4)
    x = COLUMNS.outside(far)
    assert np.isfinite(x).all() and np.isfinite(COLUMNS.inside_and_log_det(x)[1]).all()


def test_units_are_read_as_what_they_were_written_as():
    units = ColumnUnits([*COLUMNS.columns, [Scale(1 / 3, 1e-60)]])
    read = ColumnUnits.recorded(json.loads(json.dumps(units.record())), 5)
    assert read.columns == units.columns


IDENTITIES = [{"name": "tukey-h", "h": 0.0}] * 9


@pytest.mark.parametrize(
    "columns",
    [
        *(None, {}, "ab", 2, [], [[]], [[], [], []], [[], None], [[], {}], [[], [None]]),
        *([[], [{"name": "scale"}]], [[], IDENTITIES]),
    ],
    ids=str,
)
def test_a_record_of_no_columns_is_refused(columns):
    with pytest.raises(ValueError, match="expected"):
        ColumnUnits.recorded({"units": columns}, 2)
    assert ColumnUnits.recorded({"units": [[], IDENTITIES[:8]]}, 2).columns[1][0] == TukeyH(0.0)

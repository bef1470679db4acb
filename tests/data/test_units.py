import json

import numpy as np
import pytest
from truth import Grid, normal_log_prob

from nflow_cli.data.units import IDENTITY, Standardisation


def test_the_standardisation_is_written_down_exactly():
    units = Standardisation(np.array([1 / 3, -1e17]), np.array([0.1, 1e-60]))
    again = Standardisation.recorded(json.loads(json.dumps(units.record())), 2)
    np.testing.assert_array_equal(again.mean, units.mean)
    np.testing.assert_array_equal(again.scale, units.scale)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"mean": [0, 0], "scale": [1]},
        {"mean": [0, 0], "scale": [1, 0]},
        {"mean": [0, 0], "scale": [1, -1]},
        {"mean": [0, None], "scale": [1, 1]},
        {"mean": ["a", "b"], "scale": [1, 1]},
        {"mean": {}, "scale": 1},
        {"mean": [0, 0, 0], "scale": [1, 1, 1]},
    ],
)
def test_a_record_that_is_none_is_refused(record):
    with pytest.raises((TypeError, ValueError)):
        Standardisation.recorded(record, 2)


def test_a_density_changes_by_the_jacobian_of_the_standardisation():
    units = Standardisation(np.array([3.0, -2.0]), np.array([0.5, 4.0]))
    grid = Grid((10.0, 40.0), 801)
    log_p = normal_log_prob(units.inside(grid.points)) + units.log_det
    assert grid.integral(np.exp(log_p)) == pytest.approx(1, abs=1e-9)
    expected = normal_log_prob(grid.points, units.mean, np.diag(units.scale**2))
    np.testing.assert_allclose(log_p, expected, atol=1e-10)


def test_the_flows_own_coordinates_are_left_as_they_are():
    points = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")
    for array, log_det in (
        IDENTITY.inside_and_log_det(points),
        IDENTITY.outside_and_log_det(points),
    ):
        assert array is points
        assert (log_det.shape, log_det.dtype) == ((5,), np.float32) and not log_det.any()

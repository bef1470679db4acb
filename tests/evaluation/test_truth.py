import numpy as np
import pytest
from truth import Grid, mixture_log_prob, normal_log_prob

from nflow_cli.config.table_schema import TableData
from nflow_cli.data.dataset import load_dataset
from nflow_cli.evaluation.truth import gap_to_the_truth
from nflow_cli.registry import POINT_SETS

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


def test_the_truth_has_no_gap():
    received = gap_to_the_truth(eight_gaussians, "eight-gaussians", 0)
    assert list(received.values()) == pytest.approx([0, 0], abs=1e-12)


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


def test_the_gap_is_infinite_where_q_is_0():
    received = gap_to_the_truth(
        lambda x: np.where(x[:, 0] < 2.5, 0.0, -np.inf), "eight-gaussians", 0
    )
    assert received["gap"] == np.inf and np.isnan(received["gap_standard_error"])


def test_data_without_a_density_have_no_gap():
    none = {"gap": None, "gap_standard_error": None}
    assert gap_to_the_truth(None, "points.csv", 0) == none


@pytest.mark.parametrize("name", POINT_SETS)
def test_the_fresh_points_are_none_of_the_run(name):
    points, data = [], load_dataset(TableData(name=name, split_seed=5))
    gap_to_the_truth(lambda x: points.append(x) or np.zeros(len(x)), name, 5)
    for x in points:
        assert x.shape == (100_000, 2)
        assert not np.intersect1d(x, [*data.train, *data.validation, *data.test]).size

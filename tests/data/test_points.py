import numpy as np
import pytest
from truth import normal_log_prob

from nflow_cli.data.column_maps import Scale
from nflow_cli.data.points import atoms_of, gaussian_log_prob
from nflow_cli.data.units import ColumnUnits


def test_the_gaussian_is_the_most_likely_one():
    points = np.random.default_rng(0).standard_normal((200, 2))
    points = points @ [[3.0, 100.0], [0.0, 50.0]] + [1000.0, -7.0]
    train, test = points[:160], points[160:]
    units = ColumnUnits([[Scale(990.0, 2.0)], [Scale(3.0, 90.0)]])
    covariance = np.cov(train.T, bias=True)
    expected = normal_log_prob(test, train.mean(0), covariance)
    np.testing.assert_allclose(gaussian_log_prob(train, test, units), expected, rtol=1e-9)
    most = gaussian_log_prob(train, train, units).mean()
    for factor, shift in ((1.02, 0), (0.98, 0), (1, 0.5)):
        other = normal_log_prob(train, train.mean(0) + shift, factor * covariance)
        assert other.mean() < most


RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal(5_000)
PRICES = np.exp(RNG.normal(4.0, 1.0, 5_000))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (RNG.integers(1, 10, 5_000), {"value"}),  # rooms
        (np.where(RNG.random(5_000) < 0.2, 0.0, PRICES), {"value"}),  # rain
        (RNG.integers(0, 90, 500), {"step"}),  # ages: many steps, none of them frequent
        (NORMAL, set()),
        (np.round(PRICES, 2), set()),  # in cents
        (NORMAL.astype(np.float16), set()),
        (np.repeat(NORMAL[:2_500], 2), set()),  # each row twice
    ],
    ids=["rooms", "rain", "ages", "normal", "cents", "float16", "twice"],
)
def test_columns_whose_values_repeat_are_known(column, expected):
    atoms = atoms_of(np.stack([NORMAL[-len(column) :], column], axis=1))
    assert [atom["column"] for atom in atoms] == [2] * len(expected)
    assert all(expected <= set(atom) for atom in atoms)


def test_the_share_of_an_atom_is_that_of_its_rows():
    rain = np.where(np.arange(1_000) % 4 == 0, 0.0, PRICES[:1_000])
    found = atoms_of(np.stack([rain, NORMAL[:1_000]], axis=1))
    assert found == [{"column": 1, "value": 0.0, "share": 0.25}]

import numpy as np
import pytest

from nflow_cli.data.points import atoms_of

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

"""Equations among columns, against columns made by them and columns that obey none."""

import numpy as np
import pytest

from nflow_cli.data.singular import dependent_columns

RNG = np.random.default_rng(0)
A, B, C = RNG.standard_normal((3, 2_000))
SCALE = np.exp(RNG.standard_normal(2_000))


def found(*columns):
    return dependent_columns(np.stack(columns, axis=1)).tolist()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ((A, B, C, A + 2 * B), [True, True, False, True]),
        ((A, B, np.exp(A)), [True, False, True]),
        ((A, B, A**2), [True, False, True]),
        ((A, B, C, 3 + A * B), [True, True, False, True]),
        ((A, B, SCALE, A + SCALE * B), [True, True, True, True]),
        ((A, C, SCALE, np.sqrt(A**2 + SCALE**2)), [True, False, True, True]),
        ((A, B, SCALE, A / SCALE), [True, False, True, True]),
    ],
)
@pytest.mark.parametrize("digits", [17, 6])
def test_columns_in_an_equation_are_found(columns, expected, digits):
    written = [[float(f"{value:.{digits}g}") for value in column] for column in columns]
    assert found(*written) == expected


@pytest.mark.parametrize(
    "columns",
    [
        (A,),
        (A, A + 1e-3 * B, C),
        (A, A**2 + 1e-2 * B, C),
        (A, SCALE * B, np.log(SCALE), SCALE * C),
        tuple(np.cumsum(RNG.standard_normal((30, 4_000)), axis=0)),
        (1e6 + A, 1e-6 * A + 1e-7 * B),
    ],
)
def test_free_columns_are_free(columns):
    assert not any(found(*columns))

"""Cells of numbers as their kinds have them: without noise, and exactly on atoms."""

import numpy as np
import pytest

from nflow_cli.config.table_schema import TableData
from nflow_cli.data.cell_values import numbers_in
from nflow_cli.data.kinds import kinds_of
from nflow_cli.data.raw_columns import RawColumn

N = 1_000
RNG = np.random.default_rng(2)
NORMAL = RNG.normal(size=N)
TENTHS = np.rint(RNG.normal(size=N) * 20) / 10
SIXTHS = np.where(np.arange(N) % 4 == 0, 1 / 6, NORMAL)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (TENTHS.astype(np.float32), TENTHS),
        (TENTHS + RNG.normal(size=N) * 1e-15, TENTHS),
        (TENTHS * (1 + 1e-8 * np.sign(NORMAL)), TENTHS),
        (np.round(NORMAL, 3).astype(np.float32), np.round(NORMAL, 3)),
        (np.where(np.arange(N) == 7, np.nan, TENTHS), np.where(np.arange(N) == 7, np.nan, TENTHS)),
    ],
)
def test_noise_below_what_is_written_is_rounded_off(cells, values):
    column = RawColumn("x", "number", cells.astype(float), None, [])
    kind = kinds_of([column], TableData(name="t.csv"))["x"]
    np.testing.assert_array_equal(numbers_in(column, kind), values)


@pytest.mark.parametrize("cells", [NORMAL, np.rint(NORMAL * 10) / 3, 1.7e9 + 1e3 * NORMAL])
def test_other_numbers_stay_as_they_are_to_12_digits(cells):
    column = RawColumn("x", "number", cells, None, [])
    kind = kinds_of([column], TableData(name="t.csv"))["x"]
    np.testing.assert_allclose(numbers_in(column, kind), cells, rtol=5e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_atoms_are_met_exactly(dtype):
    column = RawColumn("x", "number", SIXTHS.astype(dtype).astype(float), None, [])
    kind = kinds_of([column], TableData(name="t.csv"))["x"]
    assert np.isin(numbers_in(column, kind), kind.atoms).sum() == N / 4


def test_dates_that_are_text_are_days():
    days = np.datetime64("2020-01-01") + RNG.integers(0, 90, N).astype("timedelta64[D]")
    texts = [f"{d.day}/{d.month}/{d.year}" for d in days.tolist()]
    known = list(dict.fromkeys(texts))
    column = RawColumn("x", "text", None, np.array([known.index(t) for t in texts]), known)
    kind = kinds_of([column], TableData(name="t.csv"))["x"]
    np.testing.assert_array_equal(numbers_in(column, kind), days.astype(float))

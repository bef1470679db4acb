"""The units of columns of numbers: after them values are near N(0, 1)."""

import numpy as np
import pytest

from nflow_cli.config.kinds_schema import ColumnKind, Lattice
from nflow_cli.data.number_units import units_of_numbers

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
    rng = np.random.default_rng(0)
    values = np.abs(rng.normal(60.0, 4.0, N)) if bounds else rng.normal(-3.0, 4.0, N)
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
    z = np.random.default_rng(3).standard_normal(N)
    values = np.round(SKEWED[name](z), 3)
    units = inside(units_of_numbers(values, ColumnKind(kind="number", resolution=1e-3)), values)
    assert np.abs(units - (z - z.mean()) / z.std()).max() < 0.3


@pytest.mark.parametrize(
    "shares", [[0.6, 0.24, 0.05, 0.06, 0.03, 0.018, 0.002], [0.96, 0.02, 0.01, 0.01], [0.2] * 5]
)
def test_few_counts_at_a_bound_have_no_tail_beyond_belief(shares):
    values = np.random.default_rng(1).choice(np.arange(float(len(shares))), N, p=shares)
    maps = units_of_numbers(values, grid(bounds=[0.0, None]))
    assert outside(maps, np.array([3.0])) < 20 * len(shares)
    assert np.abs(inside(maps, values)).max() < 8


def test_values_without_spread_have_the_units_of_a_step():
    (scale,) = units_of_numbers(np.full(9, 7.0), grid(0.5))
    assert (scale.centre, scale.scale) == (7.0, 0.5)
    (scale,) = units_of_numbers(np.empty(0), grid(0.5))
    assert (scale.centre, scale.scale) == (0.0, 0.5)


@pytest.mark.parametrize("bounds", [[0.0, None], [None, 9.0], [0.0, 9.0]])
def test_values_on_their_bounds_are_within(bounds):
    values = np.random.default_rng(2).integers(0, 10, N).astype(float)
    units = inside(units_of_numbers(values, grid(bounds=bounds)), values)
    assert np.isfinite(units).all() and np.abs(units).max() < 6

"""Values of a table as outcomes and intervals, and back."""

from dataclasses import replace

import numpy as np
import pytest
from cells import TAILS, UNITS, grid, levels, number

from nflow_cli.config.column_kinds import Lattice
from nflow_cli.data.column_maps import Log, Scale, Softplus, TukeyH
from nflow_cli.tables.cells.cell_columns import UNKNOWN

LOG = (Log(-1.0, "above"), Scale(2.0, 1.5))
SOFTPLUS = (Softplus(-1.0, "above", 50.0), Scale(1.0, 0.5))
COLUMNS = {
    "levels": levels("x", 5, missing=True),
    "grid": grid("x", step=0.25, offset=0.05, atoms=[0.05, 3.3], missing=True),
    "grid of heavy tails": grid("x", step=1.0, maps=TAILS, atoms=[-7.0]),
    "whole numbers": grid("x", step=1.0, maps=LOG, missing=True),
    "number": number("x", atoms=[0.5, 2.125], missing=True),
    "number above a bound": number("x", maps=SOFTPLUS, atoms=[45.5]),
    "thousands": number("x", resolution=1e3, decimals=0, maps=(Scale(1e6, 1e5),)),
    "prices that end in .99": number(
        "x", resolution=1.0, decimals=2, lattice=Lattice(step=1.0, offset=0.99)
    ),
}
AT_0 = ("whole numbers", "number above a bound")


def offset_of(column):
    return column.kind.lattice.offset if column.kind.lattice else 0.0


def round_trip(column, values):
    cells = column.encode(values)
    return column.decode(cells.codes, cells.interval.centre)


@pytest.mark.parametrize("case", COLUMNS)
def test_values_are_themselves_again(case):
    column = COLUMNS[case]
    values = np.array([*range(5), -1.0])
    if column.has_numbers:
        places = np.arange(1 if case in AT_0 else -3_000, 3_001)  # the first has all below it
        values = np.round(offset_of(column) + column.step * places, column.kind.decimals)
        values = np.append(values, column.kind.atoms)
    values = np.append(values, [] if column.missing_code is None else [np.nan])
    np.testing.assert_array_equal(round_trip(column, values), values)


def test_whole_numbers_of_13_digits_are_themselves_again_beside_atoms():
    x = 1.7e12 + np.arange(-3_000.0, 3_001)
    maps, facts = (Scale(1.7e12, 1e4),), {"type": "whole", "atoms": [1.7e12, 1.7e12 + 2]}
    column = number("x", resolution=1.0, decimals=0, maps=maps, **facts)
    np.testing.assert_array_equal(np.unique(column.codes(x), return_counts=True)[1], [1, 1, 5_999])
    np.testing.assert_array_equal(round_trip(column, x), x)


def test_numbers_of_all_digits_are_themselves_again_to_those_that_are_read():
    x = np.array([float(f"{x:.11e}") for x in np.random.default_rng(0).uniform(-50, 50, 1_000)])
    x[:4] = 0.0, 1e-11, -50, 50
    column = number("x", decimals=None, resolution=1e-15, maps=(Scale(1.0, 2.0), TukeyH(0.1)))
    np.testing.assert_allclose(round_trip(column, x), x, rtol=1e-14, atol=1e-15)


def test_draws_of_single_precision_are_on_its_lattice():
    column = number("x", decimals=None, resolution=1e-7, single=9)
    drawn = column.values_at(np.random.default_rng(0).normal(size=1_000))
    np.testing.assert_array_equal(drawn, [float(str(x)) for x in drawn.astype(np.float32)])


@pytest.mark.parametrize("case", [name for name in COLUMNS if name != "levels"])
def test_an_interval_is_half_a_step_to_each_side(case):
    column = COLUMNS[case]
    values = offset_of(column) + column.step * np.arange(1.0, 60.0)
    centre, half = column.encode(values).interval
    low, high = (column.in_interval_units(values + side * column.step / 2)[0] for side in (-1, 1))
    np.testing.assert_allclose(centre - half, low, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(2 * half, high - low, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("scale", "resolution", "at", "half"),
    [
        (Scale(0.0, 10.0), 1e-9, 123.456789123, 5e-11),
        # Narrower than a float.
        (Scale(1.00000000119, 2.220446048e-16), 2.220446048e-16, 1.00000000119, 0.5),
    ],
)
def test_the_width_of_a_small_interval_keeps_its_digits(scale, resolution, at, half):
    column = number("x", resolution=resolution, decimals=None, maps=(scale,))
    assert column.encode(np.array([at])).interval.half_width == pytest.approx([half], rel=1e-12)


def test_neighbours_on_a_grid_share_an_end():
    column = grid("x", step=1.0, maps=LOG)
    cells = column.encode(np.arange(1.0, 1_000.0))
    np.testing.assert_allclose(
        (cells.interval.centre + cells.interval.half_width)[:-1],
        (cells.interval.centre - cells.interval.half_width)[1:],
        rtol=1e-12,
        atol=1e-12,
    )


def test_a_value_on_no_grid_has_an_interval_of_no_width():
    column = grid("x", step=0.5)
    halves = column.encode(np.array([1.0, 1.1, 1.24, 1.4999999999])).interval.half_width
    np.testing.assert_array_equal(halves > 0, [True, False, False, True])


def test_outcomes_are_numbered_levels_or_atoms_first():
    codes = COLUMNS["levels"].encode(np.array([0.0, 4.0, np.nan, -1.0])).codes
    np.testing.assert_array_equal(codes, [0, 4, 5, 6])
    codes = COLUMNS["number"].encode(np.array([0.5, 2.125, 7.0, np.nan])).codes
    np.testing.assert_array_equal(codes, [0, 1, 2, 3])
    codes = COLUMNS["thousands"].encode(np.array([np.nan])).codes
    assert codes == UNKNOWN
    assert COLUMNS["levels"].outcomes.n_outcomes == 7 and COLUMNS["number"].outcomes.n_outcomes == 5


def test_whole_numbers_above_2_to_the_53_are_values_of_a_number():
    column = number("x", resolution=2.0**14, decimals=None, maps=(Scale(1e18, 1e17),))
    values = np.array([1.25e18, 9e17])
    cells = column.encode(values)
    np.testing.assert_array_equal(cells.codes, column.number_code)
    assert (cells.interval.half_width > 0).all()
    np.testing.assert_allclose(column.values_at(cells.interval.centre), values, rtol=1e-12)


def test_whole_numbers_are_drawn_below_2_to_the_63_as_a_file_can_have_them():
    column = number("x", resolution=2.0**14, decimals=None, maps=(Scale(1e18, 1e17),))
    column = replace(column, kind=column.kind.model_copy(update={"type": "whole"}))
    drawn = column.values_at(np.array([-1e3, 0.0, 1e3]))
    largest = np.nextafter(2.0**63, 0)
    np.testing.assert_array_equal(drawn, [-largest, 1e18, largest])


def test_far_values_have_finite_intervals_and_far_units_finite_values():
    for column in (COLUMNS[case] for case in ("grid", "number", "whole numbers")):
        places = np.rint(np.array([1e6, 1e9, 1e12]) / column.step)
        centre, half = column.encode(offset_of(column) + column.step * places).interval
        assert np.isfinite(centre).all() and (half > 0).all()
    for maps in (UNITS, TAILS, LOG, SOFTPLUS):
        for column in (grid("x", step=1.0, maps=maps), number("x", maps=maps)):
            values = column.values_at(np.array([-1e300, -1e3, 0.0, 1e3, 1e300]))
            assert np.isfinite(values).all() and (np.diff(values) >= 0).all()


def test_draws_have_the_digits_that_a_table_is_read_to():
    column = number("x", decimals=5, resolution=1e-5, maps=(Scale(1.2e7, 1e6),))
    values = column.values_at(np.linspace(-1, 1, 9))
    np.testing.assert_array_equal(values, [float(f"{value:.12g}") for value in values])

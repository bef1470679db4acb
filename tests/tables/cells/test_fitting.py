"""What training rows decide of a density of cells before any training."""

import math

import numpy as np
import pytest
from cells import independent, number, random_weights

from nflow_cli.config.table import TableData
from nflow_cli.data.column_maps import Scale, Softplus
from nflow_cli.data.files.table_files import table_of
from nflow_cli.data.kinds.dataset import load_dataset
from nflow_cli.tables.cells import network
from nflow_cli.tables.cells.cells_density import CellDensity
from nflow_cli.tables.cells.fitting import (
    fitted_columns,
    fitted_marginals,
    layout_of,
    with_both_ends,
)
from nflow_cli.tables.cells.network_start import starting_weights

N = 1_000


def dataset(columns, **settings):
    return load_dataset(TableData(name="table", missing="model", **settings), table_of(columns))


def marginals_of(data):
    columns = fitted_columns(data)
    return columns, fitted_marginals(columns, data.train, data.weights.train)


def density_of(data):
    """Return a density of random weights beside the marginals of training rows."""
    columns, marginals = marginals_of(data)
    layout = layout_of(columns, len(data.given_names), 3, 16)
    weights = network.masked_weights(layout, random_weights(layout, np.random.default_rng(0)))
    shares = np.full((2, len(layout.modelled)), 0.5)
    return CellDensity(columns, layout, marginals, [weights], shares)


RNG = np.random.default_rng(1)
SHAPES = {
    "cauchy": RNG.standard_cauchy(N),
    "log-normal": np.exp(2 * RNG.standard_normal(N)),
    "normal": RNG.standard_normal(N),
    "uniform": RNG.random(N),
    "counts at a bound": RNG.choice(np.arange(1.0, 8.0), N, p=[0.6, 0.3, 0.04, 0.03, *[0.01] * 3]),
}


def test_counts_most_of_which_are_at_a_bound_have_their_shares():
    shares = np.array([0.6, 0.24, 0.05, 0.06, 0.03, 0.018, 0.002])
    x = np.random.default_rng(4).choice(np.arange(1.0, 8.0), 4_000, p=shares)
    x[::3] = np.nan
    data = dataset({"x": x, "y": RNG.random(4_000)})
    density = independent(density_of(data))
    assert density.columns[0].kind.kind == "grid" and density.columns[0].kind.bounds == [1.0, None]
    rows = np.column_stack([np.arange(1.0, 8.0), np.full(7, 0.5)])
    p = np.exp(density.cell_log_probs(rows)[:, 0]) / (2 / 3)
    assert shares @ np.log(shares / p) < 0.005


@pytest.mark.parametrize("shape", SHAPES)
def test_a_number_any_number_of_ranges_away_costs_twice_the_logarithm_of_these(shape):
    """One row more is an outlier, of a Cauchy distribution over five ranges."""
    (column,), (marginal,) = marginals_of(data := dataset({"x": np.round(SHAPES[shape], 5)}))
    x, ranges = data.train[:, 0], np.array([10.0, 1e3, 1e6, 1e12])
    extent = np.ptp(x) + column.step
    values = column.nearest(np.median(x) + ranges * extent)
    cells = column.encode(values)
    log_p = marginal.log_prob(cells.codes, *cells.interval, cells.log_p_outlier)
    expected = -np.log(len(x) + 1) - np.log(5 * np.pi * (1 + np.square(ranges / 5)))
    np.testing.assert_allclose(log_p - math.log(column.step / extent), expected, atol=0.05)


def test_numbers_end_at_0_where_none_is_below_and_one_below_is_an_outlier():
    rng = np.random.default_rng(7)
    columns = {
        "price": np.round(np.exp(rng.normal(12, 0.6, N)), -2),
        "size": rng.gamma(4, 20, N),
        "height": rng.normal(170, 10, N),
        "net": rng.normal(1, 1, N),
        "years": np.minimum(np.rint(rng.gamma(4, 3, N)), 17),
    }
    density = density_of(data := dataset(columns))
    draws = density.draw(np.full((20_000, 5), np.nan), rng)
    lows = dict(zip(data.columns, draws.min(axis=0)))
    assert data.kinds["years"].bounds == [None, 17] and lows["years"] >= 0
    assert 0 <= lows["price"] < 3e4 and 0 <= lows["size"] < 10
    assert lows["height"] > 50 and lows["net"] < -1
    below = np.median(data.train, axis=0) * np.array([1.0, -1.0, 1.0, 1.0, 1.0])
    log_q = density.cell_log_probs(below[None])[0]
    assert -60 < log_q[1] < -10


def test_columns_that_may_be_linear_mixtures_end_at_0_but_in_straight_units():
    """In units that end mixtures of sources would not be linear."""
    rng = np.random.default_rng(9)
    data = dataset({"size": rng.gamma(1.2, 20, N), "width": rng.gamma(1.2, 1, N)})
    assert data.may_be_linear
    for rows, ends_at_0 in ((data, True), (data.straightened(), False)):
        draws = density_of(rows).draw(np.full((20_000, 2), np.nan), rng)
        assert bool(draws.min() >= 0) is ends_at_0


def test_draws_end_within_two_ranges_of_the_dearest_row():
    """A map to scores that went on as a normal of ten ranges drew houses for minus five million."""
    rng = np.random.default_rng(8)
    x = np.exp(rng.normal(12, 0.5, 1_400))
    x = np.where(rng.random(1_400) < 0.6, np.round(x, -4), np.round(x, -2))
    density = density_of(data := dataset({"price": x, "y": RNG.random(1_400)}))
    assert density.columns[0].normal_scores is not None
    prices = density.draw(np.full((100_000, 2), np.nan), np.random.default_rng(1))[:, 0]
    rows = data.train[:, 0]
    assert prices.min() >= 0 and prices.max() < rows.max() + 2 * np.ptp(rows)
    assert prices.std() == pytest.approx(rows.std(), rel=0.1)


def test_whatever_a_network_says_its_draws_are_near_the_rows():
    columns = {"a": np.exp(RNG.standard_normal(N)), "b": RNG.standard_normal(N)}
    columns = {name: np.round(x, 3) for name, x in columns.items()}
    cells = fitted_columns(data := dataset(columns))
    layout = layout_of(cells, 0, 3, 16)
    weights = random_weights(layout, np.random.default_rng(1))
    weights = network.masked_weights(layout, {name: 20 * array for name, array in weights.items()})
    marginals = fitted_marginals(cells, data.train, None)
    density = CellDensity(cells, layout, marginals).with_one(weights)
    draws = density.draw(np.full((5_000, 2), np.nan), np.random.default_rng(2))
    low, high = data.train.min(axis=0), data.train.max(axis=0)
    beyond = np.maximum(low - draws, draws - high).max(axis=0) / (high - low)
    assert (beyond < 5).all() and ((draws < low) | (draws > high)).mean() < 0.05


def test_the_least_scale_is_a_quarter_of_an_interval():
    columns = fitted_columns(dataset({"x": RNG.integers(-20, 20, N), "y": RNG.random(N)}))
    floors = [column.least_scale for column in columns]
    low, high = columns[0].in_interval_units(np.array([0.0, 1.0]))[0]
    assert floors[0] == pytest.approx(0.25 * (high - low), rel=0.3)
    assert floors[1] == 1e-5


def test_a_network_starts_at_the_season_and_the_weekday_of_dates_in_a_column_behind():
    rng = np.random.default_rng(4)
    dates = np.datetime64("2019-01-01") + np.arange(1_461)
    days = dates.astype(int)
    of_weekday = np.array([0.0, 0.2, -0.3, 0.1, 0.9, 1.6, -1.4])
    mean = 10 + 1.5 * np.sin(2 * np.pi * days / 365.2425 - 1) + of_weekday[days % 7]
    y = mean + 0.3 * rng.standard_normal(len(mean))
    data = dataset({"day": dates.astype(str).astype(object), "y": y})
    columns, marginals = marginals_of(data)
    layout = layout_of(columns, 0, 1, 4)
    start = starting_weights(layout, columns, data.train, None)
    arrays = {n: start.of(n, np.zeros(s)) for n, s in network.shapes(layout, 0).items()}
    density = CellDensity(columns, layout, marginals).with_one(
        network.masked_weights(layout, arrays)
    )
    log_q = density.cell_log_probs(data.test)[:, 1]
    truth = mean[(data.test[:, 0] - days[0]).astype(int)]
    log_p = -np.square((data.test[:, 1] - truth) / 0.3) / 2 - np.log(0.3 * np.sqrt(2 * np.pi))
    assert (log_p - log_q).mean() == pytest.approx(0, abs=0.03)


def test_other_units_move_log_q_by_their_logarithm_and_that_of_a_grid_by_nothing():
    rng = np.random.default_rng(2)
    heavy = np.round(np.exp(rng.standard_normal(N)) - 1, 4)
    columns = {
        "number": np.where(rng.random(N) < 0.1, np.nan, heavy),
        "grid": np.round(rng.normal(0, 3, N), 1),
        "level": rng.choice(["a", "b"], N),
    }
    scaled = {**columns, **{name: columns[name] * 100 for name in ("number", "grid")}}
    cells = [density_of(dataset(t)).cell_log_probs(dataset(t).test) for t in (columns, scaled)]
    moved = cells[1] - cells[0]
    is_number = ~np.isnan(dataset(columns).test[:, 0])
    np.testing.assert_allclose(moved[is_number, 0], -math.log(100), atol=1e-6)
    np.testing.assert_allclose(moved[~is_number, 0], 0, atol=1e-6)
    np.testing.assert_allclose(moved[:, 1:], 0, atol=1e-6)


def test_bounds_found_where_rows_crowd_leave_a_density_as_good_as_the_truth():
    rng = np.random.default_rng(3)
    x, counts = np.round(rng.exponential(100.0, 4_000), 2), rng.geometric(0.1, 4_000) - 1.0
    density = independent(density_of(data := dataset({"x": x, "counts": counts})))
    assert [column.kind.bounds for column in density.columns] == [[0.0, None], [0.0, None]]
    price, count = data.test.T
    truth = np.stack([-price / 100 - math.log(100), math.log(0.1) + count * math.log(0.9)], 1)
    assert (np.mean(truth - density.cell_log_probs(data.test), axis=0) < 0.03).all()


def test_numbers_of_all_digits_that_crowd_at_their_ends_have_a_density():
    rng = np.random.default_rng(5)
    x = rng.integers(0, 40, N) + rng.uniform(0, 0.5, N)
    density = independent(density_of(data := dataset({"x": x, "y": RNG.random(N)})))
    assert density.columns[0].kind.bounds
    assert np.isfinite(density.cell_log_probs(data.train)).all()
    draws = density.draw(np.full((500, 2), np.nan), rng)
    assert np.isfinite(density.log_prob(draws)).all()


def test_steps_narrower_than_a_float_have_a_broad_normal_and_an_interval_of_some_width():
    maps = (Softplus(-4e56, "above", 4e71), Scale(-16.0, 13.0))
    column = number("x", resolution=1e54, maps=maps, decimals=None)
    (marginal,) = fitted_marginals([column], np.array([[7e71]]), None)
    assert (marginal.normals.scales > 0).all()
    maps = (Softplus(-2.7e11, "above", 8.5e14), Scale(0.5, 15.0))
    column = number("x", resolution=9e-9, maps=maps, decimals=None, bounds=[0, None], is_open=True)
    assert (with_both_ends(column, np.array([0.0, 1e-11])).interval.half_width > 0).all()


@pytest.mark.parametrize("bounds", [{}, {"bounds": {"x": [4, 17]}}], ids=["free", "bounded"])
def test_a_normal_may_lie_on_the_first_and_the_last_value_of_a_grid(bounds):
    x = np.random.default_rng(5).choice(np.arange(4.0, 18.0), 2_000)
    (column, _) = fitted_columns(dataset({"x": x, "y": RNG.random(2_000)}, **bounds))
    first, last = column.in_interval_units(np.array([4.0, 17.0]))[0]
    assert column.kind.kind == "grid"
    assert column.low + 2 * column.least_scale <= first + 1e-9
    assert column.high - 2 * column.least_scale >= last - 1e-9


def test_normals_of_numbers_beside_atoms_that_a_flag_tells_stay_near_them():
    flag = RNG.random(N) < 0.5
    noisy = np.where(RNG.random(N) < 0.02, ~flag, flag).astype(int)
    rest = np.round(RNG.normal(1e6, 1.0, N), 3)
    _, column = fitted_columns(dataset({"flag": noisy, "x": np.where(flag, 0.0, rest)}))
    low, high = column.in_units(np.array([1e6 - 20, 1e6 + 20]))[0]
    assert low < column.low < column.high < high


def test_a_single_number_beside_repeated_ones_has_units_near_theirs_and_a_probability():
    x = np.append(np.repeat([1.085189, 1.105392, 1.168571], [24, 23, 23]), 3.8986)
    parts = np.repeat(["validation", "test", "train"], [5, 5, 61])
    data = dataset({"x": x, "y": RNG.random(71), "part": parts}, split="part")
    density = independent(density_of(data))
    cells = density.columns[0].encode(np.unique(x))
    assert density.columns[0].has_numbers and np.abs(cells.units).max() < 30
    assert (np.abs(cells.interval.centre) + cells.interval.half_width).max() < 30
    assert np.isfinite(density.cell_log_probs(data.train)).all()


def test_repeated_values_beyond_all_others_have_scores_near_theirs():
    rng = np.random.default_rng(1)
    values = np.append(0.0, np.round(rng.uniform(0, 1, 25), 6))
    counts = rng.integers(3, 400, 26)
    counts[7] = 1
    x = np.repeat(values, counts)
    (column, _) = fitted_columns(dataset({"x": x, "y": RNG.random(len(x))}))
    assert column.normal_scores is not None
    assert -10 < column.low < column.high < 10

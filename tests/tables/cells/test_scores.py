"""Normal scores of columns whose values repeat against the distributions that these are of."""

import math
from dataclasses import replace

import numpy as np
import pytest
from cells import grid, in_units
from scipy import stats

from nflow_cli.config.table import TableData
from nflow_cli.data.column_maps import Scale
from nflow_cli.data.files.table_files import table_of
from nflow_cli.data.files.written import as_written
from nflow_cli.data.kinds.dataset import load_dataset
from nflow_cli.tables.cells.fitting import fitted_columns, fitted_marginals
from nflow_cli.tables.cells.marginal import STANDARD, Normals
from nflow_cli.tables.cells.scores import Numbers, fit_scores

PLACES = np.arange(-5_000.0, 5_001.0)
MIXED = Normals(np.log([0.2, 0.5, 0.3]), np.array([-1.0, 0.2, 2.5]), np.array([0.1, 1.5, 0.6]))


@pytest.fixture(scope="module")
def column():
    """Return a column of whole numbers, 2 000 rows of which half are rounded to tens."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 60, 2_000)
    x = np.where(rng.random(2_000) < 0.5, 10 * np.rint(x / 10), np.rint(x))
    plain = in_units(grid("x", step=1.0, maps=(Scale(0.0, 60.0),)))
    centre, half = plain.encode(x).interval
    of = Numbers(x, centre, half, np.ones(len(x)), plain.in_units, 2, 1.0)
    scores = fit_scores(of, 0.005, 5.0)
    assert 20 < len(scores.values) < 400
    return replace(plain, normal_scores=scores)


def test_by_a_normal_a_value_has_the_mass_of_its_step_and_of_the_smooth_part_in_all_1(column):
    scores, bare = column.normal_scores, in_units(column)
    smooth = np.exp(scores.smooth.log_mass(*bare.encode(PLACES).interval))
    steps = np.zeros(len(PLACES))
    steps[np.searchsorted(PLACES, scores.values)] = scores.masses
    expected = steps + (1 - scores.masses.sum()) * smooth
    found = np.exp(STANDARD.log_mass(*column.encode(PLACES).interval))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    for normals in (STANDARD, MIXED):
        mass = np.exp(normals.log_mass(*column.encode(PLACES).interval))
        assert mass.sum() == pytest.approx(1, abs=1e-9)


def test_a_value_a_million_ranges_away_has_a_finite_mass_and_is_itself_again(column):
    far = np.array([-6e8, 6e8])
    cells = column.encode(far)
    log_mass, bare = STANDARD.log_mass(*cells.interval), in_units(column)
    expected = column.normal_scores.smooth.log_mass(*bare.encode(far).interval)
    np.testing.assert_allclose(log_mass, expected + np.log(column.normal_scores.rest), rtol=1e-9)
    np.testing.assert_allclose(column.values_at(cells.interval.centre), far, rtol=1e-9)


def test_a_step_has_its_value_all_over_its_interval_and_each_place_in_the_middle(column):
    values = column.normal_scores.values
    centre, half = column.encode(values).interval
    for part in (-0.999999, -0.5, 0.0, 0.5, 0.999999):
        np.testing.assert_array_equal(column.values_at(centre + part * half), values)
    some = PLACES[np.abs(PLACES) < 600]
    np.testing.assert_array_equal(column.values_at(column.encode(some).interval.centre), some)


def test_draws_have_the_shares_of_the_steps_and_new_values_the_rest(column):
    scores, n = column.normal_scores, 100_000
    on, _ = scores.outside(np.random.default_rng(1).standard_normal(n))
    counts = np.bincount(np.searchsorted(scores.values, on[~np.isnan(on)]))
    expected = n * np.append(scores.masses, scores.rest)
    counts = np.append(counts, np.isnan(on).sum())
    assert stats.chisquare(counts, expected * n / expected.sum()).pvalue > 1e-3
    error = math.sqrt(scores.rest * (1 - scores.rest) / n)
    assert abs(np.isnan(on).mean() - scores.rest) < 3 * error


def test_draws_have_the_masses_of_their_places(column):
    n = 100_000
    x = column.values_at(np.random.default_rng(2).standard_normal(n))
    places, counts = np.unique(x, return_counts=True)
    expected = n * np.exp(STANDARD.log_mass(*column.encode(places).interval))
    found, known = (counts[expected > 20], expected[expected > 20])
    found, known = (np.append(part, n - part.sum()) for part in (found, known))
    assert stats.chisquare(found, known).pvalue > 1e-3


def fitted(x):
    """Return the column of a table of numbers, by nine tenths of them, and its marginal."""
    settings = TableData(name="table", missing="model")
    data = load_dataset(settings, table_of({"x": x}))
    (column,) = fitted_columns(data)
    (marginal,) = fitted_marginals([column], data.train, None)
    return column, marginal


def log_prob(column, marginal, values):
    """Return the log-probability of values, an outlier among them."""
    cells = column.encode(values)
    return marginal.log_prob(cells.codes, *cells.interval, cells.log_p_outlier)


def rounded(law, places, step=1.0):
    return law.cdf(places + step / 2) - law.cdf(places - step / 2)


def with_zeros(step):
    """Return half zeros, half gamma, written to a step."""
    places = np.rint(np.arange(0, 400, step) / step) * step
    p = 0.5 * rounded(stats.gamma(2, scale=17), places, step)
    p[0] += 0.5
    return np.round(places, 3), p


def tens():
    places, law = np.arange(-200.0, 1_201.0), stats.norm(500, 100)
    is_ten = places % 10 == 0
    return places, 0.5 * rounded(law, places) + 0.5 * is_ten * rounded(law, places, 10)


def celsius():
    places = np.arange(-60.0, 181.0)
    return np.round((places - 32) * 5 / 9, 1), rounded(stats.norm(60, 15), places)


TENTHS = np.arange(-800.0, 801.0)
# Values, their probabilities, and what they are: smooth, smooth with heaps, or on no dense lattice.
LAWS = {
    "zeros, gamma to 0.001": (*with_zeros(1e-3), "smooth"),
    "zeros, gamma, whole": (*with_zeros(1.0), "smooth"),
    "half rounded to tens": (*tens(), "heaped"),
    "normal to 0.1": (TENTHS / 10, rounded(stats.norm(0, 70), TENTHS), "smooth"),
    "Celsius of Fahrenheit": (*celsius(), "sparse"),
    "logarithms": (np.log(np.arange(1, 201)), np.full(200, 1 / 200), "sparse"),
}
PARAMETERS = 10  # of a smooth column: about three normals and a share


@pytest.mark.parametrize(
    ("name", "n"),
    [
        *((name, 1_000) for name in LAWS),
        *((name, 5_000) for name in LAWS if name != "zeros, gamma to 0.001"),
    ],
)
def test_a_column_has_nearly_its_entropy(name, n):
    """K fitted shares cost χ² of K over 2n; a value not seen, of a sparse column, the logarithm of
    the number of places.
    """
    values, p, sort = LAWS[name]
    p = p / p.sum()
    rng = np.random.default_rng(n)
    x = rng.choice(values, round(n / 0.9), p=p)
    column, marginal = fitted(x)
    some = p > 1e-300
    values, p = as_written(values[some]), p[some]
    lost = p @ (np.log(p) - log_prob(column, marginal, values))
    shares = PARAMETERS if sort == "smooth" else np.sum(1 - (1 - p) ** n)
    margin = stats.chi2.ppf(0.999, shares) / (2 * n)
    if sort == "sparse":
        places = (np.ptp(x) + column.step) / column.step
        margin += np.sum(p * (1 - p) ** n) * math.log(places)
    assert -1e-9 < lost < margin


@pytest.mark.parametrize("rate", [1.5, 4.0, 40.0])
def test_a_smooth_grid_has_no_steps(rate):
    """Steps by chance would be noise to columns that depend on it."""
    n, step = 1_000, rate * 2 * math.sqrt(math.pi) / 1_000
    for seed in range(3):
        normal = np.random.default_rng([n, seed]).standard_normal(n)
        column, _ = fitted(np.round(step * np.rint(normal / step), 12))
        assert column.kind.kind == "grid" and column.normal_scores is None


def test_a_few_uneven_counts_and_a_few_values_far_away_are_not_worth_steps():
    """Steps would gain 0.005 nats a row by the counts, and no one row decides of all."""
    rng = np.random.default_rng(4)
    shares = rng.dirichlet(np.full(35, 100.0))
    column, _ = fitted(rng.choice(np.arange(1.0, 36.0), 4_000, p=shares))
    assert column.kind.kind == "grid" and column.normal_scores is None
    x = np.append(np.round(rng.normal(4, 0.3, 4_000), 2), np.zeros(3))
    column, _ = fitted(rng.permutation(x))
    assert column.kind.kind == "grid" and column.normal_scores is None


def test_new_values_are_as_round_as_those_seen():
    """Incomes to the cent, most of them whole thousands: so is a new one."""
    rng = np.random.default_rng(3)
    x = np.exp(rng.normal(11, 0.6, 2_000))
    x = np.where(rng.random(2_000) < 0.8, 1_000 * np.rint(x / 1_000), np.round(x, 2))
    column, marginal = fitted(x)
    new = np.setdiff1d(np.arange(100_000.0, 250_000.0, 1_000.0), x)[:3]
    beside = log_prob(column, marginal, np.append(new, new + 0.37))
    assert len(new) and (beside[: len(new)] > beside[len(new) :] + 5).all()


def test_each_value_of_decimals_has_one_step():
    """Wages to the cent, most of them multiples of 5: 46 steps of 0.05 are not quite 2.3."""
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(5, 2, 1_000), 0.05, None)
    x = np.where(rng.random(1_000) < 0.7, np.round(20 * x) / 20, x).round(2)
    column, _ = fitted(x)
    assert (
        len(column.normal_scores.values) > len(np.unique(x))
        and np.diff(column.normal_scores.values).min() > 0.009
    )

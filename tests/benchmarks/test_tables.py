"""What tables are judged by: independent columns, latent classes, ranges, heaps, and truths."""

import itertools

import numpy as np
import pytest

from benchmarks.draws_beside_rows import heaping, outside_range
from benchmarks.independent import fit_independent
from benchmarks.latent_classes import fit_latent_classes
from benchmarks.truths import TABLES
from nflow_cli.config.kinds_schema import ColumnKind, Lattice
from nflow_cli.densities.cells.marginal import Support, fit_marginal

LEVELS = ColumnKind(kind="levels", levels=["no", "yes"])
NUMBER = ColumnKind(kind="number")
CENTS = ColumnKind(kind="grid", lattice=Lattice(step=0.01))
COLUMNS = [Support(4, new=3), Support(2), Support(2, number=0, floor=1e-3)]
CLASSES = np.array([0.5, 0.3, 0.2])
FIRST = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8]])
SECOND = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
MEANS, SCALES, HALF = np.array([-1.0, 0.5, 2.0]), np.array([0.3, 0.2, 0.5]), 5e-4


def draw(rng, n):
    kinds = rng.choice(3, n, p=CLASSES)
    first = (rng.random((n, 1)) > FIRST[kinds].cumsum(axis=1)).sum(axis=1)
    second = (rng.random(n) > SECOND[kinds, 0]).astype(int)
    x = MEANS[kinds] + SCALES[kinds] * rng.standard_normal(n)
    codes = np.stack([first, second, np.zeros(n, int)], axis=1)
    return codes, x[:, None], np.full((n, 1), HALF)


def truth(codes, centre, half):
    normal = np.exp(-0.5 * ((centre - MEANS) / SCALES) ** 2) / (SCALES * np.sqrt(2 * np.pi))
    return np.log(
        (CLASSES * FIRST.T[codes[:, 0]] * SECOND.T[codes[:, 1]] * normal * 2 * half).sum(axis=1)
    )


def test_independent_cells_have_the_probability_of_their_columns_marginal():
    rng = np.random.default_rng(0)
    codes = np.stack([np.zeros(300, int), rng.integers(0, 3, 300), rng.integers(0, 2, 300)], axis=1)
    centre, half = rng.standard_normal((300, 2)), np.full((300, 2), 0.01)
    columns = [Support(1, number=0), Support(4, new=3), Support(2, number=1)]
    weights = rng.random(300)
    independent = fit_independent(columns, codes, centre, half, weights)
    log_cells = independent.log_cells(codes, centre, half)
    assert log_cells.shape == (300, 3)
    for column, place in enumerate([0, None, 1]):
        cells = [codes[:, column]]
        cells += [] if place is None else [centre[:, place], half[:, place]]
        marginal = fit_marginal(columns[column], *cells, weights=weights)
        np.testing.assert_array_equal(log_cells[:, column], marginal.log_prob(*cells))


def test_classes_are_recovered_and_an_unknown_cell_is_summed_over_its_outcomes():
    train, new = draw(np.random.default_rng(0), 800), draw(np.random.default_rng(1), 5_000)
    fitted = fit_latent_classes(COLUMNS, *train)
    independent = fit_independent(COLUMNS, *train).log_cells(*new).sum(axis=1)
    assert np.mean(truth(*new) - fitted.log_prob(*new)) < 0.05
    assert np.mean(truth(*new) - independent) > 0.7
    codes, centre, half = (array[:50] for array in new)
    each = []
    for outcome in (0, 1, 2, 3, -1):
        codes[:, 0] = outcome
        each.append(fitted.log_prob(codes, centre, half))
    np.testing.assert_allclose(each[4], np.logaddexp.reduce(each[:4]), rtol=1e-12)
    nothing = fitted.log_prob(np.full((1, 3), -1), np.zeros((1, 1)), np.ones((1, 1)))
    assert nothing == pytest.approx(0, abs=1e-12)


def test_classes_of_a_grid_have_mass_1():
    rng = np.random.default_rng(2)
    codes, x, _ = draw(rng, 400)
    codes[::9, 2] = 1
    x = np.rint(x * 2) / 2
    classes = fit_latent_classes(COLUMNS, codes, x, np.full((400, 1), 0.25))
    grid = np.arange(-600, 601) / 2
    numbers = np.array(list(itertools.product(range(4), range(2), [0], grid)))
    gaps = np.array(list(itertools.product(range(4), range(2), [1], [0.0])))
    rows = np.concatenate([numbers, gaps])
    log_p = classes.log_prob(rows[:, :3].astype(int), rows[:, 3:], np.full((len(rows), 1), 0.25))
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-10)


def test_columns_that_are_independent_are_one_class():
    rng, n = np.random.default_rng(2), 60
    codes = np.stack([rng.integers(0, 3, n), rng.integers(0, 2, n), np.zeros(n, int)], axis=1)
    for rows in (1, 2, n):
        cells = codes[:rows], rng.standard_normal((rows, 1)), np.full((rows, 1), HALF)
        independent = fit_independent(COLUMNS, *cells).log_cells(*cells).sum(axis=1)
        log_p = fit_latent_classes(COLUMNS, *cells).log_prob(*cells)
        np.testing.assert_allclose(log_p, independent, rtol=1e-12)


def wages(n, seed, rounded=0.4):
    """Return wages in cents, a share of which are in full tens of cents."""
    rng = np.random.default_rng(seed)
    cents = rng.integers(100, 5_000, n)
    return np.where(rng.random(n) < rounded, cents // 10 * 10, cents)[:, None] / 100


def test_shares_beyond_the_training_range_are_those_of_each_end():
    train = np.array([[0, 1.0], [1, np.nan], [1, 3.0]])
    rows = np.array([[0, 0.5], [1, 1.0], [1, 3.0], [0, np.nan]])
    draws = np.array([[0, 3.5], [-1, 9.0], [1, 0.0], [0, 2.0]])
    found = outside_range({"sex": LEVELS, "x": NUMBER}, train, rows, draws)
    assert list(found) == ["x"]
    below, above = found["x"]
    assert below[:2] == pytest.approx((1 / 3, 1 / 4)) and above[:2] == (0.0, 0.5)


def test_draws_of_the_rows_own_density_leave_the_range_as_rows_do_and_wider_ones_do_not():
    rng = np.random.default_rng(0)
    train, rows, draws, wide = (rng.normal(size=(n, 1)) for n in (200, 2_000, 20_000, 20_000))
    right = outside_range({"x": NUMBER}, train, rows, draws)["x"]
    assert all(abs(shares.sigmas) < 3 for shares in right)
    wrong = outside_range({"x": NUMBER}, train, rows, 1.5 * wide)["x"]
    assert all(shares.sigmas > 4 for shares in wrong)


def test_heaps_that_draws_have_too_are_no_difference_and_missing_ones_are():
    found = heaping({"wage": CENTS}, wages(2_000, 0), wages(10_000, 1))["wage"]
    # All rounded cells, and a tenth of the others; of fives a fifth.
    assert found.multiples[10].rows == pytest.approx(0.46, abs=0.04)
    assert found.multiples[5].draws == pytest.approx(0.52, abs=0.02)
    assert found.sigmas < 3 and found.freedom == 9
    found = heaping({"wage": CENTS}, wages(2_000, 0), wages(10_000, 1, rounded=0.0))["wage"]
    assert found.multiples[10].sigmas < -20 and found.sigmas > 20


def test_wrong_last_digits_are_found_where_multiples_agree():
    rng = np.random.default_rng(0)
    ages = ColumnKind(kind="grid", lattice=Lattice(step=1))
    rows, draws = (rng.integers(0, 90, (n, 1)).astype(float) for n in (2_000, 2_000))
    draws[draws % 10 == 3] -= 1
    found = heaping({"age": ages}, rows, draws)["age"]
    assert all(abs(shares.sigmas) < 3 for shares in found.multiples.values())
    assert found.sigmas > 10


def test_chi_square_of_one_distribution_has_its_degrees_of_freedom():
    pairs = [(wages(500, seed), wages(700, seed + 1_000)) for seed in range(300)]
    values = [heaping({"wage": CENTS}, *pair)["wage"].chi_square for pair in pairs]
    assert np.mean(values) == pytest.approx(9, abs=3.5 * np.sqrt(18 / 300))


def test_an_offset_is_taken_off_gaps_are_left_out_and_no_cells_are_no_difference():
    half = ColumnKind(kind="grid", lattice=Lattice(step=1, offset=2.5))
    rows = np.array([[0.5], [5.5], [10.5], [np.nan]])
    assert heaping({"x": half}, rows, rows + 1)["x"].multiples[5][:2] == (1.0, 0.0)
    empty = np.full((5, 1), np.nan)
    (found,) = heaping({"wage": CENTS}, wages(50, 0), empty).values()
    assert (found.chi_square, found.freedom) == (0.0, 0)
    assert np.isnan(found.multiples[5].draws)
    (ends,) = outside_range({"wage": CENTS}, empty, wages(50, 0), empty).values()
    assert ends.below.rows == 0.0


@pytest.mark.slow
def test_a_mixture_with_gaps_has_the_mass_of_each_pattern():
    truth, grid = TABLES["emptied-3"](), np.linspace(-14, 14, 101)
    step, total = grid[1] - grid[0], 0.0
    for gaps in itertools.product([False, True], repeat=3):
        axes = [[np.nan] if gap else grid for gap in gaps]
        x = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 3)
        total += np.exp(truth.log_prob(x)).sum() * step ** (3 - sum(gaps))
    np.testing.assert_allclose(total, 1.0, rtol=1e-3)


def test_a_turned_chain_has_the_density_of_its_rows():
    truth, plain = TABLES["turned-10"](), TABLES["chain-10"]()
    x = plain.sample(np.random.default_rng(0), 100)
    turned = np.linalg.slogdet(truth.matrix)[1] + truth.log_prob(x @ truth.matrix.T)
    np.testing.assert_allclose(turned, plain.log_prob(x), rtol=1e-9)

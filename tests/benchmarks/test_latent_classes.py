"""A mixture of products of columns against one that is known."""

from itertools import product

import numpy as np
import pytest

from benchmarks.independent import fit_independent
from benchmarks.latent_classes import fit_latent_classes
from nflow_cli.densities.cells.marginal import Support

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


@pytest.fixture(scope="module")
def fitted():
    return fit_latent_classes(COLUMNS, *draw(np.random.default_rng(0), 800))


def test_classes_are_recovered_where_columns_are_not_independent(fitted):
    train, new = draw(np.random.default_rng(0), 800), draw(np.random.default_rng(1), 5_000)
    lost = np.mean(truth(*new) - fitted.log_prob(*new))
    independent = fit_independent(COLUMNS, *train).log_cells(*new).sum(axis=1)
    assert lost < 0.05 and np.mean(truth(*new) - independent) > 0.7


def test_all_rows_of_a_grid_have_mass_1():
    rng = np.random.default_rng(2)
    codes, x, _ = draw(rng, 400)
    codes[::9, 2] = 1
    x = np.rint(x * 2) / 2
    classes = fit_latent_classes(COLUMNS, codes, x, np.full((400, 1), 0.25))
    grid = np.arange(-600, 601) / 2
    numbers = np.array(list(product(range(4), range(2), [0], grid)))
    gaps = np.array(list(product(range(4), range(2), [1], [0.0])))
    rows = np.concatenate([numbers, gaps])
    log_p = classes.log_prob(rows[:, :3].astype(int), rows[:, 3:], np.full((len(rows), 1), 0.25))
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-10)


def test_an_unknown_cell_is_summed_over_its_outcomes(fitted):
    codes, centre, half = draw(np.random.default_rng(3), 50)
    each = []
    for outcome in range(4):
        codes[:, 0] = outcome
        each.append(fitted.log_prob(codes, centre, half))
    codes[:, 0] = -1
    np.testing.assert_allclose(
        fitted.log_prob(codes, centre, half), np.logaddexp.reduce(each), rtol=1e-12
    )
    unknown = np.full((1, 3), -1)
    assert fitted.log_prob(unknown, np.zeros((1, 1)), np.ones((1, 1))) == pytest.approx(
        0, abs=1e-12
    )


@pytest.mark.parametrize("n", [1, 2, 60])
def test_columns_that_are_independent_are_one_class(n):
    rng = np.random.default_rng(n)
    codes = np.stack([rng.integers(0, 3, n), rng.integers(0, 2, n), np.zeros(n, int)], axis=1)
    rows = codes, rng.standard_normal((n, 1)), np.full((n, 1), HALF)
    independent = fit_independent(COLUMNS, *rows).log_cells(*rows).sum(axis=1)
    log_p = fit_latent_classes(COLUMNS, *rows).log_prob(*rows)
    np.testing.assert_allclose(log_p, independent, rtol=1e-12)

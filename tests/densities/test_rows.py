"""The density of a row: its sum over all there is, its draws, and what it says of odd rows."""

import math

import numpy as np
import pytest
from keras import ops

from nflow_cli.config.roles import Roles
from nflow_cli.data.column_maps import Log, Scale
from nflow_cli.data.units import ColumnUnits
from nflow_cli.densities.bases import StandardNormal
from nflow_cli.densities.row_model import RowModel
from nflow_cli.densities.rows import RowDensity
from nflow_cli.errors import DataError
from nflow_cli.evaluation.normality import band, distance, normal_cdf
from nflow_cli.random_streams import stream

CATEGORIES = {"colour": ("blue", "red"), "size": ("l", "m", "s")}
GIVEN = {"place": ("here", "there")}


def density_of(numbers=1, steps=(), categories=(), given=True, dtype="float64"):
    """Return a density whose weights are away from their start."""
    names = [f"x{i}" for i in range(numbers)]
    roles = Roles(
        names,
        dict(zip(names, steps)),
        {name: CATEGORIES[name] for name in categories},
        ["a"] if given else [],
        GIVEN if given else {},
    )
    levels = [len(CATEGORIES[name]) for name in categories]
    spline = [{"spline-coupling": {"hidden": [8], "bins": 4}}]
    model = RowModel(spline, 3, 1, "full", roles.given_width, levels, dtype=dtype)
    model.build((None, numbers))
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        start = ops.convert_to_numpy(weight.value)
        weight.assign(0.7 * start + 0.2 * rng.standard_normal(start.shape))
    units = ColumnUnits([[Scale(0.5, 2.0)]] * numbers)
    given_units = ColumnUnits([[Scale(1.0, 3.0)]] if given else [])
    return RowDensity(StandardNormal(), model, roles, units, given_units)


def rows_at(density, x, levels=(), given=(2.0, 1.0)):
    """Return rows with these numbers ``(n, D)``, and equal cells beside them."""
    others = [*levels, *(given if density.roles.given else ())]
    return np.column_stack([x, *(np.full(len(x), value) for value in others)])


@pytest.mark.parametrize("given", [(2.0, 1.0), (-4.0, 0.0)])
def test_the_sum_over_levels_of_the_integral_over_numbers_is_one(given):
    density = density_of(categories=("colour", "size"))
    axis = np.linspace(-60, 60, 8_001)[:, None]
    masses = [
        np.trapezoid(np.exp(density.log_prob(rows_at(density, axis, (i, j), given))), axis[:, 0])
        for i in range(2)
        for j in range(3)
    ]
    assert max(masses) < 0.9  # each level has a part in it
    assert math.isclose(sum(masses), 1, abs_tol=1e-4)


def test_its_log_density_has_the_determinant_of_the_dense_jacobian():
    density, step = density_of(3, categories=("colour",)), 1e-5
    x = np.random.default_rng(2).normal(0, 2, (20, 3))
    columns = [
        (
            density.latent(rows_at(density, x + e, (1,)))
            - density.latent(rows_at(density, x - e, (1,)))
        )
        / (2 * step)
        for e in step * np.eye(3)
    ]
    _, log_det = np.linalg.slogdet(np.stack(columns, axis=-1))
    rows = rows_at(density, x, (1,))
    z = density.latent(rows)
    base = -0.5 * np.sum(z**2, axis=1) - 1.5 * math.log(2 * math.pi)
    context = density.context(ops.convert_to_tensor(density.encoded(rows)[0]))
    share = ops.convert_to_numpy(density.model.log_shares(0, context))[:, 1]
    np.testing.assert_allclose(density.log_prob(rows), base + log_det + share, atol=1e-6)


def test_of_whole_numbers_it_is_a_lower_bound_of_their_probabilities_and_near_to_them():
    density, cells = density_of(steps=(1.0,)), np.arange(-40.0, 41.0)[:, None]
    log_p = density.log_prob(rows_at(density, cells))
    smooth = density_of()
    offsets = (np.arange(1_000) + 0.5) / 1_000 - 0.5
    log_q = smooth.log_prob(rows_at(smooth, (cells + offsets).reshape(-1, 1)))
    exact = np.exp(log_q).reshape(-1, 1_000).mean(axis=1)
    assert math.isclose(sum(exact), 1, abs_tol=1e-4)
    np.testing.assert_allclose(np.exp(log_p), exact, atol=0.02)
    assert 0.98 < np.exp(log_p).sum() < 1.02


def test_a_step_counts_as_its_length():
    fine, coarse = density_of(steps=(0.01,)), density_of(steps=(0.02,))
    rows = rows_at(fine, np.array([[0.5]]))
    difference = coarse.log_prob(rows) - fine.log_prob(rows)
    assert math.isclose(difference[0], math.log(2), abs_tol=0.01)


def test_draws_have_the_shares_and_the_latents_of_the_density():
    density = density_of(2, categories=("colour", "size"), dtype="float32")
    n = 20_000
    drawn = density.draw(
        rows_at(density, np.zeros((n, 2)), (0, 0)), lambda part: stream(7, "d", part)
    )
    np.testing.assert_array_equal(drawn[:, 4:], np.tile([2.0, 1.0], (n, 1)))
    for column in density.latent(drawn).T:
        assert distance(normal_cdf(column)) < 1.2 * band(n, 2)
    cells = rows_at(density, np.zeros((6, 2)))
    cells = np.insert(cells, [2, 2], [[i, j] for i in range(2) for j in range(3)], axis=1)
    context = density.context(ops.convert_to_tensor(density.encoded(cells)[0]))
    log_p = ops.convert_to_numpy(density.model.categories_log_prob(context))
    counts = [np.mean((drawn[:, 2:4] == cell[2:4]).all(axis=1)) for cell in cells]
    np.testing.assert_allclose(counts, np.exp(log_p), atol=4 * 0.5 / math.sqrt(n))


def test_draws_of_discrete_columns_are_multiples_of_their_step():
    density = density_of(2, steps=(0.25,))
    drawn = density.draw(rows_at(density, np.zeros((100, 2))), lambda part: stream(7, "d", part))
    np.testing.assert_array_equal(drawn[:, 0] % 0.25, 0)
    assert (drawn[:, 1] % 0.25 != 0).all()


def test_it_depends_on_all_that_is_given():
    density = density_of(categories=("colour",))
    x = np.array([[0.7]])
    values = [
        density.log_prob(rows_at(density, x, (level,), given))[0]
        for level in (0, 1)
        for given in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0))
    ]
    assert len(np.unique(np.round(values, 6))) == 6


def test_odd_rows():
    density = density_of(categories=("colour",))
    density.units = ColumnUnits([[Log(0.0, "above"), Scale(0.0, 1.0)]])
    good, outside, level, place, missing = np.tile([1.0, 1.0, 2.0, 1.0], (5, 1))
    outside[0], level[1], place[3], missing[2] = -1.0, -1.0, -1.0, np.nan
    log_q = density.log_prob([good, outside, level, place, missing])
    assert np.isfinite(log_q[0])
    assert (log_q[1:4] == -np.inf).all()
    assert np.isnan(log_q[4])
    latents = density.latent([good, outside, missing])
    assert np.isfinite(latents).ravel().tolist() == [True, False, False]


@pytest.mark.parametrize("rows", [[1.0, 2.0], [[1.0, 2.0]], [["a", 1, 2]], None])
def test_what_is_no_row_is_refused(rows):
    with pytest.raises(DataError, match="expected rows"):
        density_of().log_prob(rows)


@pytest.mark.parametrize("cell", [np.nan, -1.0])
def test_draws_take_values_that_are_known(cell):
    density = density_of()
    with pytest.raises(DataError, match="every given column"):
        density.draw([[0.0, 1.0, cell]], lambda part: stream(0, "d", part))

"""The compiled loss of a density of cells against its density in NumPy, and its gradients."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from cells import (
    BETWEEN,
    FREQUENCIES,
    KNOTS,
    POSITIVE,
    TAILS,
    a_sample,
    day,
    grid,
    levels,
    number,
    random_weights,
)
from truth import to_numpy

from nflow_cli.tables.cells import network
from nflow_cli.tables.cells.cells_density import CellDensity, CellScores
from nflow_cli.tables.cells.fitting import layout_of
from nflow_cli.tables.cells.marginal import Marginal, Normals
from nflow_cli.tables.cells.network_start import StartingWeights
from nflow_cli.tables.cells.tails import Tail, Tailed

COLUMNS = [
    levels("a", 12),
    number("b", maps=TAILS, atoms=[0.5], missing=True),
    levels("c", 3, missing=True),
    grid("d", step=1.0, maps=POSITIVE, bounds=[0, None], is_open=True, atoms=[0.0]),
    grid("e", step=1.0, maps=BETWEEN, bounds=[0, 9]),
    number("f", decimals=None),
    grid("g", atoms=[0.0, 1.5], missing=True),
]


NONE = {"atoms": False, "waves": False, "ramps": False}


def fit_of(members, n_given=1, columns=COLUMNS):
    """Return a fit with random weights, and its density."""
    from nflow_cli.tables.cells_trainer import CellWeights, FitCells, log_present

    layout = layout_of(columns, n_given, 3, 16, FREQUENCIES, KNOTS)
    rng = np.random.default_rng(0)
    weights = [random_weights(layout, rng) for _ in range(members)]
    start, units = (
        {k: (least + 0.1 * rng.standard_normal(a.shape)).astype("float32") for k, a in arrays}
        for least, arrays in ((0.0, weights[0].items()), (1.0, weights[0].items()))
    )
    normals = Normals(np.zeros(1), np.zeros(1), np.ones(1))
    shares = [
        np.arange(o.n_outcomes) < o.n_learnt for o in layout.outcomes
    ]  # of new levels, nothing
    marginals = [
        Marginal(o, np.where(some, -np.log(some.sum()), -1e9), normals)
        for some, o in zip(shares, layout.outcomes)
    ]
    marginals = marginals[n_given:]
    learnt = log_present(CellDensity(columns, layout, marginals))
    starting = StartingWeights(start, units)
    fit = FitCells(layout, columns, CellWeights(weights), starting, learnt, 0.0)
    networks = []
    for arrays in fit.networks():
        arrays = {name: array.astype(float) for name, array in arrays.items()}
        networks.append(network.masked_weights(layout, arrays))
    shares = np.full((members + 1, len(layout.modelled)), 1 / members)
    shares[-1] = 0.0
    return fit, CellDensity(columns, layout, marginals, networks, shares)


def packed(density, rows):
    from nflow_cli.tables.cells_trainer import packed_rows as pack

    return pack(density, rows).T


def by_network(density, rows, member=0):
    return density.network_log_cells(density.networks[member], rows).masses.T


@pytest.mark.parametrize("members", [1, 3])
def test_the_loss_in_single_precision_is_that_of_the_density(members):
    fit, density = fit_of(members)
    rows = a_sample(COLUMNS, 400)
    rows[:7, 2] = -1  # a new level
    rows[7:14, 5] = np.nan  # a gap in a column that has none is left out
    single = to_numpy(fit.log_cells(keras.ops.convert_to_tensor(packed(density, rows))).masses)
    assert single.shape == (members, 6, 400) and single.dtype == np.float32
    for r in range(members):
        cells = by_network(density, rows, r)
        known = np.isfinite(cells) & (cells > -1e6)
        off = np.abs(single[r] - cells) / (1 + np.abs(cells))
        assert off[known].max() < 1e-5
        log_q = np.nansum(np.where(known, cells, 0), axis=0)
        row = np.where(known, single[r].astype(float), 0).sum(axis=0)
        assert np.max(np.abs(row - log_q) / (1 + np.abs(log_q))) < 1e-5


def test_the_loss_is_of_networks_beside_one_part_in_a_hundred_of_the_marginals():
    fit, density = fit_of(2)
    rows = a_sample(COLUMNS, 100, 1)
    rows = rows[(by_network(density, rows) > -1e6).all(axis=0)]  # without what no training row is
    loss = to_numpy(fit.objective(keras.ops.convert_to_tensor(packed(density, rows)), 0)["loss"])
    for r, weights in enumerate(density.networks):
        shares = np.tile([[0.99], [0.01]], len(density.modelled_columns))
        mixed = density.with_networks([weights], shares)
        cells = mixed.cell_log_probs(rows)
        for j, column in enumerate(mixed.modelled_columns):
            is_number = column.encode(rows[:, 1 + j]).codes == column.number_code
            cells[:, j] += np.where(is_number, column.log_width, 0.0)
        masses = cells.sum(axis=1)
        np.testing.assert_allclose(loss[r], -masses.mean(), rtol=1e-5)


def test_gradients_of_extreme_rows_are_finite():
    import tensorflow as tf

    columns = [levels("a", 3), number("b", resolution=4e-9, missing=True), *COLUMNS[2:]]
    fit, density = fit_of(2, columns=columns)
    rows = a_sample(columns, 60, 3)
    rows[:10, 1] = 2e6 * np.linspace(-1, 1, 10)  # a million standard deviations
    rows[10:20, 5] = 1e12
    rows[20:25, 0], rows[25:30, 2] = -1, -1
    rows[30:35, :] = np.nan
    rows[35:40, 3], rows[40:45, 6] = -7, 1e6
    rows[45:50, 1] = 1.0 + 4e-9 * np.arange(5)
    batch = keras.ops.convert_to_tensor(packed(density, rows))
    variables = list(fit.trained.arrays.values())
    with tf.GradientTape() as tape:
        loss = keras.ops.sum(fit.objective(batch, 0)["loss"])
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    assert np.isfinite(to_numpy(loss))
    for gradient in gradients:
        assert np.isfinite(to_numpy(tf.convert_to_tensor(gradient))).all()


def test_gradients_of_a_number_that_its_column_alone_hardly_has_are_finite():
    """Of 30 units, where the only normal is N(0, 0.3): its interval of scores is about 1e-1000."""
    import tensorflow as tf

    column = grid("a", step=0.5)
    tails = [Tail(end, 1.0, 0.01) for end in (-3.0, 40.0)]
    smooth = Tailed(Normals(np.zeros(1), np.zeros(1), np.full(1, 0.3)), *tails)
    far = replace(column, normal_scores=replace(column.normal_scores, smooth=smooth))
    fit, density = fit_of(1, n_given=0, columns=[far, levels("b", 2)])
    rows = np.array([[1 + 2 * units, 0.0] for units in (0.0, 8.0, 30.0)])
    with tf.GradientTape() as tape:
        loss = fit.objective(tf.constant(packed(density, rows)), 0)["loss"]
    variables = list(fit.trained.arrays.values())
    assert np.isfinite(to_numpy(loss)).all()
    assert all(np.isfinite(to_numpy(one)).all() for one in tape.gradient(loss, variables))


def test_columns_of_levels_alone_are_trained():
    columns = [levels("a", 2), levels("b", 5)]
    fit, density = fit_of(1, n_given=0, columns=columns)
    rows = np.abs(a_sample(columns, 30))
    batch = keras.ops.convert_to_tensor(packed(density, rows))
    np.testing.assert_allclose(
        to_numpy(fit.log_cells(batch).masses)[0], by_network(density, rows), rtol=1e-5
    )


def test_cells_that_are_hidden_are_unknown_to_the_network_and_are_scored():
    fit, density = fit_of(1)
    rows = a_sample(COLUMNS, 40, 4)
    hidden = np.zeros((len(COLUMNS), 40), np.float32)
    hidden[[3, 5]] = 1
    batch = np.concatenate([packed(density, rows), hidden])
    single = to_numpy(fit.log_cells(keras.ops.convert_to_tensor(batch)).masses)[0]
    unknown = rows.copy()
    unknown[:, [3, 5]] = np.nan  # of columns without gaps
    for column, seen in ((4, unknown), (6, unknown), (3, rows)):
        place = column - 1
        expected = by_network(density, seen)[place]
        known = expected > -1e6
        np.testing.assert_allclose(single[place][known], expected[known], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_given", [0, 1])
def test_dates_are_the_same_inputs_in_training_scores_and_draws(n_given):
    columns = [day("a", missing=True), levels("b", 4), number("c"), day("d"), grid("e")]
    fit, density = fit_of(1, n_given, columns)
    rows = a_sample(columns, 60, 5)
    hidden = np.zeros((5, 60), np.float32)
    hidden[3, :20] = 1  # of a column without gaps, where hidden is missing
    seen = np.where(hidden.T > 0, np.nan, rows)
    batch = np.concatenate([packed(density, rows), hidden])
    single = to_numpy(fit.log_cells(keras.ops.convert_to_tensor(batch)).masses)[0]
    expected = by_network(density, seen)
    known = (expected > -1e6) & (hidden[n_given:] == 0)
    np.testing.assert_allclose(single[known], expected[known], rtol=1e-4, atol=1e-4)
    (weights,), block = density.networks, CellScores(density, seen)
    walk = network.ColumnByColumn(density.layout, weights, density.mixture_limits, 60)
    for j, cells in enumerate(density.encode(seen)):
        if j >= max(n_given, 1):
            expected = network.of_column(density.layout, block.parameters_of(weights), j).log_shares
            np.testing.assert_allclose(walk.parameters(j).log_shares, expected, atol=1e-9)
        walk.add_column(j, cells.codes, np.vstack([cells.units, cells.harmonics]))
    assert len(density.layout.numeric) == 4 + 2 * 12
    assert not density.encode(seen)[3].harmonics[:, :20].any()


def test_the_loss_of_rows_with_filled_gaps_leaves_out_that_cells_are_present():
    fit, density = fit_of(1)
    rows = np.array([[0, 1.0, 1, 2.0, 5.0, 0.3, 0.5], [1, 0.7, 2, 0.0, 4.0, 1.2, 1.5]])
    network = density.network_log_cells(density.networks[0], rows)
    marginal = density.marginal_log_cells(rows)
    log_present = np.logaddexp(
        np.log(0.99) + network.presence, np.log(0.01) + marginal.presence
    ).sum(axis=1)
    batch = np.concatenate([packed(density, rows), np.zeros((7, 2)), np.ones((1, 2))])
    loss = [
        to_numpy(fit.objective(keras.ops.convert_to_tensor(part.astype("float32")), 0)["loss"])[0]
        for part in (batch[:-1], batch)
    ]
    assert loss[1] - loss[0] == pytest.approx(log_present.mean(), abs=1e-4)


def test_networks_see_inputs_of_their_own():
    fit, density = fit_of(2)
    layout = density.layout
    atoms_aside = layout.seen_inputs(atoms=False, waves=True, ramps=False)
    fit.vary(np.stack([np.ones(len(layout.inputs)), atoms_aside]), [0.0, 0.0], [0, 1])
    batch = packed(density, a_sample(COLUMNS, 50)).astype("float32")
    x = network.inputs(layout, *fit.parts(batch)[:2], np)
    for arrays, seen in zip(fit.networks(), (1.0, atoms_aside)):
        trained = arrays["inputs_kernel"] - fit.start.arrays["inputs_kernel"]
        assert (trained[:, x.any(axis=1) & (atoms_aside == 0)] != 0).any() == np.all(seen == 1.0)
    # The number itself is seen, of atoms too; so are levels, gaps, sines and cosines.
    kinds = {name: layout.seen_inputs(**{**NONE, name: True}) for name in NONE}
    n_numbers = len(layout.with_numbers)
    assert kinds["waves"].sum() - kinds["ramps"].sum() == (2 * 2 - 2) * n_numbers
    n_atoms = sum(layout.outcomes[i].number_code for i in layout.with_numbers)
    assert kinds["atoms"].sum() == len(layout.direct_inputs)
    assert kinds["ramps"].sum() == len(layout.direct_inputs) - n_atoms + 2 * n_numbers


def test_numbers_are_encoded_by_waves_and_ramps_and_unknown_ones_by_zeros():
    layout = layout_of([number("a"), levels("b", 3)], 0, 3, 16, FREQUENCIES, KNOTS)
    units = np.array([[-1.5, -0.25, 0.75, 2.0, 0.3]])
    codes = np.array([[0.0, 0.0, 0.0, 0.0, -1.0], [0.0, 1.0, 2.0, -1.0, 0.0]])
    encoded = network.inputs(layout, codes, units, np)[len(layout.direct_inputs) :, :4]
    angles = 2 * np.pi * units[0, :4]
    waves = [np.sin(angles / 4), np.sin(angles), np.cos(angles / 4), np.cos(angles)]
    ramps = [[0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]]
    np.testing.assert_allclose(encoded, [*waves, *ramps], atol=1e-12)
    assert not network.inputs(layout, codes, units, np)[len(layout.direct_inputs) :, 4].any()


def test_dropout_leaves_out_a_share_of_units_by_update_and_seed_and_keeps_the_mean():
    fit, density = fit_of(3)
    fit.vary(np.ones((3, len(density.layout.inputs))), [0.0, 0.25, 0.25], [5, 6, 7])
    layer = np.ones((3, 16, 2_000), np.float32)
    first, again, later = (to_numpy(fit.dropped(update, layer, 0)) for update in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first[0] == 1).all() and set(np.unique(first[1:])) == {0.0, np.float32(1 / 0.75)}
    assert abs(first[1].mean() - 1) < 0.02 and abs(first[2].mean() - 1) < 0.02
    in_next_block = to_numpy(fit.dropped(3, layer, 1))
    for other in (first[2], later[1], in_next_block[1], in_next_block[2]):
        assert abs(np.mean((first[1] == 0) & (other == 0)) - 0.25**2) < 0.01

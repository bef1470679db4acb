"""Oddness of whole rows: probabilities as written, normal scores, and ranks among held-out rows."""

from dataclasses import replace

import numpy as np
from cells import drawn, grid, levels, number, random_density

from nflow_cli.data.column_maps import Scale
from nflow_cli.tables.row_oddness import as_written, row_measures, row_oddness


def written(density, rows):
    return as_written(density, rows, density.cell_log_probs(rows))


def test_units_of_columns_change_nothing():
    columns = [number("a", atoms=[0.5], missing=True), levels("b", 3), number("c")]
    facts = {"resolution": 0.1, "maps": (Scale(100.0, 200.0),), "decimals": 1}
    others = [number("a", atoms=[50.0], missing=True, **facts), columns[1], number("c", **facts)]
    one, two = (random_density(some, seed=3) for some in (columns, others))
    rows = drawn(one, 40)
    scaled = rows * [100.0, 1.0, 100.0]
    scaled[:, [0, 2]] = np.round(scaled[:, [0, 2]], 1)
    for found, expected in zip(row_measures(two, scaled), row_measures(one, rows)):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert np.abs(two.log_prob(scaled) - one.log_prob(rows)).max() > 4


def test_one_measure_is_the_probability_of_the_cells_as_written():
    step = 0.1
    column = number("a", resolution=step, decimals=1)
    density = random_density([column, levels("b", 2)], seed=1)
    x = np.round(np.arange(-400, 400) * step, 1)
    rows = np.column_stack([np.repeat(x, 2), np.tile([0.0, 1.0], len(x))])
    p = np.exp(-written(density, rows))
    np.testing.assert_allclose(p, np.exp(density.log_prob(rows)) * step, rtol=1e-8)
    assert p.sum() <= 1


def test_a_new_value_is_no_odder_where_its_column_has_more_digits():
    """The steps of the scores are at other values, so those of both columns are the first's."""
    few = number("a", atoms=[0.5], resolution=1e-3, decimals=None)
    many = replace(
        number("a", atoms=[0.5], resolution=1e-9, decimals=None), normal_scores=few.normal_scores
    )
    rows = np.array([[1.0, 0.5], [1.0, 0.612], [0.0, 3.05], [2.0, -40.0]])
    densities = [random_density([levels("b", 3), column], seed=1) for column in (few, many)]
    for measure in ("as_written", "of_relations", "of_values"):
        found = [getattr(row_measures(density, rows), measure) for density in densities]
        np.testing.assert_allclose(*found, atol=1e-2)


def test_an_impossible_row_is_the_oddest():
    density = random_density([grid("a", step=0.5), levels("b", 3), number("c")], seed=4)
    held_out = drawn(density, 300, with_new=False)
    rows = drawn(density, 20, seed=1, with_new=False)
    rows[7, 0] = 0.3
    found = row_oddness(density, rows, held_out)
    assert found.values.argmax() == 7 and found.p[7] == found.p.min() == 1 / 301
    assert np.isfinite(found.values).all()
    assert found.measures.as_written[7] == np.inf


def test_rows_of_the_density_have_uniform_p_values_whichever_cells_are_unknown():
    density = random_density([levels("a", 30), grid("b", step=0.5), levels("c", 9)], seed=2)
    rows, tests = drawn(density, 750, seed=1), drawn(density, 999, seed=2)
    rows[::3, 0] = np.nan
    tests[:50, 2] = np.nan
    found = row_oddness(density, rows, tests)
    assert set(found.n_held_out) == {949}
    for at in (slice(0, None, 3), np.arange(750) % 3 > 0):
        for t in (0.05, 0.2, 0.5):
            error = np.sqrt(t * (1 - t) * (1 / len(found.p[at]) + 1 / 949))
            assert abs(np.mean(found.p[at] <= t) - t) < 4 * error

"""The density of any small table: its rows and draws are possible, whatever their scales."""

import csv
import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nflow_cli.config.table import TableData
from nflow_cli.data.dataset import load_dataset
from nflow_cli.data.table_files import open_table
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.density import CellDensity, Member
from nflow_cli.densities.cells.fitting import (
    fitted_columns,
    fitted_computed,
    fitted_marginals,
    layout_of,
)
from nflow_cli.densities.cells.start import starting_weights
from nflow_cli.errors import DataError

N_DRAWS = 100
SCALES = [1.0, 1e3, 1e12, 1e50, 1e99, 1e-3, 1e-9, 1e-150, 1e-300, 1e-310]
SHIFTS = [0.0, 0.0, 1.0, -5.0, 1e3, 1e9, 1e15, 1e16, 1e99]
DAYS = np.datetime64("1990-01-01") + np.arange(20_000).astype("timedelta64[D]")
TIMES = np.datetime64("1990-01-01T00:00:00") + (50_021 * np.arange(20_000)).astype("timedelta64[s]")
CLOCK = [f"{i // 60:02}:{i % 60:02}" for i in range(1_440)]
WORDS = ["a", "b", "Rome, It", 'q"x', "é", " x ", "=1", "two\nlines"]


@st.composite
def numbers(draw, n):
    """Draw n numbers of some shape, scale and digits, as text."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shapes = {
        "normal": rng.normal(size=n),
        "heavy": rng.standard_cauchy(n),
        "wide": np.exp(rng.normal(0, 30, n)),
        "whole": rng.integers(0, draw(st.sampled_from([2, 3, 20, 1_000])), n).astype(float),
        "ends": rng.beta(0.05, 0.05, n),
        "heap": np.where(rng.random(n) < 0.5, 0.0, rng.normal(size=n)),
        "near one": 1 + rng.normal(size=n) * draw(st.sampled_from([1e-9, 1e-13, 1e-15])),
        "one other": np.where(np.arange(n) == n // 2, draw(st.sampled_from([1.0, -1e90])), 0.0),
        "few": rng.choice(rng.normal(size=4), n),
    }
    values = shapes[draw(st.sampled_from(sorted(shapes)))] * draw(st.sampled_from(SCALES))
    values = values + draw(st.sampled_from(SHIFTS))
    digits = draw(st.sampled_from([None, None, 0, 1, 3, 6]))
    return [repr(float(v)) for v in (values if digits is None else np.round(values, digits))]


@st.composite
def columns(draw, n):
    """Draw n cells of a column of any kind, some of which are missing."""
    some = st.one_of(
        numbers(n),
        numbers(n),
        *(
            st.lists(st.sampled_from(values), min_size=n, max_size=n)
            for values in (WORDS, ["True", "False"], CLOCK, DAYS.tolist(), TIMES.tolist())
        ),
    )
    cells, every = draw(some), draw(st.sampled_from([0, 0, 0, 2, 7]))
    return [
        "" if every and (i * 7) % every == 1 else str(cell).strip() for i, cell in enumerate(cells)
    ]


@st.composite
def tables(draw):
    """Draw the text of a table of 10 to 60 rows, some columns of which are the same."""
    n = draw(st.integers(10, 60))
    found = draw(st.lists(columns(n), min_size=1, max_size=4))
    if draw(st.booleans()):
        found.append(draw(st.sampled_from(found)))
    file = io.StringIO()
    names = [f"c{i}" for i in range(len(found))]
    csv.writer(file, lineterminator="\n").writerows([names, *zip(*found)])
    return file.getvalue()


def untrained(data):
    """Return the density of cells that a training of these rows would start from."""
    cells = fitted_columns(data)
    layout = layout_of(cells, len(data.given), 3, 8)
    marginals = fitted_marginals(cells, data.train, None)
    density = CellDensity(cells, layout, marginals, [], fitted_computed(data, cells))
    weights = network.initial(layout, 1, np.random.default_rng(0))
    start = starting_weights(layout, cells, data.train, None)
    weights = {name: start.of(name, array) for name, array in weights.items()}
    shares = np.full(len(layout.modelled), 0.5)
    return density.with_networks([Member(network.masked(layout, weights), shares)])


@settings(max_examples=settings().max_examples // 4)
@given(tables())
def test_rows_and_draws_of_any_table_have_a_density(tmp_path_factory, table):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(table)
    try:
        data = load_dataset(TableData(name=str(path), missing="model"), open_table(path))
    except DataError:
        return
    density = untrained(data)
    assert np.isfinite(density.log_prob(data.train)).all()
    draws = density.draw(np.full((N_DRAWS, len(data.columns)), np.nan), np.random.default_rng(0))
    assert not np.isinf(draws).any()
    assert np.isfinite(density.log_prob(draws)).all()

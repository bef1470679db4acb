"""What a column is taken for: planted columns whose kinds are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.config.table_schema import TableData
from nflow_cli.data.cell_values import numbers_in
from nflow_cli.data.kinds import kinds_of
from nflow_cli.data.raw_columns import RawColumn
from nflow_cli.data.written import as_written

N = 1_000
RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=N)


def raw(cells, name="x", **facts):
    """Return a column of numbers, or of texts with None where a cell is empty."""
    if isinstance(cells, np.ndarray):
        source = facts.pop("source", "number")
        return RawColumn(name, source, cells.astype(float), None, [], **facts)
    texts = list(dict.fromkeys(cell for cell in cells if cell is not None))
    codes = [-1 if cell is None else texts.index(cell) for cell in cells]
    return RawColumn(name, "text", None, np.array(codes, np.int32), texts, **facts)


def kind_of(cells, name="x", *, settings=None, **facts):
    """Return what a column is taken for."""
    data = TableData(name="table.csv", **settings or {})
    return kinds_of([raw(cells, name, **facts)], data)[name]


@pytest.mark.parametrize(
    ("cells", "name", "why"),
    [
        (np.full(N, 3.0), "x", "constant"),
        (3 + 1e-14 * NORMAL, "x", "constant to 12 digits"),
        (2.0**60 + 256 * np.arange(N), "x", "constant to 12 digits"),
        (np.full(N, np.nan), "x", "constant"),
        (["a"] * N, "x", "constant"),
        (np.arange(N), "x", "row number"),
        (np.cumsum(RNG.integers(1, 9, N)), "x", "row number"),
        (RNG.permutation(N), "id", "row number"),
        (RNG.permutation(N), "patientID", "row number"),
        (RNG.permutation(N), "Unnamed: 0", "row number"),
        ([f"name {i}" for i in range(N)], "x", "text, mostly unique"),
        (np.where(np.arange(N) == 5, np.nan, 3.0), "gaps are an outcome", None),
        (RNG.permutation(N), "fluid", None),
        (np.arange(1000, 1000 + N), "year", None),
        (np.sort(RNG.normal(size=N)), "sorted", None),
        (np.sort(RNG.integers(0, 500, N)), "sorted, repeated", None),
        (-np.sort(-np.rint(1e6 * RNG.pareto(1, N))), "population of the largest cities", None),
        (np.arange(58, 73), "height of few", None),
        ([f"name {i}" for i in range(40)], "few texts", None),
        (np.arange(N) // 2, "id", None),
    ],
)
def test_what_says_nothing_of_fresh_rows_is_left_out_and_nothing_else(cells, name, why):
    kind = kind_of(cells, name)
    assert (kind.kind == "left out") == (why is not None)
    assert why is None or kind.why == why


def test_an_index_and_text_that_differs_too_often_to_be_collected_are_left_out():
    assert kind_of(NORMAL, is_index=True).why == "index or log-density of the rows"
    column = RawColumn("x", "text", None, None, [])
    assert kinds_of([column], TableData(name="t.csv"))["x"].why == "text, mostly unique"


def test_few_values_are_levels():
    for cells in (
        ["a", "b", None, "b"] * 250,
        np.tile([0.0, 1.0], 500),
        np.tile([0.3, 17.25], 500),
        np.tile([1, 2, 3, 4, 5], 200),
        np.tile([0, 0.5, 1, 2, 4, 8, 16, 32], 125),
        np.tile([np.pi, np.e, 1.0, np.sqrt(2)], 250),
    ):
        assert kind_of(cells).kind == "levels", cells[:8]
    kind = kind_of([f"{i % 1500}" + "x" for i in range(6000)])
    assert kind.kind == "levels" and "999 most frequent of 1,500" in kind.why


@pytest.mark.parametrize(
    ("cells", "step", "offset"),
    [
        (RNG.poisson(4, N), 1, 0),
        (RNG.integers(18, 90, N), 1, 0),
        (np.rint(NORMAL * 20) * 0.125, 0.125, 0),
        (np.rint(NORMAL * 20) * 0.1 + 0.05, 0.1, 0.05),
        (np.rint(NORMAL * 10) * 25 + 4200, 25, 0),
        (np.rint(NORMAL * 10) * 3600 + 1.7e9, 3600, 800),
        (np.rint(NORMAL * 10) / 3, 1 / 3, 0),
        (np.rint(NORMAL * 30).astype(np.float32) * np.float32(0.1), 0.1, 0),
    ],
)
def test_multiples_of_a_step_that_repeat_are_a_grid(cells, step, offset):
    kind = kind_of(cells)
    assert kind.kind == "grid"
    assert kind.lattice.step == pytest.approx(step, rel=1e-9)
    assert kind.resolution == pytest.approx(step, rel=1e-9)
    assert kind.lattice.offset % step == pytest.approx(offset, abs=1e-6 * step)


@pytest.mark.parametrize(
    ("cells", "decimals", "resolution"),
    [
        (NORMAL, None, 2.2e-16),
        (NORMAL * 3e5, None, 6.7e-11),
        (np.round(NORMAL, 5), 5, 1e-5),
        (RNG.choice(10**6, N, replace=False), 0, 1),
        (25 * RNG.choice(10**6, N, replace=False), 0, 25),
        (1.6e9 + RNG.choice(10**8, N, replace=False), 0, 1),
        (NORMAL.astype(np.float32), None, 1.2e-7),
        (np.round(NORMAL, 4).astype(np.float32), 4, 1e-4),
    ],
)
def test_other_numbers_have_the_resolution_they_are_written_to(cells, decimals, resolution):
    kind = kind_of(cells)
    assert (kind.kind, kind.decimals) == ("number", decimals)
    assert 0.4 < kind.resolution / resolution < 2.1


def test_what_the_user_says_overrules_what_is_found():
    columns = [raw(RNG.integers(0, 90, N), name) for name in "abcdefg"]
    columns.append(raw(np.where(np.arange(N) % 3 == 0, 0.0, RNG.exponential(5, N)), "h"))
    bounds = {"c": [0, None], "h": [None, None]}
    settings = {"categorical": ["a"], "discrete": {"b": 0.5}, "bounds": bounds}
    settings |= {"exclude": ["d"], "split": "e", "weights": "f"}
    kinds = kinds_of(columns, TableData(name="table.csv", **settings))
    assert kinds["a"].kind == "levels"
    assert kinds["b"].lattice.step == 0.5
    assert kinds["c"].bounds == [0, None]
    assert [kinds[name].kind for name in "defg"] == ["left out"] * 3 + ["grid"]
    assert kinds["h"].bounds is None and not kinds["h"].is_open
    columns = [raw(np.arange(N), "id"), raw(NORMAL, "x"), raw(np.round(NORMAL, 3), "y")]
    kinds = kinds_of(columns, TableData(name="table.csv", columns=["x"], given=["id"]))
    assert [kind.kind for kind in kinds.values()] == ["number", "number", "left out"]


def test_gaps_are_noticed():
    for cells in (NORMAL, RNG.poisson(4, N), ["a", "b"] * 500):
        gaps = [None, *cells[1:]] if isinstance(cells, list) else np.r_[np.nan, cells[1:]]
        whole, kind = kind_of(cells), kind_of(gaps)
        assert (whole.missing, kind.missing) == (False, True)
        assert kind.kind == whole.kind


def smooth_ages(step=1):
    return np.rint(np.clip(NORMAL * 12 + 45, 18, 90) / step) * step


@pytest.mark.parametrize(
    ("cells", "atoms", "kind"),
    [
        (np.where(np.arange(N) % 3 == 0, 0.0, RNG.exponential(5, N)), {0.0}, "number"),
        (np.where(np.arange(N) % 9 == 0, 3.0, np.minimum(NORMAL, 3)), {3.0}, "number"),
        (np.where(np.arange(N) < 5, 0.25, NORMAL), {0.25}, "number"),
        (np.where(np.arange(N) % 2, RNG.poisson(6, N), 0), {0.0}, "grid"),
        (np.where(np.arange(N) % 3 == 0, 40, smooth_ages()), {40.0}, "grid"),
        (np.where(np.arange(N) % 4 == 0, 100.0, np.round(NORMAL * 40, 2)), {100.0}, "number"),
    ],
)
def test_a_value_that_repeats_beyond_its_neighbours_is_an_atom(cells, atoms, kind):
    found = kind_of(cells)
    assert found.kind == kind
    assert set(found.atoms) == atoms


def test_smooth_columns_have_no_atoms():
    for cells in (
        NORMAL,
        np.round(NORMAL, 2),
        RNG.exponential(1, N),
        np.rint(RNG.exponential(20, N)),
        np.rint(RNG.exponential(2, N)),
        RNG.poisson(1, N),
        RNG.poisson(100, N),
        RNG.geometric(0.4, N),
        RNG.integers(0, 60, N),
        np.where(np.arange(N) < 2, 0.25, NORMAL),
    ):
        assert kind_of(cells).atoms == [], cells[:9]


def test_round_numbers_that_people_prefer_are_atoms():
    wages = np.rint(np.exp(NORMAL * 0.5 + 7))
    wages = np.where(np.arange(N) % 2, np.rint(wages / 100) * 100, wages)
    kind = kind_of(wages)
    assert (kind.kind, kind.lattice.step, kind.repeats) == ("grid", 1.0, True)
    assert len(kind.atoms) > 10


@pytest.mark.parametrize(
    ("cells", "kind", "repeats"),
    [
        (NORMAL, "number", False),
        (np.round(NORMAL, 5), "number", False),
        (np.round(NORMAL, 1), "grid", True),
        (np.where(np.arange(N) % 3 == 0, 0.0, RNG.exponential(5, N)), "number", True),
        (np.where(np.arange(N) < 2, 0.25, NORMAL), "number", False),
        (RNG.normal(size=160)[np.arange(3200) % 160], "number", True),
        (np.log(RNG.poisson(60, N)), "number", True),
    ],
)
def test_numbers_repeat_on_a_grid_or_beyond_what_a_density_explains(cells, kind, repeats):
    found = kind_of(cells)
    assert (found.kind, found.repeats) == (kind, repeats)
    assert found.is_continuous == (kind == "number" and not repeats)


@pytest.mark.parametrize(
    ("cells", "bounds"),
    [
        (np.where(np.arange(N) % 3 == 0, 0.0, RNG.exponential(5, N)), [0, None]),
        (np.minimum(NORMAL, 1.5), [None, 1.5]),
        (RNG.integers(1, 8, N), [1, 7]),
        (RNG.beta(0.3, 0.3, N), [0, 1]),
        (NORMAL, None),
        (RNG.gamma(3, 1, N), None),
        (RNG.poisson(40, N), None),
        (RNG.uniform(0.1, 5, 60), None),
        (8e15 + np.append(np.zeros(6), np.arange(1, 40)), [8e15, None]),  # no number fits between
    ],
)
def test_a_column_is_bounded_where_its_rows_crowd(cells, bounds):
    assert kind_of(cells).bounds == bounds


def test_sizes_that_differ_by_much_hide_no_digits_and_overflow_nothing():
    cells = np.where(np.arange(N) % 3 == 0, 1e11, RNG.choice([0, 0.5, 1.25, 7, 8.75], N))
    cells = np.append(cells, np.arange(20) / 4)
    np.testing.assert_array_equal(numbers_in(raw(cells), kind_of(cells)), cells)
    cells = np.append(1e-301 * RNG.integers(1, 40, 14), 1e30)
    assert kind_of(cells).kind in ("grid", "levels")
    cells = 1e15 + np.array([112.4, 388.0, 432.9, 876.2, 953.0, 1e6])
    numbers = as_written(cells)
    assert (np.diff(numbers) >= 0).all()
    np.testing.assert_allclose(numbers, cells, rtol=5e-12)


DAYS = np.datetime64("2019-03-01") + RNG.integers(0, 300, N).astype("timedelta64[D]")


def test_dates_are_a_grid_of_days_and_times_of_day_are_within_one():
    kind = kind_of(DAYS.astype(int), source="date")
    assert (kind.kind, kind.type, kind.lattice.step) == ("grid", "date", 1)
    kind = kind_of([f"{23 - i % 3}:{i % 60:02}" for i in range(N)])
    assert (kind.kind, kind.bounds, kind.is_open) == ("grid", [0.0, 86_340.0], False)


@pytest.mark.parametrize(
    ("texts", "form", "step"),
    [
        ([f"{d.day:02}.{d.month:02}.{d.year}" for d in DAYS.tolist()], "%d.%m.%Y", 1),
        ([f"{d} {d.day // 4 + 8:02}:00" for d in DAYS.tolist()], "%Y-%m-%d %H:%M", 3600),
        ([f"{d.month:02}:{d.day:02}" for d in DAYS.tolist()], "%H:%M", 60),
    ],
)
def test_text_that_is_dates_is_a_grid_in_its_form(texts, form, step):
    kind = kind_of(texts)
    assert (kind.kind, kind.form, kind.lattice.step) == ("grid", form, step)
    assert kind_of(texts, settings={"categorical": ["x"]}).kind == "levels"


def columns_of_every_kind():
    """Return columns that differ in what they are, and have no decimals to spare."""
    return [
        NORMAL,
        np.round(NORMAL, 3),
        np.where(np.arange(N) % 3 == 0, 0.0, RNG.exponential(5, N)),
        RNG.poisson(4, N),
        RNG.poisson(2000, N) * 10,
        np.rint(NORMAL * 20) * 0.125,
        np.tile([1, 2, 5, 9], N // 4),
        np.arange(N) % 7,
        np.where(np.arange(N) % 3 == 0, 40, smooth_ages()),
        np.rint(NORMAL * 10) / 3,
        np.where(np.arange(N) % 50 < 2, 0.5, 0) + smooth_ages(),
    ]


def facts(kind, factor=1.0):
    """Return what is said of a column, in units of a factor."""
    ends = [np.inf if end is None else end / factor for end in kind.bounds or (None, None)]
    lattice = kind.lattice
    steps = [lattice.step / factor, lattice.offset / factor] if lattice else []
    return (
        (kind.kind, kind.repeats),
        [(kind.resolution or 0) / factor],
        steps,
        ends,
        [atom / factor for atom in kind.atoms],
    )


@pytest.mark.parametrize("cells", columns_of_every_kind())
def test_neither_the_order_of_rows_nor_the_unit_matters(cells):
    known = kind_of(cells)
    assert kind_of(RNG.permutation(cells)) == known
    for factor in (100, 0.01, 3.28084):
        found = facts(kind_of(cells.astype(float) * factor), factor)
        assert found[0] == facts(known)[0]
        for one, other in zip(found[1:], facts(known)[1:], strict=True):
            assert one == pytest.approx(other, rel=1e-6, abs=1e-9)


CELLS = st.one_of(
    st.floats(allow_infinity=False),
    st.floats(width=32, allow_infinity=False),
    st.integers(-(10**15), 10**15),
    st.sampled_from([0.0, -0.0, 0.1, 0.3, 99.99, 1e-300, 1e300, 5e-324, np.nan]),
    st.integers(-9, 9),
)
COLUMN = arrays(np.float64, 60, elements=CELLS.map(float))
FEW_VALUES = st.lists(CELLS.map(float), min_size=1, max_size=12).flatmap(
    lambda values: arrays(np.float64, 60, elements=st.sampled_from(values))
)


@given(st.lists(COLUMN | FEW_VALUES, min_size=1, max_size=3), st.permutations(range(60)))
def test_any_numbers_have_kinds_whatever_their_order(columns, order):
    columns = [np.append(cells, cells[0]) for cells in columns]  # not unique: no row numbers
    order = np.append(order, 60)
    data = TableData(name="table.csv")
    kinds = kinds_of([raw(cells, f"x{i}") for i, cells in enumerate(columns)], data)
    again = kinds_of([raw(cells[order], f"x{i}") for i, cells in enumerate(columns)], data)
    for name, kind in kinds.items():
        assert kind.kind == "computed" or again[name] == kind or again[name].kind == "computed"
        ColumnKind.model_validate(kind.model_dump())
        if kind.kind in ("grid", "number"):
            numbers = numbers_in(raw(columns[int(name[1:])]), kind)
            assert np.isin(kind.atoms, numbers).all()

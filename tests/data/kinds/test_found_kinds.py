"""What a column is taken for: planted columns whose kinds are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.table import TableData
from nflow_cli.data.files.columns import Column
from nflow_cli.data.files.written import as_written
from nflow_cli.data.kinds.asked import asked_columns
from nflow_cli.data.kinds.found_kinds import kinds_of
from nflow_cli.data.kinds.left_out import IDENTIFIES

N = 1_000
RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=N)


def raw(cells, name="x", **facts):
    """Return a column of numbers, or of texts with None where a cell is empty."""
    if isinstance(cells, np.ndarray):
        source = facts.pop("source", "number")
        return Column(name, source, cells.astype(float), None, [], **facts)
    texts = list(dict.fromkeys(cell for cell in cells if cell is not None))
    codes = [-1 if cell is None else texts.index(cell) for cell in cells]
    return Column(name, "text", None, np.array(codes, np.int32), texts, **facts)


def kind_of(cells, name="x", *, settings=None, **facts):
    """Return what a column is taken for."""
    data = TableData(name="table.csv", **settings or {})
    column = raw(cells, name, **facts)
    column = column if name in data.categorical else column.in_numbers()
    return kinds_of(asked_columns([column], data))[name]


def test_a_value_that_repeats_in_its_group_is_as_one_row_and_others_are_counted():
    base, group = NORMAL[:150].round(2), np.repeat(np.arange(150), 12)
    zeros = np.where(RNG.random(1_800) < 0.3, 0.0, RNG.normal(size=1_800).round(3))
    columns = [raw(np.repeat(base, 12)), raw(zeros, "zeros")]
    settings = TableData(name="table.csv", group="group")
    for few in (1, 60):  # groups of 12 and 720 rows
        kinds = kinds_of(asked_columns(columns, settings), group // few)
        assert (
            kinds["zeros"] == kinds_of(asked_columns(columns, settings))["zeros"]
            and kinds["zeros"].atoms
        )
        pairs = kinds_of(
            asked_columns([raw(np.repeat(base, 2))], settings), np.repeat(np.arange(150), 2)
        )
        kind = kinds["x"] if few == 1 else pairs["x"]
        assert kind == kind_of(base) and not kind.repeats
    assert kinds_of(asked_columns(columns, settings))["x"].repeats


def test_levels_in_order_are_those_asked_for_or_of_an_ordered_category():
    cells = ["low", "high", None, "low"] * 250
    asked = {"ordered": {"x": ["low", "middle", "high"]}}
    kind = kind_of(cells, settings=asked)
    assert kind.levels == ["low", "middle", "high"] and kind.is_ordered and kind.missing
    assert kind.why == "in order: low < middle < high"
    order = ("low", "middle", "high")
    assert kind_of(cells, order=order) == kind
    unordered = kind_of(cells, order=order, settings={"categorical": ["x"]})
    assert not unordered.is_ordered and unordered.levels is None
    grades = kind_of(RNG.integers(1, 4, N), settings={"ordered": {"x": ["3", "2", "1"]}})
    assert grades.type == "whole" and grades.levels == ["3", "2", "1"]


@pytest.mark.parametrize(
    ("cells", "name", "why"),
    [
        (np.full(N, 3.0), "x", "constant"),
        (3 + 1e-14 * NORMAL, "x", "constant to 12 digits"),
        (2.0**70 + 2.0**20 * np.arange(N), "x", "constant to 12 digits"),
        (np.full(N, np.nan), "x", "constant"),
        (["a"] * N, "x", "constant"),
        (np.where(np.arange(N) == 3, 1.5, np.nan), "x", "one cell alone"),
        ([None] * (N - 1) + ["Logged"], "x", "one cell alone"),
        (np.arange(N), "x", "row number"),
        (np.cumsum(RNG.integers(1, 9, N)), "x", "grows from row to row"),
        (RNG.permutation(N), "id", "row number"),
        (RNG.permutation(N), "patientID", "row number"),
        (RNG.permutation(N), "Unnamed: 0", "row number"),
        ([f"name {i}" for i in range(N)], "x", "text, mostly unique"),
        (np.where(np.arange(N) == 5, np.nan, 3.0), "gaps are an outcome", None),
        (np.arange(N) + 1, "№", "row number"),
        (np.cumsum(np.arange(N) % 4 + 1), "番号", "grows from row to row"),
        (RNG.permutation(N) * 997 + 4_500_000_000, "order", IDENTIFIES),
        (RNG.permutation(N) * 997 + 450_000_000, "nine digits", None),
        (RNG.permutation(N) * 997 + 1_700_000_000, "since 1970", None),
        (np.append(RNG.permutation(N - 1) * 997, 0) + 4_500_000_000, "repeated", None),
        (RNG.permutation(N), "fluid", None),
        (np.arange(N) * 7 % N, "金額", None),
        (np.arange(1000, 1000 + N), "χρόνος", None),
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
    column = Column("x", "text", None, None, [])
    assert (
        kinds_of(asked_columns([column], TableData(name="t.csv")))["x"].why == "text, mostly unique"
    )
    number = Column("y", "number", NORMAL, None, [])
    settings = TableData(name="t.csv", columns=["x", "y"])
    named = kinds_of(asked_columns([column, number], settings))
    assert [kind.kind for kind in named.values()] == ["levels", "number"]  # refused by name later


EVEN, THIRD, FIRST = np.arange(N) % 2 == 0, np.arange(N) % 3 == 0, np.arange(N)
AGES = np.rint(np.clip(NORMAL * 12 + 45, 18, 90))
HEAPED = np.where(THIRD, 0.0, RNG.exponential(5, N))
SINGLE = np.float32
CLOCK = 1_709_746_465_454 + np.random.default_rng(5).choice(
    10**8, N, replace=False
)  # ms since 1970


def in_text(values, digits):
    """Return float32 values as read from text of some significant digits."""
    return np.array([float(f"{value:.{digits}g}") for value in SINGLE(values).tolist()])


NUMBERS = [  # a column, what it is taken for, and what is said of it
    (RNG.poisson(4, N), "grid", {"step": 1}),
    (RNG.integers(18, 90, N), "grid", {"step": 1}),
    (np.rint(NORMAL * 20) * 0.125, "grid", {"step": 0.125}),
    (np.rint(NORMAL * 20) * 0.1 + 0.05, "grid", {"step": 0.1, "offset": 0.05}),
    (np.rint(NORMAL * 10) * 25 + 4200, "grid", {"step": 25}),
    (np.rint(NORMAL * 10) * 3600 + 1.7e9, "grid", {"step": 3600, "offset": 800}),
    (np.rint(NORMAL * 10) / 3, "grid", {"step": 1 / 3}),
    (np.rint(NORMAL * 30).astype(SINGLE) * SINGLE(0.1), "grid", {"step": 0.1}),
    (np.round(NORMAL, 1), "grid", {"repeats": True}),
    (RNG.poisson(2000, N) * 10, "grid", {"step": 10}),
    (np.where(FIRST % 50 < 2, 0.5, 0) + AGES, "grid", {"step": 0.5}),
    (NORMAL, "number", {"decimals": None, "resolution": 2.2e-16, "repeats": False}),
    (NORMAL * 3e5, "number", {"decimals": None, "resolution": 6.7e-11}),
    (np.where(FIRST == 5, 1e30, NORMAL), "number", {"resolution": 2.2e-16}),
    (np.round(NORMAL, 5), "number", {"decimals": 5, "resolution": 1e-5, "repeats": False}),
    (np.round(NORMAL, 3), "number", {"decimals": 3, "resolution": 1e-3}),
    (RNG.choice(10**6, N, replace=False), "number", {"decimals": 0, "resolution": 1}),
    (25 * RNG.choice(10**6, N, replace=False), "number", {"decimals": 0, "resolution": 25}),
    (1.6e9 + RNG.choice(10**8, N, replace=False), "number", {"decimals": 0, "resolution": 1}),
    (CLOCK, "number", {"type": "whole", "resolution": 1, "repeats": False}),
    (CLOCK[FIRST % 40], "number", {"type": "whole", "atoms": np.unique(CLOCK[:40]).tolist()}),
    (1000 * CLOCK + 7, "number", {"type": "whole", "step": 1000, "offset": 7}),
    (2.0**60 + 256 * (CLOCK % 10**6), "number", {"type": "whole", "resolution": 256}),
    (NORMAL.astype(SINGLE), "number", {"decimals": None, "resolution": 1.2e-7}),
    (np.round(NORMAL, 4).astype(SINGLE), "number", {"decimals": 4, "resolution": 1e-4}),
    (in_text(NORMAL, 9), "number", {"single": 9, "resolution": 1.2e-7, "repeats": False}),
    (in_text(24 + NORMAL / 1e3, 9), "number", {"single": 9, "repeats": False, "atoms": []}),
    (in_text(np.round(NORMAL, 1), 15), "grid", {"single": 15, "step": 0.1}),
    (in_text(np.tile([0.1, 7.3], 500), 17), "levels", {"single": 17}),
    (np.round(1.5 + NORMAL / 10, 7), "number", {"single": None, "decimals": 7}),
    (np.round(1e5 + 1e4 * NORMAL, 3), "number", {"single": None, "decimals": 3}),
    # A value that repeats beyond its neighbours is an atom.
    (HEAPED, "number", {"atoms": [0.0], "repeats": True}),
    (np.where(FIRST % 9 == 0, 3.0, np.minimum(NORMAL, 3)), "number", {"atoms": [3.0]}),
    (np.where(FIRST < 5, 0.25, NORMAL), "number", {"atoms": [0.25]}),
    (np.where(EVEN, 0, RNG.poisson(6, N)), "grid", {"atoms": [0.0]}),
    (np.where(THIRD, 40, AGES), "grid", {"atoms": [40.0]}),
    (np.where(FIRST % 4 == 0, 100.0, np.round(NORMAL * 40, 2)), "number", {"atoms": [100.0]}),
    # In smooth columns none is.
    (np.round(NORMAL, 2), None, {"atoms": []}),
    (RNG.exponential(1, N), "number", {"atoms": []}),
    (np.rint(RNG.exponential(20, N)), "grid", {"atoms": []}),
    (np.rint(RNG.exponential(2, N)), None, {"atoms": []}),
    (RNG.poisson(1, N), None, {"atoms": []}),
    (RNG.poisson(100, N), "grid", {"atoms": []}),
    (RNG.geometric(0.3, N), None, {"atoms": []}),
    (RNG.integers(0, 60, N), "grid", {"atoms": []}),
    (np.where(FIRST < 2, 0.25, NORMAL), "number", {"atoms": [], "repeats": False}),
    # Numbers repeat on a grid, or beyond what a density explains.
    (RNG.normal(size=160)[np.arange(3200) % 160], "number", {"repeats": True}),
    (np.log(RNG.poisson(60, N)), "number", {"repeats": True}),
    # A column is bounded where its rows crowd.
    (HEAPED, "number", {"bounds": [0, None]}),
    (np.minimum(NORMAL, 1.5), None, {"bounds": [None, 1.5]}),
    (RNG.integers(1, 8, N), None, {"bounds": [1, 7]}),
    (np.sin(RNG.uniform(0, np.pi / 2, N)) ** 2, "number", {"bounds": [0, 1]}),
    (NORMAL[::-1], "number", {"bounds": None}),
    (RNG.gamma(3, 1, N), "number", {"bounds": None}),
    (RNG.poisson(40, N), "grid", {"bounds": None}),
    (RNG.uniform(0.1, 5, 60), "number", {"bounds": None}),
    # No number fits between these.
    (8e15 + np.append(np.zeros(6), np.arange(1, 40)), None, {"bounds": [8e15, None]}),
    (["a", "b", None, "b"] * 250, "levels", {}),
    (np.tile([0.0, 1.0], 500), "levels", {}),
    (np.tile([0.3, 17.25], 500), "levels", {}),
    (np.tile([1, 2, 3, 4, 5], 200), "levels", {}),
    (FIRST % 7, "grid", {}),
    (np.tile([0, 0.5, 1, 2, 4, 8, 16, 32], 125), "levels", {}),
    (np.tile([np.pi, np.e, 1.0, np.sqrt(2)], 250), "levels", {}),
]


@pytest.mark.parametrize(("cells", "known", "facts"), NUMBERS)
def test_a_column_is_taken_for_what_it_is(cells, known, facts):
    kind = kind_of(cells)
    assert known is None or kind.kind == known
    if "step" in facts:
        step = facts["step"]
        assert (kind.lattice.step, kind.resolution) == pytest.approx((step, step), rel=1e-9)
        assert kind.lattice.offset % step == pytest.approx(facts.get("offset", 0), abs=1e-6 * step)
    if "resolution" in facts:
        assert 0.4 < kind.resolution / facts["resolution"] < 2.1
    for name in {"type", "single", "decimals", "atoms", "repeats", "bounds"} & set(facts):
        assert getattr(kind, name) == facts[name]
    assert kind.is_continuous == (kind.kind == "number" and not kind.repeats)


def test_more_levels_than_are_kept_are_said():
    kind = kind_of([f"no. {i % 1500}" for i in range(6000)])
    assert kind.kind == "levels" and "999 most frequent of 1,500" in kind.why


def test_what_the_user_says_overrules_what_is_found():
    columns = [raw(RNG.integers(0, 90, N), name) for name in "abcdefg"]
    columns.append(raw(np.where(np.arange(N) % 3 == 0, 0.0, RNG.exponential(5, N)), "h"))
    bounds = {"c": [0, None], "h": [None, None]}
    settings = {"categorical": ["a"], "discrete": {"b": 0.5}, "bounds": bounds}
    settings |= {"exclude": ["d"], "split": "e", "weights": "f"}
    kinds = kinds_of(asked_columns(columns, TableData(name="table.csv", **settings)))
    assert kinds["a"].kind == "levels"
    assert kinds["b"].lattice.step == 0.5
    assert kinds["c"].bounds == [0, None]
    assert [kinds[name].kind for name in "defg"] == ["left out"] * 3 + ["grid"]
    assert kinds["h"].bounds is None and not kinds["h"].is_open
    columns = [raw(np.arange(N), "id"), raw(NORMAL, "x"), raw(np.round(NORMAL, 3), "y")]
    kinds = kinds_of(
        asked_columns(columns, TableData(name="table.csv", columns=["x"], given=["id"]))
    )
    assert [kind.kind for kind in kinds.values()] == ["number", "number", "left out"]


def test_gaps_are_noticed():
    for cells in (NORMAL, RNG.poisson(4, N), ["a", "b"] * 500):
        gaps = [None, *cells[1:]] if isinstance(cells, list) else np.r_[np.nan, cells[1:]]
        whole, kind = kind_of(cells), kind_of(gaps)
        assert (whole.missing, kind.missing) == (False, True)
        assert kind.kind == whole.kind


def test_round_numbers_that_people_prefer_are_atoms():
    wages = np.rint(np.exp(NORMAL * 0.5 + 7))
    wages = np.where(np.arange(N) % 2, np.rint(wages / 100) * 100, wages)
    kind = kind_of(wages)
    assert (kind.kind, kind.lattice.step, kind.repeats) == ("grid", 1.0, True)
    assert len(kind.atoms) > 10


def test_sizes_that_differ_by_much_hide_no_digits_and_overflow_nothing():
    cells = np.where(np.arange(N) % 3 == 0, 1e11, RNG.choice([0, 0.5, 1.25, 7, 8.75], N))
    cells = np.append(cells, np.arange(20) / 4)
    np.testing.assert_array_equal(raw(cells).numbers_as(kind_of(cells)), cells)
    cells = np.append(1e-301 * RNG.integers(1, 40, 14), 1e30)
    assert kind_of(cells).kind in ("grid", "levels")
    cells = 1e15 + np.array([112.4, 388.0, 432.9, 876.2, 953.0, 1e6])
    numbers = as_written(cells)
    assert (np.diff(numbers) >= 0).all()
    np.testing.assert_allclose(numbers, cells, rtol=5e-12)
    assert kind_of(np.append(1_000 + 1e-4 * NORMAL, -1e93)).kind == "number"


DAYS = np.datetime64("2019-03-01") + RNG.integers(0, 300, N).astype("timedelta64[D]")


def test_dates_are_a_grid_of_days_and_times_of_day_are_within_one():
    kind = kind_of(DAYS.astype(int), source="date")
    assert (kind.kind, kind.type, kind.lattice.step) == ("grid", "date", 1)
    kind = kind_of([f"{23 - i % 3}:{i % 60:02}" for i in range(N)])
    assert (kind.kind, kind.bounds, kind.is_open) == ("grid", [0.0, 86_340.0], False)
    kind = kind_of(["00:07", "03:31", "11:02", "16:45", "21:13", "23:00"])  # few, all different
    assert (kind.kind, kind.step, kind.bounds) == ("number", 60.0, [0.0, 86_340.0])


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


WITH_UNITS = [
    cells
    for cells, _, facts in NUMBERS
    if isinstance(cells, np.ndarray)
    and cells.dtype != SINGLE
    and not {"bounds", "single"} & {*facts}
]


@pytest.mark.parametrize("cells", [cells for cells in WITH_UNITS if np.abs(cells).max() < 1e9])
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
    kinds = kinds_of(asked_columns([raw(cells, f"x{i}") for i, cells in enumerate(columns)], data))
    again = kinds_of(
        asked_columns([raw(cells[order], f"x{i}") for i, cells in enumerate(columns)], data)
    )
    for name, kind in kinds.items():
        assert kind.kind == "computed" or again[name] == kind or again[name].kind == "computed"
        ColumnKind.model_validate(kind.model_dump())
        if kind.kind in ("grid", "number"):
            numbers = raw(columns[int(name[1:])]).numbers_as(kind)
            assert np.isin(kind.atoms, numbers).all()

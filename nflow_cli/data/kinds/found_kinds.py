"""Kinds of columns, by their rows and the requests of the settings."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from nflow_cli.config.column_kinds import MAX_ATOMS, CellType, ColumnKind, Lattice, Relation
from nflow_cli.config.presets import is_key
from nflow_cli.data.files.arrow_cells import is_beyond_floats
from nflow_cli.data.files.columns import Column
from nflow_cli.data.files.dates import kind_of_form, span_of_form, texts_of, unit_of_form
from nflow_cli.data.files.lattices import common_lattice, decimals_of, fills
from nflow_cli.data.files.written import DistinctNumbers
from nflow_cli.data.kinds.asked import AskedColumn, AskedColumns
from nflow_cli.data.kinds.codes import without_order
from nflow_cli.data.kinds.left_out import why_left_out
from nflow_cli.data.kinds.relations import relations_of
from nflow_cli.data.kinds.shapes import shape_of
from nflow_cli.random_streams import stream

MAX_NUMBER_LEVELS = 15  # distinct numbers of a column of levels,
ROWS_A_LEVEL = 20  # and rows for each, at least, on average
MAX_CONSECUTIVE_LEVELS = 5  # more values are a grid if they are consecutive:
MIN_FILLED = 2 / 3  # if they are this share of the lattice's values, at least
MAX_TEXT_LEVELS = 1_000  # of a column of text; the most frequent are kept


def kinds_of(columns: AskedColumns, groups: np.ndarray | None = None) -> dict[str, ColumnKind]:
    """Kind of each column, by name: left out, computed from others, or modelled.

    ``groups`` ``(n,)``: names of the groups of rows; repeats within one are no evidence.
    """
    # Arrays that are cached on these copies are freed with them.
    requests = [replace(request, column=replace(request.column)) for request in columns.values()]
    kinds = dict[str, ColumnKind]()
    rest = []
    for request in requests:
        kind = kind_left_out(request)
        if kind is None:
            rest.append(request)
        else:
            kinds[request.name] = kind
    rest.sort(key=lambda request: not request.is_given)  # sources of a relation come first
    fixed = {request.name for request in requests if request.is_given or request.has_chosen_kind}
    collected = [request.column for request in rest if request.column.is_collected]
    # A config names the columns of a relation by keys.
    relations = relations_of([column for column in collected if is_key(column.name)], fixed)
    if all(request.is_given or request.name in relations for request in rest):
        relations = {}  # a fit models one column at least
    codes = without_order([column for column in collected if column.name not in relations], groups)
    need_positive = {name for relation in relations.values() for name in relation.positive}
    rest.sort(key=lambda request: request.name in relations)  # after the kinds of their sources
    known = {request.name: request.column for request in rest}
    for request in rest:
        column = request.column
        relation = relations.get(column.name)
        if relation is not None:
            relation = _with_texts_of_levels(relation, known, kinds)  # None if that is impossible
        kind = _kind_if_modelled(request, relation, groups, column.name in codes)
        if relation is not None:
            kind = _computed_kind(kind, relation)
        if column.date_format is not None:
            kind = _kind_of_times(kind, column.date_format)
        if column.name in need_positive:
            kind = _with_lower_bound(kind, column)
        kinds[column.name] = kind.model_copy(update={"notation": column.notation})
    return {name: kinds[name] for name in columns}


def _kind_of_times(kind: ColumnKind, form: str) -> ColumnKind:
    """Kind of a column of dates or times in text of a format, by its kind as numbers: levels are
    text; others have the format and its unit, and times without a date the bounds of a day.
    """
    if kind.alone.kind == "levels":
        relation = kind.relation
        if relation is not None:
            relation = relation.model_copy(update={"values": _texts_in_form(relation.values, form)})
        return kind.model_copy(update={"type": "text", "decimals": None, "relation": relation})
    type = kind_of_form(form)
    update = {
        "form": form,
        "type": "date" if type == "date" else "time",
        "resolution": max(kind.resolution or 0.0, unit_of_form(form)),  # finer is not written
    }
    kind = kind.model_copy(update=update)
    if type != "clock":
        return kind
    low = 0.0
    high = span_of_form(form) - (kind.step or 1.0)
    if kind.bounds and not kind.is_open:
        low = kind.bounds[0] or low
        high = high if kind.bounds[1] is None else kind.bounds[1]
    return kind.model_copy(update={"bounds": [low, high], "is_open": False})


def _with_texts_of_levels(
    relation: Relation, columns: Mapping[str, Column], kinds: Mapping[str, ColumnKind]
) -> Relation | None:
    """Relation where a source may be dates whose kind is levels: a map has their texts as keys;
    other rules compute with numbers, which levels have not, so None.
    """
    for name in relation.columns:
        form = columns[name].date_format
        if form is not None and kinds[name].type == "text":
            if relation.rule != "map":
                return None
            return relation.model_copy(update={"keys": _texts_in_form(relation.keys, form)})
    return relation


def _texts_in_form(numbers: Sequence[str], form: str) -> list[str]:
    """Dates or times, numbers written as text, in a format of strptime."""
    return texts_of(np.array(numbers, float), form)


def _computed_kind(kind: ColumnKind, relation: Relation) -> ColumnKind:
    """Kind of a column that a relation computes; that as if modelled stays as its ``own``."""
    rounding = ", up to the rounding of these" if relation.is_rounded else ""
    update = {
        "kind": "computed",
        "own": kind.kind,
        "why": f"= {relation.text}"[: 500 - len(rounding)] + rounding,
        "relation": relation,
        "bounds": None,
        "is_open": False,
    }
    return kind.model_copy(update=update)


def _with_lower_bound(kind: ColumnKind, column: Column) -> ColumnKind:
    """Kind of a column whose logarithm or power a relation computes: numbers without a lower bound
    get one above 0, the least of their lattice or resolution, or their least value.
    """
    low, high = kind.bounds or (None, None)
    if kind.kind == "levels" or low is not None or column.numbers is None:
        return kind
    least = kind.resolution or 0.0
    if kind.lattice is not None:
        least = kind.lattice.offset % kind.lattice.step or kind.lattice.step
    low = min(least, float(column.distinct_numbers.values[0]))
    is_open = kind.is_open or kind.bounds is None
    return kind.model_copy(update={"bounds": [low, high], "is_open": is_open})


def kind_left_out(request: AskedColumn) -> ColumnKind | None:
    """Kind of a column that is not modelled; None of any other."""
    if request.role:
        why = request.role
    elif request.is_excluded:
        why = "excluded"
    else:
        why = why_left_out(request.column, request.is_named)
    return ColumnKind(kind="left out", why=why) if why else None


def _kind_if_modelled(
    request: AskedColumn,
    relation: Relation | None,
    groups: np.ndarray | None,
    are_codes: bool,
) -> ColumnKind:
    """Kind of a column as if it were modelled: levels, a grid or a number, with the reason.

    Numbers that a formula computes are no levels: it may give some that no row has. ``are_codes``:
    whether its numbers have no order.
    """
    column = request.column
    missing = bool((column.value_indices < 0).any())
    if request.order:
        return ordered_kind(column, request.order, missing)
    if column.numbers is not None:
        return _kind_of_numbers(request, missing, relation, groups, are_codes)
    if column.cell_type == "truth":
        return ColumnKind(kind="levels", why="truth values", type="truth", missing=missing)
    count = len(column.texts)
    why = "text"
    if all(text.isdecimal() for text in column.texts):
        why = "digits with leading zeros"
    if any(map(is_beyond_floats, column.texts)):
        why = "more digits than numbers have"
    if count > MAX_TEXT_LEVELS:
        why = f"text: the {MAX_TEXT_LEVELS - 1:,} most frequent of {count:,} levels, and other ones"
    return ColumnKind(kind="levels", why=why, type="text", missing=missing)


def ordered_kind(column: Column, levels: Sequence[str], missing: bool) -> ColumnKind:
    """Kind of levels in order: as outcomes their places are a grid."""
    type: CellType = "truth" if column.cell_type == "truth" else "text"
    decimals = None
    if column.numbers is not None:
        decimals = column.distinct_numbers.decimals
        type = "whole" if decimals == 0 else "decimal"
    return ColumnKind(
        kind="levels",
        why=textwrap.shorten(f"in order: {' < '.join(levels)}", 200, placeholder=" …"),
        type=type,
        decimals=decimals,
        missing=missing,
        levels=[*levels],
        is_ordered=True,
        lattice=Lattice(step=1.0),
        atoms=[*map(float, range(len(levels)))] if len(levels) <= MAX_ATOMS else [],
        repeats=True,
        bounds=[0.0, len(levels) - 1.0],
    )


def _kind_of_numbers(
    request: AskedColumn,
    missing: bool,
    relation: Relation | None,
    groups: np.ndarray | None,
    are_codes: bool,
) -> ColumnKind:
    """Kind of a column of numbers, dates or times: levels if few, or codes without an order, unless
    a formula computes them; a grid if they repeat on a lattice, or their step is chosen; else a
    number.

    ``missing``: whether it has gaps; ``groups`` as of :func:`kinds_of`.
    """
    column = request.column
    numbers = column.distinct_numbers
    lattice = common_lattice(numbers)
    type = "whole" if numbers.decimals == 0 else "decimal"
    if column.cell_type in ("date", "time"):
        type = column.cell_type
    facts = {
        "type": type,
        "decimals": numbers.decimals,
        "missing": missing,
        "single": numbers.single,
    }
    step = request.step
    if step is not None:
        lattice = Lattice(step=step, offset=float(numbers.values[0] % step))
    why = _why_levels(request, lattice, are_codes)
    if why and (relation is None or relation.rule == "map"):
        return ColumnKind(kind="levels", why=why, **facts)
    counted = numbers if groups is None else _counted_once_a_group(column, groups)
    shape = shape_of(counted, lattice, is_grid=step is not None or column.cell_type == "date")
    bounds = shape.bounds
    if request.bounds is not None:
        bounds = request.bounds if request.bounds != [None, None] else None
    facts |= {
        "bounds": bounds,
        "is_open": request.bounds is None and bounds is not None,
        "atoms": shape.atoms,
        "repeats": shape.repeats,
        "resolution": shape.resolution,
        "lattice": shape.lattice,
    }
    if shape.is_grid and shape.lattice:
        facts["decimals"] = decimals_of(shape.lattice)  # without noise
        why = "values that repeat" if step is None else "chosen"
        return ColumnKind(kind="grid", why=why, **facts)
    why = "values that repeat, on no grid" if shape.repeats else "values that differ"
    return ColumnKind(kind="number", why=why, **facts)


def _counted_once_a_group(column: Column, groups: np.ndarray) -> DistinctNumbers:
    """Distinct numbers of a column, whose counts are of rows, or of groups of rows if a group
    mostly has one number.

    It mostly has if there are fewer pairs of a group and a number than halfway from the least, one
    a group, to as many as random groups have. ``groups`` ``(n,)``: names of the rows' groups.
    """
    numbers = column.distinct_numbers
    values = numbers.values
    known = np.isfinite(column.cells)
    names, group_codes = np.unique(groups[known], return_inverse=True)
    places = np.searchsorted((values[1:] + values[:-1]) / 2, column.cells[known])
    pairs = np.unique(group_codes * len(values) + places)
    random_codes = stream(0, "groups").permutation(group_codes)
    pairs_by_chance = np.unique(random_codes * len(values) + places)
    if 2 * len(pairs) >= len(pairs_by_chance) + len(names):
        return numbers
    return replace(numbers, counts=np.bincount(pairs % len(values)))


def _why_levels(request: AskedColumn, lattice: Lattice | None, are_codes: bool) -> str:
    """Why the numbers of a column are levels, "" if they are none: chosen, codes without an order,
    or few distinct ones with many rows each, unless they are consecutive on their lattice.
    """
    numbers = request.column.distinct_numbers
    count = len(numbers.values)
    if request.is_categorical:
        return "chosen"
    if request.step is not None:
        return ""
    if count <= 2:
        return "two values" if count == 2 else "one value"
    if are_codes and request.bounds is None:
        return f"{count} codes without an order"
    if count > min(MAX_NUMBER_LEVELS, numbers.rows / ROWS_A_LEVEL):
        return ""
    if (
        count > MAX_CONSECUTIVE_LEVELS
        and lattice is not None
        and fills(numbers, lattice, MIN_FILLED)
    ):
        return ""
    return f"{count} distinct numbers"

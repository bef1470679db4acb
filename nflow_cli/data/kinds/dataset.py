"""Data set of a table: kinds of columns, numeric cells, training, validation and test rows.

A row of an array ``(n, C)``, float64, holds the given columns, the modelled, and those computed
from them, each in the table's order. A cell is a number, or the index of its level, -1 if no
training row has it; NaN if missing.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind, row_names
from nflow_cli.config.strict import MAX_COLUMNS, MAX_LEVELS
from nflow_cli.config.table import TableData, Tails
from nflow_cli.data.column_maps import ColumnMap, Scale, records_of
from nflow_cli.data.files import dates, notations
from nflow_cli.data.files.columns import Column, read_columns
from nflow_cli.data.files.table_files import IN_PYTHON, STDIN, table_named
from nflow_cli.data.files.tables import TableFile, is_mark, shown
from nflow_cli.data.files.written import as_written
from nflow_cli.data.kinds.asked import AskedColumns, asked_columns, given_names, given_to
from nflow_cli.data.kinds.cell_notes import (
    notes_of_codes,
    notes_of_days,
    notes_of_lost,
    notes_of_merged,
    notes_of_texts,
)
from nflow_cli.data.kinds.copies import note_of_copies, originals
from nflow_cli.data.kinds.cycles import with_calendars
from nflow_cli.data.kinds.faults import (
    HINT,
    Fault,
    complete_rows,
    expect_kinds,
    far_values,
    faults_of,
    gaps_text,
    linear_dependence,
    names_in_row,
    plain_kinds,
    refuse,
    too_few,
    without_levels,
    without_spread,
)
from nflow_cli.data.kinds.fit_units import Bounds, fit_units, units_of_numbers
from nflow_cli.data.kinds.found_kinds import kinds_of
from nflow_cli.data.kinds.left_out import GROWS
from nflow_cli.data.kinds.reader import TableReader, texts_in
from nflow_cli.data.kinds.relations import notes_of_groups
from nflow_cli.data.kinds.split import (
    note_of_repeats,
    note_of_weights,
    notes_of,
    part_weights,
    parts_of,
)
from nflow_cli.data.kinds.target_column import given_away, may_be_given
from nflow_cli.data.points import ALIKE, Parts, Weights, checksum
from nflow_cli.data.units import ColumnUnits
from nflow_cli.errors import DataError
from nflow_cli.random_streams import stream
from nflow_cli.registry import POINT_SETS
from nflow_cli.terminal.output import tell
from nflow_cli.terminal.progress import phase

NEW = -1.0  # a level that no training row has
NO_ROWS = Parts(*(np.zeros(0, int) for _ in range(3)))
ODD_ROWS = "odd_rows"  # key of a record: numbers from 1 of each part, left out of a robust fit


@dataclass(frozen=True, eq=False)
class Dataset:
    """Data of a fit; arrays are rows ``(n, C)``.

    Attributes:
        sha256: Of all rows in order, before the split.
        kinds: Of all columns, also those left out; with the levels of training rows.
        units: Maps of each numeric column to about N(0, 1).
        notes: Lines printed before training.
        test_file: Name, path and SHA-256 of a separate file of test rows.
        n_copies: Number of rows, of both tables, that equal an earlier one and are in no part.
        straight_units: Units without ends at 0, if the columns may be linear mixtures.
        row_numbers: Of each part, in the table or the file of test rows.
        odd_rows: Numbers of the outliers that a robust fit leaves out of training and validation,
            and of such test rows, which stay; ``None``: the fit is not robust.
        table: The table, to read other rows of it.
        test_groups: Number ``(t,)`` of the group that each test row is in, if rows are grouped.
    """

    name: str
    sha256: str
    kinds: Mapping[str, ColumnKind]
    given_names: Sequence[str]
    modelled_names: Sequence[str]
    computed_names: Sequence[str]
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    units: Mapping[str, Sequence[ColumnMap]]
    weights: Weights = ALIKE
    notes: Sequence[str] = ()
    test_file: Mapping[str, str] | None = None
    n_copies: int = 0
    straight_units: Mapping[str, Sequence[ColumnMap]] = field(default_factory=dict)
    row_numbers: Parts = NO_ROWS
    odd_rows: Parts | None = None
    table: TableFile | None = None
    test_groups: np.ndarray | None = None

    @property
    def columns(self) -> list[str]:
        """The row's C columns."""
        return [*self.given_names, *self.scored_names]

    @property
    def scored_names(self) -> list[str]:
        """Modelled and computed columns: those with probabilities."""
        return [*self.modelled_names, *self.computed_names]

    @property
    def may_be_linear(self) -> bool:
        """Whether the columns may be linear mixtures: several plain numbers, without gaps, bounds,
        cycles, weights or given columns.
        """
        kinds = [self.kinds[name] for name in self.columns]
        are_plain = all(
            kind.is_continuous and not (kind.bounds or kind.missing or kind.calendar)
            for kind in kinds
        )
        return are_plain and len(kinds) > 1 and not self.given_names and self.weights.train is None

    def thinned(self, count: int) -> "Dataset":
        """Data of every k-th row of each part; k is the least by which ``count`` training rows, at
        most, are left.
        """
        k = max(1, -(-len(self.train) // count))
        weights = {
            part: row_weights[::k]
            for part, row_weights in self.weights._asdict().items()
            if row_weights is not None
        }
        return replace(
            self,
            train=self.train[::k],
            validation=self.validation[::k],
            test=self.test[::k],
            weights=Weights(**weights),
            row_numbers=Parts(*(numbers[::k] for numbers in self.row_numbers)),
        )

    def without(self, odd: Parts) -> "Dataset":
        """Data without the odd rows of training and validation, at places of each part."""
        numbers_and_odd = list(zip(self.row_numbers, odd))
        kept = Parts(*(np.delete(numbers, places) for numbers, places in numbers_and_odd))
        weights = {
            part: row_weights if part == "test" else np.delete(row_weights, getattr(odd, part))
            for part, row_weights in self.weights._asdict().items()
            if row_weights is not None
        }
        return replace(
            self,
            train=np.delete(self.train, odd.train, axis=0),
            validation=np.delete(self.validation, odd.validation, axis=0),
            weights=Weights(**weights),
            row_numbers=kept._replace(test=self.row_numbers.test),
            odd_rows=Parts(*(numbers[places] for numbers, places in numbers_and_odd)),
        )

    @property
    def n_left_out(self) -> int:
        """Number of outliers that a robust fit leaves out of training and validation."""
        return 0 if self.odd_rows is None else sum(map(len, self.odd_rows[:2]))

    def straightened(self) -> "Dataset":
        """Data in ``straight_units``, in which linear mixtures of columns stay linear."""
        return replace(self, units=self.straight_units)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of rows of each part, by its key in a summary."""
        return {
            "n_train": len(self.train),
            "n_validation": len(self.validation),
            "n_test": len(self.test),
        }

    @property
    def measure(self) -> str:
        """SHA-256 of a row's base measure: names of the given columns; of each scored one name,
        kind, width of a number's interval, if any, and repeated values.

        Log-densities compare only if it is equal.
        """
        kinds = {name: self.kinds[name] for name in sorted(self.scored_names)}
        measures = []
        for name, kind in kinds.items():
            width = kind.resolution if "number" in (kind.kind, kind.own) else None
            measures.append([name, kind.kind, width, kind.repeats])
        text = json.dumps([sorted(self.given_names), measures])
        return hashlib.sha256(text.encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """Record in ``run.json``."""
        record: dict[str, Any] = {"name": self.name}
        if self.name not in (*POINT_SETS, STDIN, IN_PYTHON):
            record["path"] = os.path.abspath(self.name)
        record["sha256"] = self.sha256
        record["columns"] = self.columns
        weights = [row_weights for row_weights in self.weights if row_weights is not None]
        if weights:
            record["weights_sha256"] = checksum(np.concatenate(weights))
        if self.n_copies:
            record["copies"] = self.n_copies
        if self.test_file:
            record["test"] = dict(self.test_file)
        if self.odd_rows is not None:
            record[ODD_ROWS] = {
                part: (np.sort(numbers) + 1).tolist()
                for part, numbers in self.odd_rows._asdict().items()
            }
        record["units"] = records_of(self.units)
        if self.straight_units:
            record["straight_units"] = records_of(self.straight_units)
        return record


class Reading(NamedTuple):
    """Table as read, before its rows are split.

    Attributes:
        reader: Of the table.
        requests: For the columns, each with the column as read, by name.
        row_numbers: ``(n,)`` of the rows in the table.
        first_copies: Number ``(n,)`` of the first row that each row copies, of those read.
        kinds: Of the columns, from the rows that copy no other.
        faults: Of these rows.
        notes: Lines printed before training.
    """

    reader: TableReader
    requests: AskedColumns
    row_numbers: np.ndarray
    first_copies: np.ndarray
    kinds: Mapping[str, ColumnKind]
    faults: Sequence[Fault]
    notes: Sequence[str] = ()

    @property
    def n_copies(self) -> int:
        """Number of rows that copy another."""
        return len(self.first_copies) - len(np.unique(self.first_copies))

    @property
    def weight_column(self) -> Column | None:
        """Column that weights rows, if any."""
        weights = (request.column for request in self.requests.values() if request.is_weight)
        return next(weights, None)


class TestRows(NamedTuple):
    """Test rows of a separate file, in random order, one of each that is repeated.

    Attributes:
        rows: ``(n, C)``.
        row_numbers: Of each ``(n,)`` in the file.
        weights: ``(n,)``, if rows have weights.
        test_file: Name, path and SHA-256 of the file.
        notes: Lines printed before training.
        n_copies: Number of rows left out, which equal another.
    """

    rows: np.ndarray
    row_numbers: np.ndarray
    weights: np.ndarray | None
    test_file: Mapping[str, str]
    notes: Sequence[str]
    n_copies: int


def read_whole(table: TableFile, settings: TableData, flows: Tails | None = None) -> Reading:
    """Read all columns of a table, or those in use if it has more than 1,000; find their kinds."""
    reader = TableReader(table, settings, flows)
    names_used = reader.names_used()
    names = [column.name for column in table.columns]
    columns, numbers = reader.read(names_used if len(names) > MAX_COLUMNS else names)
    return _reading_of_columns(reader, columns, numbers, names_used)


def load_dataset(
    settings: TableData,
    table: TableFile | None = None,
    flows: Tails | None = None,
    all_columns: Reading | None = None,
) -> Dataset:
    """Read a table, find the kinds of its columns, unless set, and split its rows.

    ``table`` replaces that of ``settings``; ``flows``: map of tails for flows; ``all_columns``: the
    table as :func:`read_whole` has read it. All faults of the table are in one ``DataError``.
    """
    reader = TableReader(table or table_named(settings), settings, flows)
    reading = _read(reader, all_columns)
    parts, faults = _split_of_rows(reading)
    faults = [*reading.faults, *faults]
    has_refused_columns = flows and any(fault.column and fault.mend for fault in faults)
    refuse(reader.table, faults, HINT if has_refused_columns else "")
    kinds = _kinds_with_levels(reading.kinds, reading.requests, parts.train)
    refuse(reader.table, without_levels(kinds, reading.requests))
    data = _dataset_of_parts(reading._replace(kinds=kinds), parts)
    if flows is None:
        names = [*data.given_names, *data.modelled_names]
        data = replace(data, kinds=with_calendars(kinds, names, data.train, len(data.given_names)))
    may_be_mixture = flows is None and data.may_be_linear
    with phase(f"fitting the units of {len(data.columns):,} columns"):
        if flows is None:
            units = _units_of_cells(data, may_end_at_0=True)
        else:
            units = _units_of_flows(data, reading, flows)
        straight_units = _units_of_cells(data, may_end_at_0=False) if may_be_mixture else {}
    continuous = [data.kinds[name].is_continuous for name in data.columns]
    notes = [
        *reading.notes,
        *data.notes,
        *note_of_weights(settings.weights, data.weights.train),
        *note_of_repeats(data.train, data.test, continuous),
    ]
    return replace(
        data,
        units=units,
        straight_units=straight_units,
        notes=notes,
        n_copies=data.n_copies + reading.n_copies,
        table=reader.table,
    )


def load_undivided(settings: TableData, table: TableFile) -> Dataset:
    """Read a table of which all rows are training rows, and find the kinds of its columns; without
    units, which fits need.
    """
    reader = TableReader(table, settings)
    reading = _read(reader)
    refuse(table, reading.faults)
    all_rows = np.arange(len(reading.row_numbers))
    no_rows = all_rows[:0]
    kinds = _kinds_with_levels(reading.kinds, reading.requests, all_rows)
    return _dataset_of_parts(reading._replace(kinds=kinds), Parts(all_rows, no_rows, no_rows))


def _read(reader: TableReader, all_columns: Reading | None = None) -> Reading:
    """Reading of a table's columns in use, with notes to print, without rows that ``data.missing``
    drops.

    ``all_columns``, if given, is a reading of all columns, used in place of the file; kinds depend
    on settings and columns, and are found anew where these differ.
    """
    settings = reader.settings
    names = reader.names_used()
    if all_columns is None:
        requests, row_numbers = reader.read(names)
        reading = _reading_of_columns(reader, requests, row_numbers, names)
    elif (all_columns.reader.settings, [*all_columns.requests]) == (settings, names):
        reading = all_columns
    else:
        requests = asked_columns([all_columns.requests[name].column for name in names], settings)
        reading = _reading_of_columns(reader, requests, all_columns.row_numbers, names)
    requests = reading.requests
    kinds = {name: kind for name, kind in reading.kinds.items() if name != settings.weights}
    in_rows = [requests[name] for name in names_in_row(kinds, requests)]
    # Left out, as numbers that grow from row to row, such as dates: notes tell how they are read.
    growing = [requests[name] for name, kind in kinds.items() if kind.why == GROWS]
    notes = [
        *reader.table.notes,
        *notes_of(requests, kinds, reading.row_numbers, settings.target),
        *note_of_copies(reading.first_copies, in_each_part=settings.split is not None),
        *notes_of_texts(reader.table, requests, reading.row_numbers),
        *notes_of_days([*in_rows, *growing]),
        *notes_of_codes(in_rows),
        *notes_of_merged([request.column for request in in_rows]),
    ]
    if settings.group is None and settings.split is None:
        notes += notes_of_groups(
            {name: request.column for name, request in requests.items()}, kinds
        )
    reading = reading._replace(kinds=kinds, notes=notes)
    return _without_gaps(reading) if settings.missing == "drop" else reading


def _without_gaps(reading: Reading) -> Reading:
    """Reading without the rows that have missing values, and with a note on them."""
    requests = reading.requests
    kinds = dict(reading.kinds)
    weight_names = [name for name, request in requests.items() if request.is_weight]
    names = [*names_in_row(kinds, requests), *weight_names]
    present, counts = complete_rows(requests, names, len(reading.row_numbers))
    for name in kinds.keys() & names:
        kinds[name] = kinds[name].model_copy(update={"missing": False})
    # A row and its copies are complete or not together: of those left the first is renumbered.
    _, first_places, copy_groups = np.unique(
        reading.first_copies[present], return_index=True, return_inverse=True
    )
    note = [f"left out: {gaps_text(present, counts)}"] if counts else []
    return reading._replace(
        requests={name: requests[name].at(np.flatnonzero(present)) for name in names},
        kinds=kinds,
        row_numbers=reading.row_numbers[present],
        first_copies=first_places[copy_groups],
        notes=[*reading.notes, *note],
    )


def _reading_of_columns(
    reader: TableReader, columns: AskedColumns, row_numbers: np.ndarray, names: Sequence[str]
) -> Reading:
    """Reading of columns whose rows have ``row_numbers`` ``(n,)`` in the table: with first copies,
    by the cells of the columns ``names``, and with kinds and faults.

    Beside targets, columns that give them away are left out, and others are given. They still count
    as cells of copies: kinds in a config do not tell why a column is left out.
    """
    settings = reader.settings
    with phase(f"finding the kinds of {len(columns):,} columns, {len(row_numbers):,} rows"):
        first = _first_copies(reader, columns, row_numbers, names)
        left_out = dict[str, ColumnKind]()
        if settings.target and settings.kinds is None:
            left_out = given_away(columns, settings.target)
            given = may_be_given(columns, [*settings.target, *left_out])
            columns = given_to(columns, given)
        kept = {name: request for name, request in columns.items() if name not in left_out}
        kinds, faults = kinds_and_faults(reader, kept, row_numbers, first)
        if left_out:
            kinds = {name: left_out.get(name) or kinds[name] for name in columns}
        return Reading(reader, columns, row_numbers, first, kinds, faults)


def _first_copies(
    reader: TableReader, columns: AskedColumns, row_numbers: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    """Index ``(n,)`` of the first row that equals each row, itself where none is before it, in the
    columns ``names``, weights and groups.
    """
    further_cells = [request.column.cells for request in columns.values() if request.is_weight]
    if (groups := reader.groups_of(row_numbers)) is not None:
        further_cells.append(np.unique(groups, return_inverse=True)[1])
    further_cells = [cells for cells in further_cells if len(cells)]  # of too many texts are none
    return originals([columns[name] for name in names], len(row_numbers), further_cells)


def kinds_and_faults(
    reader: TableReader, columns: AskedColumns, row_numbers: np.ndarray, first: np.ndarray
) -> tuple[dict[str, ColumnKind], list[Fault]]:
    """Kinds of columns, and the faults that show before the split; of equal rows one counts.

    ``row_numbers`` ``(n,)``: of the rows in the table; ``first`` ``(n,)``: the index of the first
    row that equals each.
    """
    settings = reader.settings
    is_of_flows = reader.flows is not None
    kept = np.unique(first)
    if len(kept) < len(row_numbers):
        columns = {name: request.at(kept) for name, request in columns.items()}
        row_numbers = row_numbers[kept]
    faults = list[Fault]()
    if settings.kinds is not None:
        kinds = dict(settings.kinds)
        names = [name for name in columns if name != settings.weights]
        expect_kinds(kinds, names, reader.table.name, of_cells=not is_of_flows)
    else:
        kinds = kinds_of(columns, reader.groups_of(row_numbers))
        if is_of_flows:
            kinds, faults = plain_kinds(columns, kinds)
    faults += faults_of(columns, len(row_numbers), kinds, settings.missing, is_of_flows)
    return kinds, [fault.in_table(row_numbers) for fault in faults]


def _split_of_rows(reading: Reading) -> tuple[Parts, list[Fault]]:
    """Rows of training, validation and test, by index, and faults; with a fault all are empty."""
    try:
        return parts_of(reading.reader.splitting, reading.row_numbers, reading.first_copies), []
    except DataError as error:
        problem = str(error).removeprefix(f"{reading.reader.table.name}: ")
        empty = np.zeros(0, int)
        return Parts(empty, empty, empty), [Fault("", problem)]


def _dataset_of_parts(reading: Reading, parts: Parts) -> Dataset:
    """Data set of a reading whose rows are split, with the rows of a test file, if any; its units
    are still empty.
    """
    settings = reading.reader.settings
    rows = _rows_in_kinds(reading, reading)
    sha256 = checksum(rows)
    tests = None
    if settings.test is not None:
        tests = _read_test_rows(settings.test, reading, sha256)
    weights, faults = part_weights(reading.weight_column, parts, tests and tests.weights)
    refuse(reading.reader.table, faults)
    names = row_names(reading.kinds, given_names(reading.requests))
    data = Dataset(
        settings.name,
        sha256,
        reading.kinds,
        names.given,
        names.modelled,
        names.computed,
        train=rows[parts.train],
        validation=rows[parts.validation],
        test=rows[parts.test],
        units={},
        weights=weights,
        row_numbers=Parts(*(reading.row_numbers[part] for part in parts)),
    )
    if tests is None:
        groups = reading.reader.groups_of(reading.row_numbers)
        if groups is None:
            return data
        return replace(data, test_groups=np.unique(groups[parts.test], return_inverse=True)[1])
    row_numbers = data.row_numbers._replace(test=tests.row_numbers)
    return replace(
        data,
        row_numbers=row_numbers,
        test=tests.rows,
        test_file=tests.test_file,
        notes=tests.notes,
        n_copies=tests.n_copies,
    )


def _read_test_rows(path: str, trained: Reading, sha256: str) -> TestRows:
    """Test rows of the file ``path``, by the kinds and settings of the table ``trained``; if its
    rows have the checksum ``sha256`` of that table's, a DataError.
    """
    names = names_in_row(trained.kinds, trained.requests)
    update = {
        "name": path,
        "columns": names,
        "exclude": [],
        "kinds": {name: trained.kinds[name] for name in names},
        **dict.fromkeys(("test", "split", "group", "max_rows", "size")),  # all are test rows
    }
    settings = trained.reader.settings.model_copy(update=update)
    table = table_named(settings)
    reading = _read(TableReader(table, settings, trained.reader.flows))
    refuse(table, reading.faults)
    rows = _rows_in_kinds(reading, trained)
    record = {"name": path, "path": os.path.abspath(path), "sha256": checksum(rows)}
    if record["sha256"] == sha256:
        raise DataError(f"{path}: expected test rows other than the training rows")
    kept = np.unique(reading.first_copies)
    order = kept[stream(settings.split_seed, "order").permutation(len(kept))]
    weights = reading.weight_column
    return TestRows(
        rows[order],
        row_numbers=reading.row_numbers[order],
        weights=None if weights is None else weights.cells[order],
        test_file=record,
        notes=[f"{path}: {note}" for note in [*table.notes, *note_of_copies(reading.first_copies)]],
        n_copies=reading.n_copies,
    )


def _rows_in_kinds(reading: Reading, trained: Reading) -> np.ndarray:
    """Rows ``(n, C)`` of a table, in the columns and kinds of the reading ``trained``."""
    names = names_in_row(trained.kinds, trained.requests)
    columns = [reading.requests[name].column for name in names]
    return _cells_in_kinds(reading.reader.table, columns, trained.kinds)


def _units_of_cells(data: Dataset, may_end_at_0: bool) -> dict[str, list[ColumnMap]]:
    """Units of each grid and number for a density of cells, fitted to the training rows' values
    that are no atoms, or to all where those are one value, which has no spread.

    ``may_end_at_0`` as of :func:`~nflow_cli.data.kinds.fit_units.units_of_numbers`.
    """
    units = {}
    for name, values in zip(data.columns, data.train.T):
        kind = data.kinds[name]
        if kind.is_ordered:
            places = values[values >= 0]
            spread = float(places.std()) if len(places) else 0.0
            units[name] = [Scale(float(places.mean()) if len(places) else 0.0, spread or 1.0)]
        elif kind.alone.has_intervals:
            known = values[~np.isnan(values)]
            no_atoms = known[~np.isin(known, kind.atoms)]
            has_spread = len(no_atoms) and np.ptp(no_atoms) > 0
            units[name] = units_of_numbers(no_atoms if has_spread else known, kind, may_end_at_0)
    return units


def _units_of_flows(data: Dataset, reading: Reading, tails: Tails) -> dict[str, list[ColumnMap]]:
    """Units of each column, fitted to training rows that are resampled by their weights; raise the
    faults of columns that flows cannot model.
    """
    table = reading.reader.table
    requests = reading.requests
    names = data.columns
    rows = data.train
    weights = data.weights.train
    if weights is not None:
        rng = stream(reading.reader.settings.split_seed, "weights")
        rows = rows[rng.choice(len(rows), len(rows), p=weights / weights.sum())]
    parts = Parts(data.train, data.validation, data.test)
    faults = [*too_few(parts, data.weights, len(names)), *without_spread(rows, names, requests)]
    refuse(table, faults)
    units = {}
    for name, values in zip(names, rows.T):
        bounds = requests[name].bounds or (None, None)
        units[name] = fit_units(values, Bounds(*bounds), tails)
    row_units = ColumnUnits(list(units.values()))
    refuse(table, [*far_values(parts, row_units, names, requests)])
    refuse(table, linear_dependence(rows, row_units, names, requests))
    return units


def _kinds_with_levels(
    kinds: Mapping[str, ColumnKind], columns: AskedColumns, train: np.ndarray
) -> dict[str, ColumnKind]:
    """Kinds of columns, those of levels with their levels: the values of the rows ``train``
    ``(n_train,)``, of a computed column of all rows; of more than ``MAX_LEVELS`` the most frequent.
    """
    with_levels = {}
    for name, kind in kinds.items():
        if kind.alone.kind == "levels" and kind.levels is None:
            texts, codes = level_texts(columns[name].column, kind)
            if kind.kind != "computed":
                codes = codes[train]
            distinct, counts = np.unique(codes, return_counts=True)
            by_frequency = distinct[np.argsort(-counts, kind="stable")]
            levels = [texts[code] for code in by_frequency if code >= 0][:MAX_LEVELS]
            order = None if kind.type in ("text", "truth") else float
            kind = kind.model_copy(update={"levels": sorted(levels, key=order)})
        with_levels[name] = kind
    return with_levels


def level_texts(column: Column, kind: ColumnKind) -> tuple[list[str], np.ndarray]:
    """Levels as texts ``(L,)``, and the index ``(n,)`` of each cell's among them; -1: missing."""
    if column.numbers is None:
        return column.texts, column.cells
    if column.codes is not None and kind.type == "text":
        return column.texts, np.where(column.are_gaps, -1, column.codes)
    values, codes = np.unique(column.numbers, return_inverse=True)
    known = values[~np.isnan(values)]
    keys = _level_keys(column, kind, known)
    written = known if kind.single is None else as_written(known, is_single=True)
    texts = dict[str, str]()  # of each level, by the key that its numbers share
    for key, value in zip(keys, written):
        texts.setdefault(key, number_text(value, kind.decimals))
    places = {key: i for i, key in enumerate(texts)}
    # NaN, the last of the distinct values, has the last code.
    return [*texts.values()], np.array([*map(places.__getitem__, keys), -1])[codes]


def _level_keys(column: Column, kind: ColumnKind, values: np.ndarray) -> list[str]:
    """Keys `(n,)` of the levels of numbers ``values`` `(n,)`: their texts with the kind's decimals,
    or with the digits by which distinct numbers are counted.
    """
    if kind.decimals is None:
        values = as_written(values, kind.single is not None or column.is_float32)
    return [number_text(value, kind.decimals) for value in values]


def number_text(value: float, decimals: int | None) -> str:
    """Text of the level of a number: with some decimals, or with all its digits."""
    if decimals is None:
        return repr(float(value))
    return f"{value:z.{decimals}f}"


def values_of(
    column: Column, kind: ColumnKind, table: TableFile, na: Sequence[str] = ()
) -> np.ndarray:
    """Cells ``(n,)`` of a column as in a row: numbers, or indices of levels, -1 if new; NaN where
    missing, or equal to one of ``na``. A DataError if they are not of its kind.
    """
    column = column.without(na)
    if column.numbers is not None and np.isinf(column.numbers).any():
        row = int(np.argmax(np.isinf(column.numbers)))
        raise DataError(
            f"{table.name}: {table.place(row)}: column {shown(column.name)}: expected a finite "
            f"number, received {column.numbers[row]}"
        )
    if kind.kind != "levels" and column.codes is not None and not column.texts:
        return np.full(len(column.codes), np.nan)  # all are missing
    try:
        converted = column.in_kind(kind)
        if converted is not column:
            for note in notes_of_lost(table, converted, np.arange(len(converted.cells))):
                tell(f"note: {note}")
        column = converted.without(na)
        if kind.kind == "levels":
            return _level_indices(column, kind)
        return column.numbers_as(kind)
    except ValueError:
        row, received = _first_wrong_cell(column, kind)
        place = "" if row is None else f"{table.place(row)}: "
        raise DataError(
            f"{table.name}: {place}column {shown(column.name)}: expected {_expected_cells(kind)}, "
            f"received {received}"
        ) from None


def _expected_cells(kind: ColumnKind) -> str:
    """Words for the cells that a kind has, behind "expected" in an error."""
    if kind.notation is not None:
        return f"numbers such as {notations.texts_of(np.array([-1234.5]), kind.notation)[0]}"
    if kind.form is not None:
        return f"dates or times as {kind.form}"
    of_time = {"date": "ISO dates", "time": "ISO times, all with a zone or all without"}
    return of_time.get(kind.type, "numbers")


def _first_wrong_cell(column: Column, kind: ColumnKind) -> tuple[int | None, str]:
    """First cell of a column that is not of a kind: its row, if known, and its text as shown.

    A column of text has distinct ``texts`` and, of each row, the index of its text in ``codes``.
    """
    if column.first_text_cell is None or kind.form is not None:  # a text may be a date
        text = shown(column.texts[0]) if column.texts else "text"
        return None, text
    row, text = column.first_text_cell
    if column.codes is not None:  # the first text may be a gap mark, such as NA: search anew
        values = notations.numbers_of(column.texts, kind.notation, column.decimal)
        are_wrong = ~np.isfinite(values) & ~np.array([*map(is_mark, column.texts)])
        row = int(np.argmax(np.append(are_wrong, False)[column.codes]))  # code -1: missing
        text = column.texts[column.codes[row]]
    return row, shown(text)


def _level_indices(column: Column, kind: ColumnKind) -> np.ndarray:
    """Index ``(n,)`` of each cell's level among those of the kind; -1: new, NaN: missing."""
    texts, codes = level_texts(column, kind)
    levels = kind.levels or ()
    if "truth" in (column.cell_type, kind.type):  # True is true
        texts = [text.lower() for text in texts]
        levels = [text.lower() for text in levels]
    if column.numbers is not None and kind.type != "text":
        keys = _level_keys(column, kind, np.array([*levels, *texts], float))
        texts = keys[len(levels) :]
        levels = keys[: len(levels)]
    elif kind.type == "text":
        levels = [*map(column.level_key, levels)]
        texts = [*map(column.level_key, texts)]
    indices = {text: float(i) for i, text in enumerate(levels)}
    if dates.form_of(levels):  # beside dates a gap mark is none of the levels
        indices |= {text: np.nan for text in filter(is_mark, texts)}
    # The last is of code -1.
    return np.array([*(indices.get(text, NEW) for text in texts), np.nan])[codes]


def rows_of(
    table: TableFile,
    kinds: Mapping[str, ColumnKind],
    names: Sequence[str],
    settings: TableData | None = None,
) -> np.ndarray:
    """Rows ``(n, C)`` of another table, in the columns ``names`` and their kinds; its notes are
    printed. Cells that ``settings`` call missing are NaN. A DataError if there are no rows, unless
    the table is a part of one of many files.
    """
    columns, rows = read_columns(table, names=names, texts=texts_in(table, kinds, names))
    if not len(rows) and not table.is_part:
        raise DataError(f"{table.name}: expected rows, received none")
    while table.notes:  # each is printed once
        tell(f"{table.name}: {table.notes.pop(0)}")
    na = {name: settings.na_of(name) for name in names} if settings else {}
    return _cells_in_kinds(table, columns, kinds, na)


def _cells_in_kinds(
    table: TableFile,
    columns: Sequence[Column],
    kinds: Mapping[str, ColumnKind],
    na: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> np.ndarray:
    """Cells ``(n, C)`` of columns as in rows, by their kinds; those equal to one of a column's
    values in ``na`` are missing.
    """
    values = [
        values_of(column, kinds[column.name].alone, table, na.get(column.name, ()))
        for column in columns
    ]
    return np.column_stack(values)

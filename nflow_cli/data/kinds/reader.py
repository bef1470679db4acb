"""Reader of a table: its columns as the settings ask for them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.strict import MAX_COLUMNS
from nflow_cli.config.table import TableData, Tails
from nflow_cli.data.files.columns import read_columns, text_of
from nflow_cli.data.files.tables import TableFile, listed, shown
from nflow_cli.data.kinds.asked import AskedColumns, asked_columns
from nflow_cli.data.kinds.faults import Fault, refuse
from nflow_cli.data.kinds.left_out import TIME_WORDS, words
from nflow_cli.data.kinds.split import Splitting
from nflow_cli.registry import nearest
from nflow_cli.terminal.progress import phase
from nflow_cli.text import printable


@dataclass(frozen=True, eq=False)
class TableReader:
    """A table and its settings, which are asked here alone.

    ``flows``: tails of the flows that are fitted to it, if any.
    """

    table: TableFile
    settings: TableData
    flows: Tails | None = None

    def names_used(self) -> list[str]:
        """Names of the columns that are read: those not left out, 1 to 1,000."""
        self._expect_names()
        settings = self.settings
        aside = {*settings.exclude, settings.split, settings.group} - {*settings.given}
        wanted = settings.columns and {*settings.columns, *settings.given, settings.weights}
        names = [
            column.name
            for column in self.table.columns
            if column.name not in aside and (wanted is None or column.name in wanted)
        ]
        if not names:
            refuse(self.table, [Fault("", "expected a column to model, received none")])
        if len(names) > MAX_COLUMNS:
            text = f"expected at most {MAX_COLUMNS:,} columns, received {len(names):,}"
            refuse(self.table, [Fault("", f"{text}; --columns takes some")])
        return names

    def _expect_names(self) -> None:
        """Check that the table has all columns named."""
        known = [column.name for column in self.table.columns]
        unknown = [
            Fault("", f"data.{key}: no column {shown(name)}{nearest(name, known)}")
            for key, names in self.settings.columns_named().items()
            for name in names
            if name not in known
        ]
        if unknown:
            of_table = f"its columns: {listed([*map(shown, known)])}"
            refuse(self.table, [*unknown, Fault("", of_table)])

    def read(self, names: Sequence[str]) -> tuple[AskedColumns, np.ndarray]:
        """Columns as they are asked, by name, and their row numbers ``(n,)``: of unknown kind in
        numbers, where their text is that.
        """
        with phase(f"reading {printable(self.table.name)}"):
            return self._read(names)

    def _read(self, names: Sequence[str]) -> tuple[AskedColumns, np.ndarray]:
        table = self.table
        settings = self.settings
        kinds = {
            name: kind for name, kind in (settings.kinds or {}).items() if kind.kind != "left out"
        }
        texts = texts_in(table, kinds, [name for name in names if name in kinds])
        if table.is_untyped:
            texts += settings.date
        are_numbers = {*kinds, *settings.discrete, *settings.bounds, settings.weights}
        codes = [name for name in names if name not in are_numbers and not words(name) & TIME_WORDS]
        sample = settings.max_rows, settings.split_seed
        as_apart = [*settings.categorical, *settings.ordered]
        columns, rows = read_columns(table, *sample, names, texts, codes, as_apart)
        read = {column.name: column for column in columns}
        as_they_are = {*settings.categorical, *settings.ordered, settings.weights}
        for name, column in read.items():
            gap_marks = settings.na_of(name)
            column = column.without(gap_marks)
            if name in kinds:
                with suppress(ValueError):  # other text, which is refused later
                    column = column.in_kind(kinds[name].alone)
            elif name in settings.date:
                with suppress(ValueError):
                    column = column.in_form(settings.date[name])
            elif name not in as_they_are and not column.order:
                in_numbers = column.in_numbers()
                has_more = (
                    in_numbers.date_format or in_numbers.notation or in_numbers.are_lost_texts.any()
                )
                if table.is_untyped or has_more:  # digits alone that are stored as text are codes
                    column = in_numbers
            read[name] = column.without(gap_marks).in_levels()
        ways = [column.notation for column in read.values() if column.notation is not None]
        if any("(" in way.negative[0] for way in ways):  # then they mean that in all columns
            for name in read.keys() - kinds.keys() - settings.date.keys() - as_they_are:
                in_numbers = read[name].in_numbers(may_be_enclosed=True)
                read[name] = in_numbers if in_numbers.notation else read[name]
        return asked_columns(read.values(), settings), rows

    def groups_of(self, rows: np.ndarray) -> np.ndarray | None:
        """Texts ``(n,)`` of the column that groups rows, if any, at rows of these numbers."""
        return None if self.settings.group is None else self.splitting.texts[rows]

    @cached_property
    def splitting(self) -> Splitting:
        """How the rows are split, with the texts of the column that splits or groups them."""
        settings = self.settings
        column = settings.split or settings.group
        return Splitting(
            settings.split_seed,
            has_tests=settings.test is not None,
            column=column or "",
            are_groups=settings.split is None,
            texts=np.zeros(0) if column is None else text_of(self.table, column),
        )


def texts_in(table: TableFile, kinds: Mapping[str, ColumnKind], names: Sequence[str]) -> list[str]:
    """Columns to be read as text, also if all cells are numbers: levels of text, and in a text file
    dates of a format, and numbers whose separators are no marks of the table.
    """
    untyped = names if table.is_untyped else ()
    ways = {name: kinds[name].notation for name in untyped}
    marked = {name for name, way in ways.items() if way and way.decimal != table.decimal}
    marked |= {name for name in untyped if kinds[name].form is not None}
    return [name for name in names if name in marked or kinds[name].type in ("text", "truth")]

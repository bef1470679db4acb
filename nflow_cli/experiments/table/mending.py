"""What flows cannot take of a table, all of it at once, and the settings that they can."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nflow_cli.config.column_schema import MAX_LEVELS
from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.config.table_schema import TableData
from nflow_cli.data.chosen_rows import listed
from nflow_cli.data.dataset_faults import Fault
from nflow_cli.data.dequantisation import MOST_STEPS, are_multiples
from nflow_cli.data.points import LEAST, atoms_of
from nflow_cli.data.raw_columns import RawColumn, in_memory
from nflow_cli.data.row_checks import atom_text, regular_step
from nflow_cli.data.table_rows import TableRows, load_table
from nflow_cli.data.tables import TableFile, shown
from nflow_cli.errors import ColumnError, DataError


class Mending:
    """Settings of a table that flows cannot take as it is, changed until they can.

    Args:
        settings: What the user says.
        tails: How tails are transformed.
        table: That is fitted.
        columns: All that was read of it.
        rows: Their numbers in the table.
        kinds: Of the columns.
    """

    def __init__(
        self,
        settings: TableData,
        tails: Any,
        table: TableFile,
        columns: Sequence[RawColumn],
        rows: np.ndarray,
        kinds: Mapping[str, ColumnKind],
    ):
        self._said = self.settings = settings
        self.faults = list[Fault]()
        self._tails, self._table, self._kinds = tails, table, kinds
        self._columns = {column.name: column for column in columns}
        self._in_file = {column.name: column for column in table.columns}
        self._memory = in_memory(table, columns, rows)
        self._n = len(rows)

    def run(self) -> TableData | None:
        """Gather what is wrong; return settings that can be trained, if options say them."""
        for name in self._modelled() + self.settings.given:
            self._take(name)
        self._keep_a_number()
        self._drop_missing()
        try:
            while (data := self._loaded()) is None:
                pass
            left = [name for name in data.roles.numbers if self._kinds[name].kind != "left out"]
            if not left:
                raise DataError("no column of numbers is left to model, but row numbers")
            settings = TableData.model_validate(self.settings.model_dump())
            load_table(settings, self._tails, self._table)
        except (DataError, ValueError) as error:  # of settings: no column is left
            self.faults.append(Fault("", self._without_name(error)))
            return None
        return settings

    def _modelled(self) -> list[str]:
        """Return the names of columns that are modelled, as far as settings say."""
        said = self.settings
        aside = {*said.exclude, *said.given, said.split, said.group, said.weights}
        return said.columns or [name for name in self._columns if name not in aside]

    def _take(self, name: str) -> None:
        """Say by which option a column is taken, and what is wrong without."""
        said, kind = self.settings, self._kinds[name]
        is_named = name in said.given or name in (said.columns or ())
        if name in said.categorical or name in said.discrete:
            return
        is_left = kind.kind == "left out" and not is_named
        if self._columns[name].source == "number" and self._in_file[name].is_number:
            if name not in said.given and not is_left:
                self._take_numbers(name, kind)
            return
        problem = self._why_text(name, is_named)
        if kind.kind == "levels" and self._are_levels(name):
            self._say(name, problem, "categorical")
        elif problem:
            self._leave(name, problem)

    def _why_text(self, name: str, is_named: bool) -> str:
        """Return what is wrong with a column that is not of numbers, which is left out, or ""."""
        column = self._in_file[name]
        if column.other_mark:
            return f"holds {shown(column.other_mark)}: another decimal mark than the table's"
        if column.is_number:
            return "holds text below numbers"
        if not is_named:
            return ""
        source = self._columns[name].source
        return "is text" if source in ("text", "truth") else f"is a {source}"

    def _are_levels(self, name: str) -> bool:
        column = self._columns[name]
        codes = column.numbers if column.codes is None else column.codes
        if codes is None:
            return False
        count = len(np.unique(codes[codes >= 0] if column.numbers is None else _finite(codes)))
        is_bounded = name in self.settings.bounds
        return 2 <= count <= min(MAX_LEVELS, len(codes) / 2) and not is_bounded

    def _take_numbers(self, name: str, kind: ColumnKind) -> None:
        numbers = _finite(self._columns[name].numbers)
        atoms = atoms_of(numbers[:, None]) if len(numbers) else []
        problem = atom_text(atoms[0]) if atoms else ""
        step = _step(kind, numbers, bool(atoms))
        if kind.kind == "computed":
            self._leave(name, f"follows from {listed(kind.relation.columns)}")  # pyright: ignore
        elif kind.kind == "levels" and self._are_levels(name):
            self._say(name, problem, "categorical")
        elif step is not None:
            self._say(name, problem, "discrete", step)
        elif problem:
            self._leave(name, problem)

    def _keep_a_number(self) -> None:
        """Take the levels of a column as steps, if there is no column of numbers otherwise."""
        said, steps = self.settings, dict[str, float]()
        for name in self._modelled():
            kind, numbers = self._kinds[name], self._columns[name].numbers
            if numbers is None or not self._in_file[name].is_number or kind.kind == "left out":
                continue
            if name not in said.categorical:
                return
            step = _step(kind, _finite(numbers), has_atoms=True)
            if (
                step is not None
                and name not in self._said.categorical
                and len(np.unique(_finite(numbers))) > 2
            ):
                steps[name] = step
        if not steps:
            return
        name = max(steps, key=lambda name: len(np.unique(_finite(self._columns[name].numbers))))
        said_of = [fault for fault in self.faults if fault.column == name]
        self.faults = [fault for fault in self.faults if fault.column != name]
        self._update(categorical={n: v for n, v in said.categorical.items() if n != name})
        self._say(name, said_of[0].problem if said_of else "", "discrete", steps[name])

    def _say(self, name: str, problem: str, key: str, step: float | None = None) -> None:
        """Name a column in an option, which mends the problem, if there is one."""
        self._update(**{key: {**getattr(self.settings, key), name: step}})
        if problem:
            text = written(name) if step is None else with_step(name, step)
            self.faults.append(Fault(name, problem, f"--{key} {text}"))

    def _leave(self, name: str, problem: str) -> None:
        """Leave out a column for what is wrong with it."""
        said = self.settings
        for key in ("categorical", "discrete", "bounds"):
            values = getattr(said, key)
            self._update(**{key: {other: values[other] for other in values if other != name}})
        mend = f"--exclude {written(name)}"
        if name in said.given:
            mend = "--given without it"
            self._update(given=[other for other in said.given if other != name])
        elif said.columns is not None:
            mend = "--columns without it"
            self._update(columns=[other for other in said.columns if other != name])
        if said.columns is None:
            self._update(exclude=[*said.exclude, name])
        self.faults.append(Fault(name, problem, mend))

    def _update(self, **values: object) -> None:
        self.settings = self.settings.model_copy(update=values)

    def _drop_missing(self) -> None:
        """Drop rows that lack a value, and columns that most of them lack."""
        gaps = self._gaps()
        lacking = np.sum([gap for gap in gaps.values()], axis=0, dtype=int)
        n_lacking = int(np.sum(lacking > 0))
        if not n_lacking:
            return
        counts = ", ".join(f"{name} {gap.sum():,}" for name, gap in gaps.items() if gap.any())
        enough = self._n / 2 if self.settings.missing == "refuse" else LEAST
        if self.settings.missing == "refuse":
            left = f"{self._n - n_lacking:,} remain"
            problem = f"{n_lacking:,} of {self._n:,} rows lack a value ({counts}); {left}"
            self.faults.append(Fault("", problem, "--missing drop"))
            self._update(missing="drop")
        columns = [name for name in self._modelled() if name in gaps]
        while self._n - np.sum(lacking > 0) < enough and columns:
            alone = {name: int((gaps[name] & (lacking == 1)).sum()) for name in columns}
            worst = max(columns, key=lambda name: (alone[name], int(gaps[name].sum())))
            if not gaps[worst].any():
                break
            lacking = lacking - gaps[worst]
            columns.remove(worst)
            left = f"{self._n - np.sum(lacking > 0):,} rows have all values without it"
            self._leave(worst, f"lacks {gaps[worst].sum():,} of {self._n:,} values; {left}")

    def _gaps(self) -> dict[str, np.ndarray]:
        """Return which cells are missing ``(n,)`` of the columns that are used."""
        said, gaps = self.settings, {}
        weights = [said.weights] if said.weights else []
        for name in [*self._modelled(), *said.given, *weights]:
            column = self._columns[name]
            is_number = column.source == "number" and self._in_file[name].is_number
            if not (is_number or name in said.categorical) or self._is_left_out(name):
                continue
            if column.numbers is not None:
                gaps[name] = np.isnan(column.numbers)
            elif column.codes is not None:
                gaps[name] = column.codes < 0
        return gaps

    def _is_left_out(self, name: str) -> bool:
        return self._columns[name].is_index and name not in (self.settings.columns or ())

    def _loaded(self) -> TableRows | None:
        """Return the rows as they would be fitted; ``None``: a column is in the way, and left."""
        try:
            return load_table(self.settings, self._tails, self._memory)
        except ColumnError as error:
            used = self._modelled() + self.settings.given
            names = [name for name in error.columns if name in used]
            if not names:
                raise
            rows = [name for name in names if self._kinds[name].kind == "left out"]
            name = (rows or names)[-1]  # row numbers are no loss
            self._leave(name, self._without_name(error).removeprefix(f"column {name!r} "))
            return None

    def _without_name(self, error: Exception) -> str:
        """Return what an error says of the table, whose name stands above, without a way on."""
        return str(error).removeprefix(f"{self._table.name}: ").partition("; ")[0]


def written(name: str) -> str:
    """Return a column's name as options list it."""
    return name.replace(",", "\\,")


def with_step(name: str, step: float) -> str:
    """Return a column and its step as ``--discrete`` lists them."""
    if step == 1 and ":" not in name:
        return written(name)
    return f"{written(name)}:{str(step).removesuffix('.0')}"


def _finite(numbers: np.ndarray | None) -> np.ndarray:
    return np.empty(0) if numbers is None else numbers[np.isfinite(numbers)]


def _step(kind: ColumnKind, numbers: np.ndarray, has_atoms: bool) -> float | None:
    """Return the step of which numbers are multiples, if they are on a grid, or have atoms.

    The step of atoms that are on no other grid is the last digit that is written.
    """
    steps = [one.step for one in kind.lattices if not one.offset][:1]
    if has_atoms:
        steps += [regular_step(numbers), None if kind.decimals is None else 10.0**-kind.decimals]
    largest = np.abs(numbers).max(initial=0.0)
    for step in filter(None, steps):
        if largest <= MOST_STEPS * step and are_multiples(numbers, step).all():
            return step
    return None

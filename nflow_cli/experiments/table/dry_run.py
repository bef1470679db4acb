"""Dry run of a fit to a table: column kinds, and all errors with their remedies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nflow_cli.config import presets
from nflow_cli.config.forms import escaped
from nflow_cli.config.kinds_schema import ColumnKind
from nflow_cli.config.schema import CellsConfig, FitConfig
from nflow_cli.config.table_schema import TableData, Tails
from nflow_cli.data.dataset import Dataset, kinds_and_faults, load_dataset
from nflow_cli.data.dataset_faults import Fault, FaultsError, expect_names
from nflow_cli.data.raw_columns import RawColumn, read_columns
from nflow_cli.data.table_files import table_named
from nflow_cli.data.tables import TableFile
from nflow_cli.errors import DataError
from nflow_cli.experiments.table.data import tails_of
from nflow_cli.terminal.layout import hanging, table
from nflow_cli.text import command_line

HEADER = ("column", "kind", "type", "step", "values", "atoms", "missing", "bounds", "why")
# Options of the corrected command.
OPTIONS = ("columns", "exclude", "given", "missing", "bounds")
DRY = ("--dry-run", "--json")


@dataclass(frozen=True, eq=False)
class DryRun:
    """Columns of a table, their kinds, and all errors.

    ``settings`` are corrected by options, ``None`` if none do; ``data`` are the rows without
    errors.
    """

    columns: Sequence[RawColumn]
    kinds: Mapping[str, ColumnKind]
    faults: Sequence[Fault]
    settings: TableData | None
    data: Dataset | None = None


def dry_run(config: FitConfig | CellsConfig) -> DryRun:
    """Read a table, and find the kinds of its columns and all errors."""
    said, flows = config.data, tails_of(config)
    opened = table_named(said)
    expect_names(opened, said)
    columns, rows = read_columns(opened, said.max_rows, said.split_seed)
    read = {column.name: column for column in columns}
    kinds, found = kinds_and_faults(opened, read, rows, said, flows)
    if not found:
        try:
            return DryRun(columns, kinds, [], said, load_dataset(said, opened, flows))
        except DataError as error:
            found = _faults_in(error, opened.name)
    return DryRun(columns, kinds, *_mended(said, found, opened, flows))


def _mended(
    said: TableData, found: Sequence[Fault], opened: TableFile, flows: Tails | None
) -> tuple[list[Fault], TableData | None]:
    settings, faults = said, list[Fault]()
    while True:
        faults += found
        if not all(fault.mend for fault in found):
            return faults, None
        settings = settings.model_copy(update=_without(settings, found))
        try:
            load_dataset(TableData.model_validate(settings.model_dump()), opened, flows)
            return faults, settings
        except ValueError:  # no column is left
            return faults, None
        except DataError as error:
            found = _faults_in(error, opened.name)


def _faults_in(error: DataError, name: str) -> list[Fault]:
    problem = str(error).removeprefix(f"{name}: ")
    return error.faults if isinstance(error, FaultsError) else [Fault("", problem)]


def _without(said: TableData, faults: Sequence[Fault]) -> dict[str, Any]:
    ways = [fault.mend.split()[1] for fault in faults if fault.mend.startswith("--missing")]
    update: dict[str, Any] = {"missing": ways[-1]} if ways else {}
    aside = [fault.column for fault in faults if not fault.mend.startswith("--missing")]
    update["given"] = [name for name in said.given if name not in aside]
    update["bounds"] = {name: ends for name, ends in said.bounds.items() if name not in aside}
    if said.columns is not None:
        update["columns"] = [name for name in said.columns if name not in aside]
    else:
        left = [name for name in aside if name not in said.given]
        update["exclude"] = [*said.exclude, *dict.fromkeys(left)]
    return update


def command_of(found: DryRun, before: TableData, argv: Sequence[str]) -> str | None:
    """Corrected command line; ``None`` if no options correct it."""
    if found.settings is None:
        return None
    after = found.settings
    changed = [key for key in OPTIONS if getattr(after, key) != getattr(before, key)]
    words = _words_without(
        [word for word in argv if word not in DRY], [f"--{key}" for key in changed]
    )
    for key in changed:
        words += _option(key, getattr(after, key))
    return command_line(["nflow", *words])


def _words_without(argv: Sequence[str], options: Sequence[str]) -> list[str]:
    words, rest = list[str](), iter(argv)
    for word in rest:
        if word in options:
            next(rest, None)
        elif word.partition("=")[0] not in options:
            words.append(word)
    return words


def _option(key: str, value: Any) -> list[str]:
    if key == "bounds":
        ends = {n: ["" if end is None else repr(end) for end in value[n]] for n in value}
        texts = [f"{escaped(name)}={low}:{high}" for name, (low, high) in ends.items()]
    else:
        texts = [value] if key == "missing" else list(map(escaped, value or ()))
    return [f"--{key}", ",".join(texts)] if texts else []


def lines_of(found: DryRun, config: FitConfig | CellsConfig, command: str | None) -> list[str]:
    """Printed lines of a dry run."""
    rows = [_row(column, found.kinds[column.name]) for column in found.columns]
    said = config.data.model_copy(update={"kinds": None})  # which the table has
    shown = presets.dump(config.model_copy(update={"data": said}))
    lines = [table(HEADER, rows, keys=1), "", shown]
    if found.data is not None:
        parts = ", ".join(
            f"{n:,} {part.removeprefix('n_')}" for part, n in found.data.sizes.items()
        )
        lines += [f"note: {note}" for note in found.data.notes]
        lines.append(f"rows: {parts}")
    for column, problem, mend in found.faults:
        lines.append(hanging(column and f"{column}: ", f"{problem}{mend and ': '}{mend}"))
    if found.faults:
        lines.append(f"try: {command}" if command else "no options correct all of these")
    return lines


def record_of(
    found: DryRun, config: FitConfig | CellsConfig, command: str | None
) -> dict[str, Any]:
    """Dry run as a JSON object."""
    columns = {
        column.name: {
            **found.kinds[column.name].model_dump(mode="json"),
            "missing_share": _missing(column),
            "values": _values(column, found.kinds[column.name]),
        }
        for column in found.columns
    }
    return {
        "columns": columns,
        "config": config.model_dump(mode="json"),
        "faults": [fault._asdict() for fault in found.faults],
        "command": command,
    }


def _row(column: RawColumn, kind: ColumnKind) -> tuple[str, ...]:
    share = _missing(column)
    step = f"{kind.step:.12g}" if kind.step else ""
    if kind.lattice and kind.lattice.offset:
        step += f" + {kind.lattice.offset:.12g}"
    ends = ["" if end is None else f"{end:.12g}" for end in kind.bounds or ()]
    return (
        column.name,
        kind.kind,
        "" if kind.kind == "left out" else kind.type,
        step,
        _values(column, kind),
        str(len(kind.atoms) or ""),
        f"{share:.1%}" if share else "",
        ":".join(ends),
        kind.why,
    )


def _missing(column: RawColumn) -> float | None:
    if column.numbers is not None:
        return float(np.isnan(column.numbers).mean()) if len(column.numbers) else 0.0
    if column.codes is None:
        return None
    return float((column.codes < 0).mean()) if len(column.codes) else 0.0


def _values(column: RawColumn, kind: ColumnKind) -> str:
    if column.numbers is None:
        return "" if column.codes is None else _count(len(column.texts))
    known = column.numbers[~np.isnan(column.numbers)]
    if kind.kind == "levels":
        return _count(len(np.unique(known)))
    if not len(known):
        return ""
    return " to ".join(_end(end, column.source) for end in (known.min(), known.max()))


def _count(levels: int) -> str:
    return f"{levels:,} level{'s' * (levels != 1)}"


def _end(number: float, source: str) -> str:
    if source == "number" or not np.isfinite(number):
        return f"{number:.6g}"
    unit = "D" if source == "date" else "s"
    return str(np.datetime64(round(number), unit))

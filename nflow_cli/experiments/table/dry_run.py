"""Dry run of a fit to a table: column kinds, and all errors with their remedies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nflow_cli.config import presets
from nflow_cli.config.kinds import ColumnKind
from nflow_cli.config.options import escaped
from nflow_cli.config.table import CellsConfig, FitConfig, TableData
from nflow_cli.data.columns import Column
from nflow_cli.data.dataset import Dataset, load_dataset, read_whole
from nflow_cli.data.faults import Fault, FaultsError
from nflow_cli.data.mends import mended
from nflow_cli.data.table_files import table_named
from nflow_cli.errors import DataError
from nflow_cli.experiments.table.data import tails_of
from nflow_cli.terminal.output import hanging, table
from nflow_cli.text import command_line

HEADER = ("column", "kind", "type", "step", "values", "atoms", "missing", "bounds", "why")
# Options of the corrected command.
OPTIONS = ("columns", "exclude", "given", "missing", "bounds", "date", "discrete", "categorical")
DRY = ("--dry-run", "--json")


@dataclass(frozen=True, eq=False)
class DryRun:
    """Columns of a table, their kinds, and all errors.

    ``settings`` are corrected by options, ``None`` if none do; ``data`` are the rows without
    errors.
    """

    columns: Sequence[Column]
    kinds: Mapping[str, ColumnKind]
    faults: Sequence[Fault]
    settings: TableData | None
    data: Dataset | None = None


def dry_run(config: FitConfig | CellsConfig) -> DryRun:
    """Read a table, and find the kinds of its columns and all errors."""
    settings, flows = config.data, tails_of(config)
    opened = table_named(settings)
    whole = read_whole(opened, settings, flows)
    columns = [column.column for column in whole.columns.values()]
    kinds = dict(whole.kinds)
    faults = list[Fault]()
    tried = list[TableData]()
    while True:
        try:
            data = load_dataset(settings, opened, flows, whole)
            for name in data.columns:
                update = {"calendar": data.kinds[name].calendar}
                kinds[name] = kinds[name].model_copy(update=update)
            return DryRun(columns, kinds, faults, settings, None if faults else data)
        except FaultsError as error:
            found = error.faults
        except DataError as error:
            found = [Fault("", str(error).removeprefix(f"{opened.name}: "))]
        faults += found
        mends = [fault.mend for fault in found if fault.mend]
        tried.append(settings)
        try:
            settings = mended(settings, mends) if len(mends) == len(found) else None
        except ValueError:  # no column is left
            settings = None
        if settings is None or settings in tried:  # one mend undoes another
            return DryRun(columns, kinds, faults, None)


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
    elif key == "date":
        texts = [f"{escaped(name)}={escaped(form)}" for name, form in value.items()]
    elif key == "discrete":
        texts = [f"{escaped(name)}:{step:.15g}" for name, step in value.items()]
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
        if isinstance(config, CellsConfig) and config.cells.unmixed is None:
            lines.append("linear components: if likelier, when it is trained")
    for fault in found.faults:
        remedy = f": {fault.mend.option}" if fault.mend else ""
        lines.append(hanging(fault.column and f"{fault.column}: ", f"{fault.problem}{remedy}"))
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
        "faults": [
            {
                "column": fault.column,
                "problem": fault.problem,
                "mend": fault.mend.option if fault.mend else "",
            }
            for fault in found.faults
        ],
        "command": command,
    }


def _row(column: Column, kind: ColumnKind) -> tuple[str, ...]:
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
        kind.why + (f"; inputs: {', '.join(kind.calendar)}" if kind.calendar else ""),
    )


def _missing(column: Column) -> float | None:
    if not column.is_collected:
        return None
    return float(column.gaps.mean()) if len(column.gaps) else 0.0


def _values(column: Column, kind: ColumnKind) -> str:
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

"""Dry run of a fit to a table: column kinds, and all errors with their remedies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nflow_cli.config import presets
from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.declared_rules import Rule
from nflow_cli.config.schema_options import escaped
from nflow_cli.config.table import CellsConfig, FitConfig, TableData
from nflow_cli.data.files.columns import Column
from nflow_cli.data.files.table_files import table_named
from nflow_cli.data.kinds.dataset import Dataset, load_dataset, read_whole
from nflow_cli.data.kinds.faults import Fault, FaultsError
from nflow_cli.data.kinds.mends import mended
from nflow_cli.errors import DataError
from nflow_cli.tables.table_data import tails_of
from nflow_cli.terminal.output import hanging, table
from nflow_cli.text import command_line

HEADER = ("column", "kind", "type", "step", "values", "atoms", "missing", "bounds", "why")
# Options of the corrected command.
OPTIONS = (
    "columns",
    "exclude",
    "given",
    "missing",
    "bounds",
    "date",
    "discrete",
    "ordered",
    "categorical",
)
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
    settings = config.data
    flows = tails_of(config)
    opened = table_named(settings)
    contents = read_whole(opened, settings, flows)
    columns = [column.column for column in contents.requests.values()]
    kinds = dict(contents.kinds)
    faults = list[Fault]()
    tried = list[TableData]()
    while True:
        try:
            data = load_dataset(settings, opened, flows, contents)
            for name in data.columns:
                update = {"calendar": data.kinds[name].calendar}
                kinds[name] = kinds[name].model_copy(update=update)
            return DryRun(columns, kinds, faults, settings, None if faults else data)
        except FaultsError as error:
            new_faults = error.faults
        except DataError as error:
            new_faults = [Fault("", str(error).removeprefix(f"{opened.name}: "))]
        faults += new_faults
        mends = [fault.mend for fault in new_faults if fault.mend]
        tried.append(settings)
        try:
            settings = mended(settings, mends) if len(mends) == len(new_faults) else None
        except ValueError:  # no column is left
            settings = None
        if settings is None or settings in tried:  # one mend undoes another
            return DryRun(columns, kinds, faults, None)


def command_of(result: DryRun, before: TableData, argv: Sequence[str]) -> str | None:
    """Corrected command line; ``None`` if no options correct it."""
    after = result.settings
    if after is None:
        return None
    changed = [key for key in OPTIONS if getattr(after, key) != getattr(before, key)]
    argv = [word for word in argv if word not in DRY]
    words = _words_without(argv, [f"--{key}" for key in changed])
    for key in changed:
        words += _option(key, getattr(after, key))
    return command_line(["nflow", *words])


def _words_without(argv: Sequence[str], options: Sequence[str]) -> list[str]:
    """Words of a command line without some options and their values."""
    words = list[str]()
    remaining = iter(argv)
    for word in remaining:
        if word in options:
            next(remaining, None)
        elif word.partition("=")[0] not in options:
            words.append(word)
    return words


def _option(key: str, value: Any) -> list[str]:
    if key == "ordered":  # of one column each
        pairs = [(escaped(name), ",".join(map(escaped, levels))) for name, levels in value.items()]
        return [word for name, levels in pairs for word in ("--ordered", f"{name}={levels}")]
    if key == "bounds":
        texts = [f"{escaped(name)}={_range(bounds)}" for name, bounds in value.items()]
    elif key == "date":
        texts = [f"{escaped(name)}={escaped(form)}" for name, form in value.items()]
    elif key == "discrete":
        texts = [f"{escaped(name)}:{step:.15g}" for name, step in value.items()]
    elif key == "missing":
        texts = [value]
    else:
        texts = [escaped(name) for name in value or ()]
    return [f"--{key}", ",".join(texts)] if texts else []


def _range(bounds: Sequence[float | None], digits: str = "") -> str:
    """Ends ``LOW:HIGH`` as text; nothing stands for one that is open."""
    return ":".join(_end(end, digits) for end in bounds)


def _end(end: float | None, digits: str) -> str:
    return "" if end is None else format(end, digits)


def lines_of(result: DryRun, config: FitConfig | CellsConfig, command: str | None) -> list[str]:
    """Printed lines of a dry run."""
    rows = [_row(column, result.kinds[column.name]) for column in result.columns]
    data = config.data.model_copy(update={"kinds": None})  # which the table has
    lines = [
        table(HEADER, rows, keys=1),
        "",
        presets.dump(config.model_copy(update={"data": data})),
    ]
    if result.data is not None:
        parts = ", ".join(
            f"{n:,} {part.removeprefix('n_')}" for part, n in result.data.sizes.items()
        )
        lines += [f"note: {note}" for note in result.data.notes]
        lines.append(f"rows: {parts}")
        if isinstance(config, CellsConfig):
            lines += lines_of_rules(config.cells.rules or ())
        if isinstance(config, CellsConfig) and config.cells.unmixed is None:
            lines.append("linear components: if likelier, when it is trained")
    for fault in result.faults:
        remedy = f": {fault.mend.option}" if fault.mend else ""
        lines.append(hanging(fault.column and f"{fault.column}: ", f"{fault.problem}{remedy}"))
    if result.faults:
        lines.append(f"try: {command}" if command else "no options correct all of these")
    return lines


def record_of(
    result: DryRun, config: FitConfig | CellsConfig, command: str | None
) -> dict[str, Any]:
    """Dry run as a JSON object."""
    columns = {
        column.name: {
            **result.kinds[column.name].model_dump(mode="json"),
            "missing_share": _missing_share(column),
            "values": _values(column, result.kinds[column.name]),
        }
        for column in result.columns
    }
    faults = []
    for fault in result.faults:
        mend = fault.mend.option if fault.mend else ""
        faults.append({"column": fault.column, "problem": fault.problem, "mend": mend})
    return {
        "columns": columns,
        "config": config.model_dump(mode="json"),
        "faults": faults,
        "command": command,
    }


def _row(column: Column, kind: ColumnKind) -> tuple[str, ...]:
    share = _missing_share(column)
    missing = f"{share:.1%}" if share else ""
    type_of_cells = "" if kind.kind == "left out" else kind.type
    step = f"{kind.step:.12g}" if kind.step and not kind.is_ordered else ""
    if kind.lattice and kind.lattice.offset:
        step += f" + {kind.lattice.offset:.12g}"
    atoms = "" if kind.is_ordered else str(len(kind.atoms) or "")
    bounds = "" if kind.is_ordered else _range(kind.bounds or (), ".12g")
    why = kind.why
    if kind.calendar:
        why += f"; inputs: {', '.join(kind.calendar)}"
    values = _values(column, kind)
    return column.name, kind.kind, type_of_cells, step, values, atoms, missing, bounds, why


def _missing_share(column: Column) -> float | None:
    if not column.is_collected:
        return None
    return float(column.are_gaps.mean()) if len(column.are_gaps) else 0.0


def _values(column: Column, kind: ColumnKind) -> str:
    if column.numbers is None:
        return "" if column.codes is None else _count(len(column.texts))
    known = column.numbers[~np.isnan(column.numbers)]
    if kind.kind == "levels":
        return _count(len(np.unique(known)))
    if not len(known):
        return ""
    return f"{_value(known.min(), column.cell_type)} to {_value(known.max(), column.cell_type)}"


def _count(levels: int) -> str:
    return f"{levels:,} level{'s' * (levels != 1)}"


def _value(number: float, source: str) -> str:
    if source == "number" or not np.isfinite(number):
        return f"{number:.6g}"
    unit = "D" if source == "date" else "s"
    return str(np.datetime64(round(number), unit))


def lines_of_rules(rules: Sequence[Rule]) -> list[str]:
    """Printed lines of the rules between two columns, without implied ones."""
    return [
        hanging("rule: ", f"{rule.text} ({_counts(rule)})") for rule in rules if not rule.is_implied
    ]


def _counts(rule: Rule) -> str:
    """Numbers of rows that may break a rule and, of a declared one, that do."""
    rows = f"{rule.rows:,} rows"
    return f"declared: {rule.breaks:,} of {rows} break it" if rule.is_declared else rows

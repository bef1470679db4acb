"""Office files read by nflow, pandas and DuckDB, beside what a person reads in them.

Files as spreadsheets and loggers write them (:mod:`benchmarks.office_files`), each defect alone and
in pairs, are read by nflow (`--dry-run`), `pandas.read_csv` with its defaults and DuckDB's
`read_csv_auto`. The same judge for the three:

* right: the names, rows and cells that a person reads, as numbers, dates, times or text;
* refused: an error that names the trouble, or a note that names the column, which is left out or
  left as text, or the code of its gaps;
* wrong: anything else. Numbers or dates left as text in silence are told apart from other cells.
"""

import math
import re
import tempfile
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from benchmarks.office_files import ENCODING, QUOTE, Cell, Sheet, sheets
from benchmarks.runner import Benchmark, Options, Row, markdown

NEW_LEVEL = object()  # a cell whose level is in no training row
DAY = 86_400
TOLERANCE = 1e-9  # of numbers, relative


@dataclass
class Reading:
    """Columns as read (kind and cells), what was said of them, and the error, if any."""

    columns: Mapping[str, tuple[str, Sequence[Any]]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    error: str = ""


class Trouble(NamedTuple):
    """Difference from what a person reads.

    Attributes:
        excuse: Pattern of a note that makes it a refusal; "" if none does.
        is_text: Whether cells are only left as text.
    """

    text: str
    excuse: str = ""
    is_text: bool = False


# Readers


def by_nflow(path: Path) -> Reading:
    from nflow_cli.config.table import CellsConfig
    from nflow_cli.data.files.table_files import open_table
    from nflow_cli.data.kinds.dataset import rows_of
    from nflow_cli.errors import NflowError
    from nflow_cli.tables.dry_run import dry_run

    config = {"command": "fit", "data": {"name": str(path), "missing": "model"}}
    try:
        found = dry_run(CellsConfig.model_validate(config))
        if found.data is None:
            return Reading(error="; ".join(fault.text for fault in found.faults))
        kinds = found.data.kinds
        names = [name for name in found.kinds if kinds[name].kind != "left out"]
        rows = rows_of(open_table(path), kinds, names)  # as new rows are read
    except NflowError as error:
        return Reading(error=str(error))
    if len(rows) != (n := sum(found.data.sizes.values())):
        return Reading(error=f"of {n:,} read again {len(rows):,}")
    columns = {name: of_kind(kinds[name].alone, row) for name, row in zip(names, rows.T)}
    others = {name: ("left out", []) for name in found.kinds}
    return Reading({name: columns.get(name, others[name]) for name in others}, found.data.notes)


def of_kind(kind: Any, numbers: Any) -> tuple[str, list[Any]]:
    """Kind and cells of a column of nflow's rows."""
    cells: list[Any] = [None if math.isnan(x) else float(x) for x in numbers]
    if kind.kind == "levels":
        texts = dict(enumerate(kind.levels))
        cells = [x if x is None else texts.get(x, NEW_LEVEL) for x in cells]
        if kind.type in ("text", "truth"):
            return "text", cells
        cells = [float(x) if isinstance(x, str) else x for x in cells]
    if kind.type == "date":
        return "moments", [x if x is None else DAY * x for x in cells]
    if kind.type == "time":
        return "moments" if kind.form is None or "%Y" in kind.form else "clock", cells
    return "numbers", cells


def by_pandas(path: Path) -> Reading:
    import pandas

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            table = pandas.read_csv(path)
        except Exception as error:
            return Reading(error=f"{type(error).__name__}: {error}")
    if not isinstance(table.index, pandas.RangeIndex):
        table = table.reset_index()
    columns = {str(name): of_arrow(pa.array(table[name], from_pandas=True)) for name in table}
    return Reading(columns, [str(warning.message) for warning in said])


def by_duckdb(path: Path) -> Reading | None:
    if find_spec("duckdb") is None:
        return None
    import duckdb

    try:
        with duckdb.connect() as base:
            table = base.sql("FROM read_csv_auto(?)", params=[str(path)]).to_arrow_table()
    except duckdb.Error as error:
        return Reading(error=f"{type(error).__name__}: {error}")
    return Reading({name: of_arrow(table[name]) for name in table.column_names})


def of_arrow(cells: Any) -> tuple[str, list[Any]]:
    """Kind and cells of a column of Arrow."""
    kind, types = cells.type, pa.types
    if types.is_date(kind) or types.is_timestamp(kind):
        ticks = cells.cast(pa.timestamp("us")).cast(pa.int64()).to_pylist()
        return "moments", [x if x is None else x / 1e6 for x in ticks]
    if types.is_time(kind):
        ticks = cells.cast(pa.time64("us")).cast(pa.int64()).to_pylist()
        return "clock", [x if x is None else x / 1e6 for x in ticks]
    if types.is_boolean(kind):
        return "text", [x if x is None else str(x) for x in cells.to_pylist()]
    if types.is_null(kind) or types.is_integer(kind) or types.is_floating(kind):
        return "numbers", cells.cast(pa.float64()).to_pylist()
    return "text", cells.cast(pa.string()).to_pylist()


READERS: dict[str, Callable[[Path], Reading | None]] = {
    "nflow": by_nflow,
    "pandas": by_pandas,
    "duckdb": by_duckdb,
}


# Judge


def verdict(sheet: Sheet, read: Reading, folder: Path) -> dict[str, Any]:
    """Right, refused or wrong, and why."""
    if read.error:
        error = " ".join(read.error.replace(f"{folder}/", "").split())
        if re.search(sheet.words, error):
            return {"verdict": "refused", "why": error[:300]}
        return {"verdict": "wrong", "why": f"an error without the cause: {error[:300]}"}
    troubles = list(troubles_of(sheet, read))
    why = "; ".join(trouble.text for trouble in troubles[:5])
    left = [trouble for trouble in troubles if not is_said(trouble, read.notes)]
    if left:
        is_text = all(trouble.is_text for trouble in left)
        return {"verdict": "wrong", "why": why, **({"left_as_text": True} if is_text else {})}
    return {"verdict": "refused" if troubles else "right", "why": why}


def is_said(trouble: Trouble, notes: Sequence[str]) -> bool:
    return bool(trouble.excuse) and any(re.search(trouble.excuse, note) for note in notes)


def troubles_of(sheet: Sheet, read: Reading) -> Iterator[Trouble]:
    """Differences from what a person reads."""
    columns = {n: c for n, c in read.columns.items() if not is_empty(sheet, n, c)}
    if sheet.has_row_names and len(columns) == len(sheet.columns) + 1:
        columns.pop(next(iter(columns)))
    expected, received = list(sheet.columns), list(columns)
    if len(expected) != len(received) or (
        sheet.has_names and not all(map(is_name, received, expected))
    ):
        yield Trouble(f"columns {received[:8]} in place of {expected[:8]}")
        return
    sizes = {len(cells) for kind, cells in columns.values() if kind != "left out"}
    if sizes - {sheet.n}:
        yield Trouble(f"{max(sizes):,} rows in place of {sheet.n:,}")
        return
    for name, (kind, cells) in zip(expected, columns.values()):
        if trouble := of_column(sheet, name, kind, cells):
            yield trouble


def is_empty(sheet: Sheet, name: str, column: tuple[str, Sequence[Any]]) -> bool:
    """Whether a column that a person does not see is left out, or holds nothing."""
    return name not in sheet.columns and not any(cell is not None for cell in column[1])


def is_name(received: str, expected: str) -> bool:
    received = unicodedata.normalize("NFC", received.strip())
    base = expected.removesuffix(".1")
    return received == expected or (base != expected and received.startswith(base))


def of_column(sheet: Sheet, name: str, kind: str, cells: Sequence[Any]) -> Trouble | None:
    column = sheet.columns[name]
    noted = rf"^(?!computed).*\b{re.escape(name)}\b"
    if kind == "left out":
        return None if column.is_optional else Trouble(f"{name} is left out", noted)
    if kind != column.kind:
        is_text = kind == "text"
        text = f"{name} is {kind}, not {column.kind}"
        return Trouble(text, noted if is_text or column.kind == "text" else "", is_text)
    if kind == "text":
        is_right = are_levels(column.cells, cells)
        noted = "|".join([noted, *({ENCODING, QUOTE} & {*sheet.troubles})])
        return None if is_right else Trouble(f"levels of {name}: {sorted_of(cells)}", noted)
    if any(are_numbers(column.cells, cells, factor) for factor in column.factors):
        return None
    kept = [column.code if cell is None else cell for cell in column.cells]
    if column.code is not None and are_numbers(kept, cells):
        return Trouble(f"{name} keeps {column.code:g}", f"{name}.*--na|--na.*{name}")
    row = next(i for i, pair in enumerate(zip(column.cells, cells)) if not is_equal(*pair))
    received, expected = cells[row], column.texts[row] if column.texts else column.cells[row]
    return Trouble(f"{name}: {received} in place of {expected}, row {row + 1}")


def are_numbers(expected: Sequence[Cell], received: Sequence[Any], factor: float = 1.0) -> bool:
    scaled = [x if x is None else factor * float(x) for x in expected]
    return all(map(is_equal, scaled, received))


def is_equal(expected: Any, received: Any) -> bool:
    if expected is None or received is None:
        return expected is received
    return received is NEW_LEVEL or math.isclose(expected, received, rel_tol=TOLERANCE)


def are_levels(expected: Sequence[Cell], received: Sequence[Any]) -> bool:
    """Whether each level is one text, up to the form of its letters."""
    pairs = {(bare(x), bare(y)) for x, y in zip(expected, received) if y is not NEW_LEVEL}
    if len({y for _, y in pairs}) != len(pairs) or len({x for x, _ in pairs}) != len(pairs):
        return False
    return all(x == (y and unicodedata.normalize("NFC", y)) for x, y in pairs)


def bare(cell: Any) -> Any:
    """Text without blanks and quotation marks around it."""
    return cell and cell.replace("\r", "").strip(' "')


def sorted_of(cells: Sequence[Any]) -> list[str]:
    return sorted({str(cell) for cell in cells if cell is not NEW_LEVEL})[:6]


# Cases


def measure(case: Row, _: Options) -> Row:
    """Verdicts of the readers on a file; None of one that is not installed."""
    name, found = case["file"], dict[str, Any]()
    sheet = dict(sheets())[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}{sheet.suffix}")
        sheet.save(path)
        for reader, read in READERS.items():
            reading = read(path)
            found[reader] = None if reading is None else verdict(sheet, reading, path.parent)
    return {"rows": sheet.n, **found}


def table(rows: list[Row]) -> str:
    lines = []
    for reader in READERS:
        found = [row[reader] for row in rows if row[reader]]
        counts = Counter(one["verdict"] for one in found)
        texts = sum("left_as_text" in one for one in found)
        lines.append([reader, *(counts[word] for word in ("right", "refused", "wrong")), texts])
    return markdown(["reader", "right", "refused", "wrong", "of these, only left as text"], lines)


BENCHMARKS = [Benchmark("office", [{"file": name} for name, _ in sheets()], measure, table)]

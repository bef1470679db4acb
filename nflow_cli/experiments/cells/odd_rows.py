"""The oddest rows of a table in words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nflow_cli.data.table_files import TableFile
from nflow_cli.data.written_cells import as_written
from nflow_cli.evaluation.oddness import adjusted
from nflow_cli.experiments.cells.surprise import CellSurprise
from nflow_cli.text import printable

if TYPE_CHECKING:
    from nflow_cli.experiments.cells.explaining import Explained

SHOWN = 3  # cells of a row
LETTERS = 40  # of a value
LEAST = -np.log(0.1)  # nats: of a number at an end of its expected range


class OddRow(NamedTuple):
    """A row in words: its number from 1, its p-values and log q, and its most surprising cells."""

    name: str
    head: str
    reasons: list[str]


def odd_rows(
    places: np.ndarray, found: "Explained", table: TableFile, rows: np.ndarray
) -> list[OddRow]:
    """Rows of a table at ``places`` in words."""
    names = [one.column.name for one in found.cells]
    texts, nats, every = _texts(table, names, places), found.nats, adjusted(found.p_largest)
    written = []
    for i in places:
        known = [j for j in np.argsort(-nats[i], kind="stable") if nats[i, j] > LEAST]
        cells = [_sentence(found.cells[j], i, texts[i][j]) for j in known[:SHOWN]]
        by_cell = f"p {found.p_largest[i]:.2g} by cell (adjusted {every[i]:.2g})"
        head = f"{by_cell}, {found.p[i]:.2g} by row, log q {found.log_q[i]:.2f}"
        written.append(
            OddRow(f"row {i + 1:,}", head, cells or ["no cell by itself is odd given all others"])
        )
    return written


def _texts(
    table: TableFile, names: Sequence[str], places: np.ndarray
) -> dict[int, list[str | None]]:
    """Cells of some rows as in the table; ``None`` if missing."""
    texts, first = {}, 0
    for block in table.blocks(names):
        inside = [i for i in places if first <= i < first + block.num_rows]
        for i in inside:
            texts[i] = [_text(block.column(name)[int(i - first)].as_py()) for name in names]
        first += block.num_rows
    return texts


def _text(value: Any) -> str | None:
    if value is None or value != value:
        return None
    text = f"{value:.10g}" if isinstance(value, float) else str(value).strip()
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"


def _sentence(cell: CellSurprise, i: int, own: str | None) -> str:
    low, high = (_written(cell, ends[i]) for ends in (cell.low, cell.high))
    expected = low if low == high else f"{low} to {high}"
    if cell.column.kind.relation is not None:
        expected = f"{low} ({cell.column.kind.relation.text})"
    name, own = printable(cell.column.name), own or "missing"
    return f"{name}: expected {expected}{_percent(cell.share[i])}, is {own}{_percent(cell.own[i])}"


def _written(cell: CellSurprise, value: float) -> str:
    """A value of a column as in the table, a number with its decimals."""
    kind = cell.column.kind
    if np.isnan(value):
        return "missing"
    if kind.kind != "levels" and kind.decimals is not None:
        value = np.round(value, kind.decimals)
    (written,) = as_written(kind, np.array([value]))
    written = getattr(written, "as_py", lambda: float(written))()
    if isinstance(written, float) and kind.decimals is not None:
        return f"{written:.{kind.decimals}f}"
    return _text(written) or "missing"


def _percent(share: float) -> str:
    if np.isnan(share):
        return ""
    percent = 100 * share
    if 0 < percent < 0.01:
        return " (below 0.01 %)"
    return f" ({percent:.0f} %)" if percent >= 10 else f" ({percent:.2g} %)"

"""How far a long work is, on stderr: a bar that leaves room for a note beside it."""

import math
import sys
from typing import Any

DECIMALS = 5  # of a score in nats: as many as tables have


def progress_bar(*columns: Any) -> Any:
    """Return a bar of rich, shown where stderr is a terminal; ``columns`` are what stands beside.

    They are formats of ``task``, or columns of rich. The bar takes the room that they leave.
    ``NO_COLOR`` takes its colours; ``FORCE_COLOR`` makes no terminal of a file, nor of a dumb one
    another, where plain lines are to be written instead.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    console = Console(stderr=True)
    bar = BarColumn(None, table_column=Column(max_width=40))
    beside = [TextColumn(c, markup=False) if isinstance(c, str) else c for c in columns]
    is_shown = sys.stderr.isatty() and console.is_interactive
    return Progress(bar, *beside, console=console, disable=not is_shown)


def nats_text(value: float) -> str:
    """Write a score in nats with four significant digits, where five decimals have as many."""
    if not abs(value) < 1e6:
        return f"{value:.3e}"
    if abs(value) < 0.5 * 10.0**-DECIMALS:
        return f"< {10.0**-DECIMALS:.{DECIMALS}f}"
    decimals = 3 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(max(decimals, 0), DECIMALS)}f}"

"""The table of figures that a training ends with, and that `nflow evaluate` prints."""

from collections.abc import Sequence

from nflow_cli.caveats import Caveat
from nflow_cli.cli.layout import hanging


def laid_out(rows: Sequence[tuple[str, str]], caveats: Sequence[Caveat], least: int = 12) -> str:
    """Lay out rows in two columns, the first of at least so many letters.

    Below them stands what the words beside the figures are short for.
    """
    every = [*rows, *((f"[{caveat.word}]", caveat.reason) for caveat in caveats)]
    width = max(least, *(len(name) for name, _ in every))
    return "\n".join(hanging(f"{name:<{width}} ", value) for name, value in every)

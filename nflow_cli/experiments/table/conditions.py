"""The conditions that draws of a conditional density are asked for."""

import os
from typing import TYPE_CHECKING

import numpy as np

from nflow_cli.data.array_tables import columns_table
from nflow_cli.data.table_files import STDIN, open_table
from nflow_cli.errors import DataError

if TYPE_CHECKING:
    from nflow_cli.experiments.trained import TrainedRows

OPTION = "--given"


def read_conditions(trained: "TrainedRows", text: str | None) -> np.ndarray:
    """Return rows ``(m, C)`` whose given cells are what a text says.

    Args:
        trained: The density.
        text: The path of a table that has the given columns, ``-``, or their values as
            ``a=1,b=two``; ``None`` where nothing is given.

    Raises:
        DataError: In one line: a column is missing, or is not given; a value is no number, or a
            level that is not known.
    """
    if text is None or not trained.roles.given:
        return trained.given_rows(text)
    if text == STDIN or os.path.exists(text) or "=" not in text:
        return trained.rows_given(open_table(text))
    values: dict[str, str | float] = {}
    for pair in text.replace("\\,", "\0").split(","):
        pair = pair.replace("\0", ",")
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or name not in trained.roles.given or name in values:
            raise DataError(
                f"{OPTION}: expected each of {', '.join(trained.roles.given)} once, as NAME=VALUE, "
                f"or a table. Received: {pair!r:.60}"
            )
        is_number = name in trained.roles.given_numbers
        values[name] = _number(name, value) if is_number else value
    missing = [name for name in trained.roles.given if name not in values]
    if missing:
        raise DataError(f"{OPTION}: expected a value of {', '.join(missing)} too")
    return trained.rows_given(columns_table(OPTION, {key: [values[key]] for key in values}))


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"{OPTION}: {name}: expected a finite number. Received: {text!r:.60}")
    return value

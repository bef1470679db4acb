"""Mends: changes of a table's settings that mend its faults."""

import json
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from nflow_cli.config.schema_options import escaped
from nflow_cli.config.table import TableData

LOSING = ("columns", "given")  # keys that lose a column


class Mend(NamedTuple):
    """Change of the settings of a table that mends a fault.

    ``missing`` becomes a value, ``exclude`` gains a column; ``columns`` and ``given`` lose one.
    """

    key: Literal["missing", "exclude", "columns", "given"]
    value: str

    @property
    def option(self) -> str:
        """As of the command line."""
        return options_of([self])


def options_of(mends: Iterable[Mend]) -> str:
    """Options of the command line that make all mends."""
    return " ".join(
        f"--{key} {'without ' * (key in LOSING)}{','.join(map(escaped, values))}"
        for key, values in grouped(dict.fromkeys(mends)).items()
    )


def arguments_of(mends: Iterable[Mend]) -> str:
    """Keyword arguments of Python that make all mends."""
    arguments = []
    for key, values in grouped(dict.fromkeys(mends)).items():
        value = values[-1] if key == "missing" else values
        text = json.dumps(value, ensure_ascii=False)
        arguments.append(f"{key} without {text}" if key in LOSING else f"{key}={text}")
    return ", ".join(arguments)


def grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Values of pairs of key and value, by key."""
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def mended(settings: TableData, mends: Iterable[Mend]) -> TableData:
    """Settings with all mends; a ValueError if no column is left."""
    values = grouped(dict.fromkeys(mends))
    left_out = {name for key in ("exclude", *LOSING) for name in values.get(key, ())}
    update: dict[str, Any] = {"exclude": [*settings.exclude, *values.get("exclude", ())]}
    for key in ("bounds", "date", "discrete", "ordered"):
        of_columns = getattr(settings, key)
        update[key] = {name: value for name, value in of_columns.items() if name not in left_out}
    for key in (*LOSING, "categorical"):
        names = getattr(settings, key)
        update[key] = names and [name for name in names if name not in left_out]
    if "missing" in values:
        update["missing"] = values["missing"][-1]
    return TableData.model_validate(settings.model_copy(update=update).model_dump())

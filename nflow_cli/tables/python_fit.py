"""``nflow_cli.fit``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nflow_cli.config import presets
from nflow_cli.config.presets import Change
from nflow_cli.config.table import changes_of_length_to_null, natural_preset
from nflow_cli.data.files.table_files import IN_PYTHON, table_of
from nflow_cli.deadline import Deadline
from nflow_cli.experiments.python_arguments import (
    changes_of,
    expect_one_length,
    python_words,
    settings_of,
)
from nflow_cli.experiments.running import start
from nflow_cli.registry import POINT_SETS
from nflow_cli.tables.table_data import load


@python_words()
def fit(
    table: Any,
    preset: str | None,
    settings: Mapping[str, Any] | None,
    output: str | Path | None,
    options: Mapping[str, Any],
    pictures: bool = True,
    deadline: Deadline | None = None,
) -> Any:
    """Fit a density to a table: see :func:`nflow_cli.fit`."""
    is_named = isinstance(table, str | Path)
    name = str(table) if is_named else IN_PYTHON
    sized = [] if name in POINT_SETS else [Change("table", "data.size", None)]
    by_options = changes_of("fit", options)
    by_settings = settings_of(settings)
    of_data = Change("data.name", "data.name", name)
    changes = [of_data, *changes_of_length_to_null(by_options), *by_options, *by_settings]
    expect_one_length(deadline, changes)
    flow = {change.path: change.value for change in by_options}.get("flow.pattern")
    path = presets.find_preset(preset or natural_preset(flow, changes))
    config = presets.merged("fit", path, [*sized, *changes])
    data = load(config, None if is_named else table_of(table))
    return start(config, path, output, data, deadline=deadline, pictures=pictures).trained

"""Fits to tables from Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nflow_cli import experiments
from nflow_cli.config import overrides, presets
from nflow_cli.config.presets import Change
from nflow_cli.config.schema import RUNS
from nflow_cli.config.table_schema import natural_preset
from nflow_cli.data.dataset import load_dataset
from nflow_cli.data.named_tables import IN_PYTHON
from nflow_cli.data.table_files import table_of
from nflow_cli.experiments.python_arguments import (
    PATTERN,
    SETTINGS,
    intervals_of,
    list_of,
    mapping_of,
)
from nflow_cli.experiments.python_words import python_words
from nflow_cli.experiments.run import train_anew
from nflow_cli.registry import POINT_SETS


@python_words()
def fit(
    table: Any,
    *,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    bounds: Mapping[str, Sequence[float | None]] | None = None,
    given: Sequence[str] | None = None,
    categorical: Sequence[str] | None = None,
    discrete: Mapping[str, float] | Sequence[str] | None = None,
    weights: str | None = None,
    missing: str | None = None,
    flow: Sequence[Any] | None = None,
    k: int | None = None,
    steps: int | None = None,
    ensemble: int | None = None,
    seed: int | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
) -> Any:
    """Fit a density to the columns of a table, as ``nflow fit`` does.

    Args:
        table: A DataFrame of any make, a mapping of names to arrays ``(n,)``, an array ``(n, D)``
            whose columns are called "1", "2" and so on, the path of a file, or a built-in set.
        columns: Only these; without, all columns.
        exclude: All but these.
        bounds: By column, ``(low, high)``, one of which may be None.
        given: What is known of a row: the density is that of the other columns given these.
        categorical: Columns of numbers that only tell rows apart; not for flows.
        discrete: Columns of whole numbers, or the steps by column whose multiples values are; not
            for flows.
        weights: The column that says how much each row counts, 0 or more.
        missing: ``"model"`` models which values are missing, ``"drop"`` leaves out rows that lack
            one, ``"refuse"`` refuses the table; flows take no ``"model"``.
        flow: The pattern, such as ``["planar", "radial"]``; without, and without ``k``, the density
            is one of cells, which takes columns of all kinds.
        k: How many flows.
        steps: Updates.
        ensemble: Networks or stacks side by side; the density is their mixture.
        seed: Fixes the result bit for bit.
        preset: By its name or path, what all else is taken from; without, ``cells``, or ``flows``
            or ``flows-planar``.
        settings: Other keys of a preset, dotted, and their values.
        output: A new or empty folder for the run; without, one below ``outputs``.

    Returns:
        The density: a :class:`~nflow_cli.experiments.cells.loaded.TrainedCells`, or of flows a
        :class:`~nflow_cli.experiments.trained.TrainedTable`.

    Raises:
        NflowError: In one line, if the table or an option is wrong.
    """
    pattern = list_of("flow", flow, PATTERN)
    options = {
        "data.name": str(table) if isinstance(table, str | Path) else IN_PYTHON,
        "data.columns": list_of("columns", columns),
        "data.exclude": list_of("exclude", exclude),
        "data.bounds": intervals_of("bounds", bounds),
        "data.given": list_of("given", given),
        "data.categorical": list_of("categorical", categorical),
        "data.discrete": _steps(discrete),
        "data.weights": weights,
        "data.missing": missing,
        "flow.pattern": pattern,
        "flow.k": k,
        "train.steps": steps,
        "train.ensemble": ensemble,
        "seed": seed,
        **(mapping_of("settings", settings, SETTINGS) or {}),
    }
    changes = _changes(options)
    if pattern is None and presets.asks_for_flows(changes):
        pattern = []
    path = presets.find_preset(preset or natural_preset(pattern))
    config = _resolved(path, changes)
    return train_anew(config, path, output, _loaded(config, table))


def _loaded(config: Any, table: Any) -> Any:
    if isinstance(table, str | Path):
        return experiments.of(config).data()
    tails = None if config.flow is None else config.units.tails
    return load_dataset(config.data, table_of(table), tails)


def _steps(discrete: Mapping[str, float] | Sequence[str] | None) -> dict[str, float] | None:
    """Return the steps of discrete columns, 1 where none is said."""
    if isinstance(discrete, Mapping):
        return dict(discrete)
    columns = list_of("discrete", discrete)
    return dict.fromkeys(columns, 1.0) if columns else None


def _changes(options: Mapping[str, Any]) -> list[Change]:
    """Return what options change, those that are None left out; only a built-in set has a size."""
    sized = [] if options["data.name"] in POINT_SETS else [Change("table", "data.size", None)]
    return sized + [Change(key, key, value) for key, value in options.items() if value is not None]


def _resolved(preset: Path, changes: Sequence[Change]) -> Any:
    source = presets.preset_label(preset)
    return overrides.resolve(presets.read_preset(preset), source, changes, {"fit": RUNS["fit"]})

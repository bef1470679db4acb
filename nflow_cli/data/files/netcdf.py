"""ArviZ's InferenceData in a netCDF-4 file, read as a table of draws, and written; by xarray."""

import importlib
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from nflow_cli.data.files import tables
from nflow_cli.data.files.array_tables import ArrowTable
from nflow_cli.data.files.tables import LOG_Q, explained
from nflow_cli.errors import DataError, NflowError
from nflow_cli.runs import files
from nflow_cli.text import printable

MAGIC = b"\x89HDF"
POSTERIOR = "posterior"  # groups
STATISTICS = "sample_stats"
CHAIN = "chain"  # dimensions
DRAW = "draw"
CHAINS = 4  # that draws are written in: R-hat and ESS of ArviZ need some
LOG_DENSITIES = ("lp", "log_prob", LOG_Q)  # of the statistics
MAX_BYTES = 4 * 2**30  # of numbers, which are read at once
_ELEMENT = re.compile(r"(.+?)\[([^\[\]]+)\]")  # of an array, with its labels
_ENGINE = "h5netcdf"
_EXPECTED = "ArviZ's InferenceData, a netCDF-4 file with variables of chain and draw in posterior"


class InferenceTable(ArrowTable):
    """Draws of an InferenceData, by chain, then by draw.

    Columns: ``chain`` and ``draw``, the elements of each variable of ``posterior``, labelled as by
    ArviZ, such as ``mu``, ``theta[Choate]`` or ``L[0, 1]``; then ``lp``, ``log_prob`` and ``log_q``
    of ``sample_stats``.
    """

    def __init__(self, name: str, source: Any):
        xarray = _xarray()
        with explained(name, _EXPECTED), ExitStack() as opened:
            groups = xarray.open_groups(source, engine=_ENGINE, decode_times=False)
            for group in groups.values():
                opened.enter_context(group)
            table = _table(name, groups[f"/{POSTERIOR}"], groups.get(f"/{STATISTICS}", {}))
        super().__init__(name, table)
        ignored = {CHAIN, DRAW, *LOG_DENSITIES}
        self.columns = [replace(field, is_index=field.name in ignored) for field in self.columns]


def _table(name: str, draws: Any, statistics: Any) -> pa.Table:
    """Table of draws: chain, draw, and the elements of each variable."""
    known = [*draws.data_vars.values(), *(statistics[v] for v in LOG_DENSITIES if v in statistics)]
    variables = [v.transpose(CHAIN, DRAW, ...) for v in known if {CHAIN, DRAW} <= set(v.dims)]
    ids = [_whole_numbers(draws[dim].values) for dim in (CHAIN, DRAW)]
    shape = len(ids[0]), len(ids[1])
    n = math.prod(shape)
    width = 2 + sum(math.prod(v.shape[2:]) for v in variables)
    if n > tables.MAX_ROWS or width > tables.MAX_COLUMNS or 8 * n * width > MAX_BYTES:
        raise DataError(
            f"{name}: expected at most {tables.MAX_ROWS:,} rows, {tables.MAX_COLUMNS:,} columns "
            f"and {MAX_BYTES:,} bytes of numbers, received {n:,} rows of {width:,} columns"
        )
    columns = [
        (dim, part.ravel()) for dim, part in zip((CHAIN, DRAW), np.meshgrid(*ids, indexing="ij"))
    ]
    for variable in variables:
        if variable.shape[:2] != shape:
            raise ValueError(f"{variable.name} has other chains or draws")
        if variable.dtype.kind not in "fiub":
            raise ValueError(f"{variable.name} holds {variable.dtype}, not numbers")
        axes = [map(str, variable[dim].values) for dim in variable.dims[2:]]
        names = [variable.name]
        if axes:
            names = [f"{variable.name}[{', '.join(labels)}]" for labels in itertools.product(*axes)]
        columns += zip(names, variable.values.reshape(n, -1).T)
    return pa.table([pa.array(part) for _, part in columns], [column for column, _ in columns])


def _whole_numbers(ids: np.ndarray) -> np.ndarray:
    """Identifiers ``(n,)``; their places if they are no whole numbers."""
    return ids if ids.dtype.kind in "iu" else np.arange(len(ids))


def inference_groups(
    columns: Sequence[str],
    statistics: Sequence[str],
    rows: np.ndarray,
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    """Groups of an InferenceData, as xarray's datasets, of four chains, or of one where n is no
    multiple of four.

    Args:
        columns: D names. Elements of an array, such as ``theta[0]`` or ``L[a, b]``, are together
            one variable of ``posterior``, with a coordinate of each dimension ``theta_dim_0``.
        statistics: Variables of ``sample_stats``, S names.
        rows: Independent draws ``(n, D + S)``.
        attributes: Text and numbers, of both groups.
    """
    arrays = _arrays_of(columns)
    for name in arrays:
        if "/" in name or name in (CHAIN, DRAW, "."):
            raise NflowError(
                f"expected names without / other than {CHAIN}, {DRAW} in a netCDF file. "
                f"Received: {printable(name)!r:.60}"
            )
    xarray = _xarray()
    n_chains = 1 if len(rows) % CHAINS else CHAINS
    draws = rows.astype(np.float64).reshape(n_chains, len(rows) // n_chains, -1)

    def dataset(parts: Mapping[str, _Array]) -> Any:
        variables = {}
        coordinates = {CHAIN: np.arange(n_chains), DRAW: np.arange(draws.shape[1])}
        for name, (places, labels) in parts.items():
            axes = dict(zip(_dimensions(name, len(labels)), labels))
            coordinates |= axes
            variables[name] = ((CHAIN, DRAW, *axes), draws[..., places])
        return xarray.Dataset(variables, coordinates, attributes)

    last = enumerate(statistics, start=len(columns))
    return {
        POSTERIOR: dataset(arrays),
        STATISTICS: dataset({name: _Array(np.array(i), []) for i, name in last}),
    }


class _Array(NamedTuple):
    """Columns of an array's elements, and the labels of each axis."""

    places: np.ndarray
    labels: Sequence[np.ndarray]


def _arrays_of(columns: Sequence[str]) -> dict[str, _Array]:
    """Arrays by name, in the order of their first elements; any other column has no axes."""
    elements = defaultdict[str, dict[tuple[str, ...], int]](dict)
    for i, column in enumerate(columns):
        if match := _ELEMENT.fullmatch(column):
            elements[match[1]][tuple(match[2].split(", "))] = i
    taken = {*columns, *elements}
    with_axes = dict[int, tuple[str, _Array]]()  # by the places of their columns
    for name, places in elements.items():
        array = _array(places)
        if (
            array is not None
            and name not in (*columns, CHAIN, DRAW)
            and taken.isdisjoint(_dimensions(name, len(array.labels)))
        ):
            with_axes |= dict.fromkeys(places.values(), (name, array))
    arrays = {}
    for i, column in enumerate(columns):
        name, array = with_axes.get(i, (column, _Array(np.array(i), [])))
        arrays[name] = array
    return arrays


def _array(elements: Mapping[tuple[str, ...], int]) -> _Array | None:
    """Array of all combinations of the labels of its axes; ``None`` if some are lacking."""
    if len({*map(len, elements)}) > 1:
        return None
    axes = [[*dict.fromkeys(labels)] for labels in zip(*elements)]
    combinations = [*itertools.product(*axes)]
    if len(combinations) > len(elements):
        return None
    places = np.array([elements[labels] for labels in combinations])
    return _Array(places.reshape([*map(len, axes)]), [*map(_coordinate, axes)])


def _coordinate(labels: Sequence[str]) -> np.ndarray:
    numbers = [int(label) for label in labels if label.isdecimal()]
    return np.array(numbers if [*map(str, numbers)] == [*labels] else labels)


def _dimensions(name: str, count: int) -> list[str]:
    """Dimensions of an array, as ArviZ calls those without a name."""
    return [f"{name}_dim_{axis}" for axis in range(count)]


def write_inference(path: Path, groups: Mapping[str, Any]) -> None:
    """Write the groups of an InferenceData, atomically."""
    with files.replaced(files.followed(path)) as temporary:
        _xarray().DataTree.from_dict(groups).to_netcdf(temporary, engine=_ENGINE)


def _xarray() -> Any:
    try:
        importlib.import_module(_ENGINE)
        return importlib.import_module("xarray")
    except ImportError as error:
        raise NflowError(
            f"a .nc file needs {error.name}; install it in nflow's checkout with: "
            "pip install '.[arviz]'"
        ) from None

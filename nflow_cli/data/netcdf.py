"""ArviZ's InferenceData in a netCDF-4 file, read as a table of draws, and written; by xarray."""

import importlib
import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nflow_cli.data import tables
from nflow_cli.data.array_tables import ArrowTable
from nflow_cli.data.tables import LOG_Q, explained
from nflow_cli.errors import DataError, NflowError
from nflow_cli.runs import files
from nflow_cli.text import printable

MAGIC = b"\x89HDF"
POSTERIOR, STATISTICS = "posterior", "sample_stats"  # groups
CHAIN, DRAW = "chain", "draw"  # dimensions
LOG_DENSITIES = ("lp", "log_prob", LOG_Q)  # of the statistics
MAX_BYTES = 4 * 2**30  # of numbers, which are read at once
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
        self.columns = [replace(one, is_index=one.name in ignored) for one in self.columns]


def _table(name: str, draws: Any, statistics: Any) -> pa.Table:
    known = [*draws.data_vars.values(), *(statistics[v] for v in LOG_DENSITIES if v in statistics)]
    variables = [v.transpose(CHAIN, DRAW, ...) for v in known if {CHAIN, DRAW} <= set(v.dims)]
    ids = [draws[dim].values for dim in (CHAIN, DRAW)]
    ids = [v if v.dtype.kind in "iu" else np.arange(len(v)) for v in ids]
    shape = len(ids[0]), len(ids[1])
    n, width = math.prod(shape), 2 + sum(math.prod(v.shape[2:]) for v in variables)
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
        labels = itertools.product(*(map(str, variable[dim].values) for dim in variable.dims[2:]))
        elements = (f"[{', '.join(some)}]" if some else "" for some in labels)
        names = [f"{variable.name}{element}" for element in elements]
        columns += zip(names, variable.values.reshape(n, -1).T)
    return pa.table([pa.array(part) for _, part in columns], [column for column, _ in columns])


def inference_groups(
    columns: Sequence[str],
    statistics: Sequence[str],
    rows: np.ndarray,
    attributes: Mapping[str, Any],
) -> dict[str, Any]:
    """Groups of an InferenceData of one chain, as xarray's datasets.

    Args:
        columns: Variables of ``posterior``, D names.
        statistics: Variables of ``sample_stats``, S names.
        rows: Draws ``(n, D + S)``.
        attributes: Text and numbers, of both groups.
    """
    for name in columns:
        if "/" in name or name in (CHAIN, DRAW, "."):
            raise NflowError(
                f"expected names without / other than {CHAIN}, {DRAW} in a netCDF file. "
                f"Received: {printable(name)!r:.60}"
            )
    xarray, coordinates = _xarray(), {CHAIN: [0], DRAW: np.arange(len(rows))}

    def dataset(names: Sequence[str], parts: np.ndarray) -> Any:
        variables = {name: ((CHAIN, DRAW), part[None]) for name, part in zip(names, parts)}
        return xarray.Dataset(variables, coordinates, attributes)

    parts = rows.T.astype(np.float64)
    return {
        POSTERIOR: dataset(columns, parts[: len(columns)]),
        STATISTICS: dataset(statistics, parts[len(columns) :]),
    }


def write_inference(path: Path, groups: Mapping[str, Any]) -> None:
    """Write the groups of an InferenceData, atomically."""
    with files.replaced(path) as temporary:
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

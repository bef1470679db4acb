"""ArviZ's InferenceData in a netCDF-4 file, as a table of draws.

Read with h5py. Links, external and virtual storage are refused.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nflow_cli.data import tables
from nflow_cli.data.array_tables import explained
from nflow_cli.data.tables import BLOCK_ROWS, LOG_Q, Field, TableFile, expect_names
from nflow_cli.errors import DataError

if TYPE_CHECKING:
    import h5py
    import pyarrow as pa

MAGIC = b"\x89HDF"
POSTERIOR, STATISTICS = "posterior", "sample_stats"  # groups
CHAIN, DRAW = "chain", "draw"  # dimensions
LOG_DENSITIES = ("lp", "log_prob", LOG_Q)  # of the statistics
MAX_BYTES = 8 * 2**30  # of numbers
MAX_LABEL = 1_000  # letters
_NUMBERS = 2**22  # at a time
_ROOM = 2**26  # bytes of a chunk beyond those of its variable
_EXPECTED = "ArviZ's InferenceData, a netCDF-4 file with variables of chain and draw in posterior"
_UNNAMED = "This is a netCDF dimension but not a netCDF variable"


class _Variable(NamedTuple):
    """Variable of draws: path, dimensions of chain and draw, its columns, and if truth values."""

    path: str
    axes: tuple[int, int]
    columns: list[str]
    is_truth: bool


class InferenceTable(TableFile):
    """Draws of an InferenceData, by chain, then by draw.

    Columns: ``chain`` and ``draw``, the elements of each variable of ``posterior``, labelled as by
    ArviZ, such as ``mu``, ``theta[Choate]`` or ``L[0, 1]``; then ``lp``, ``log_prob`` and ``log_q``
    of ``sample_stats``.
    """

    def __init__(self, name: str, source: Any):
        self.name, self._source = name, source
        with self._opened() as file:
            found = [*_variables(file, POSTERIOR)]
            if not found:
                raise ValueError("no variable of chain and draw")
            found += _variables(file, STATISTICS, LOG_DENSITIES)
            shapes = [_draws(file[variable.path].shape, variable.axes) for variable in found]
            for variable, shape in zip(found, shapes):
                if shape != shapes[0]:
                    raise ValueError(f"{variable.path} has other chains or draws")
            names = [CHAIN, DRAW, *(column for v in found for column in v.columns)]
            self._expect_room(math.prod(shapes[0]), len(names))
            scales = _draws(_scales(file[found[0].path]), found[0].axes)
            self._numbers = [_numbers(scale, n) for scale, n in zip(scales, shapes[0])]
        self._found, self._shape = found, shapes[0]
        ignored = {CHAIN, DRAW, *LOG_DENSITIES}
        columns = [Field(column, column in ignored) for column in expect_names(name, names)]
        super().__init__(name, columns, math.prod(shapes[0]))

    def blocks(self, names: Sequence[str]) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa

        chains, draws = self._shape
        rows = max(1, min(BLOCK_ROWS, _NUMBERS // len(self.columns)))
        wanted = [v for v in self._found if not set(names).isdisjoint(v.columns)]
        with self._opened() as file:
            for chain in range(chains):
                for first in range(0, draws, rows):
                    part = slice(first, min(first + rows, draws))
                    values = {DRAW: self._numbers[1][part]}
                    values[CHAIN] = np.full(len(values[DRAW]), self._numbers[0][chain])
                    for v in wanted:
                        values |= zip(v.columns, _slab(file[v.path], v, chain, part))
                    arrays = [pa.array(np.ascontiguousarray(values[name])) for name in names]
                    yield pa.RecordBatch.from_arrays(arrays, list(names))

    @contextmanager
    def _opened(self) -> Iterator["h5py.File"]:
        import h5py

        with explained(self.name, _EXPECTED), h5py.File(self._source, "r") as file:
            yield file

    def _expect_room(self, n: int, width: int) -> None:
        if n > tables.MAX_ROWS:
            raise self.too_many(tables.MAX_ROWS, f"{n:,}")
        if 8 * n * width > MAX_BYTES:
            raise DataError(
                f"{self.name}: expected at most {MAX_BYTES:,} bytes of numbers, received "
                f"{n:,} rows of {width:,} columns"
            )


def _members(file: "h5py.File", group: str, known: Sequence[str]) -> Mapping[str, Any]:
    """Datasets of a group by name: those ``known``, or all in the order of their creation."""
    import h5py

    held = _held(file, group)
    if held is None:
        return {}
    if not isinstance(held, h5py.Group):
        raise ValueError(f"{group} is no group")
    if len(held) > 2 * tables.MAX_COLUMNS:
        raise ValueError(f"{group} has {len(held):,} variables")
    items = {name: _held(held, name) for name in known or held}
    return {name: item for name, item in items.items() if isinstance(item, h5py.Dataset)}


def _held(group: Any, name: str) -> Any:
    """Member of a group in the file itself; ``None`` without one."""
    import h5py

    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"{name} is a link")
    return group[name]


def _variables(file: "h5py.File", group: str, known: Sequence[str] = ()) -> Iterator[_Variable]:
    count = 2
    for name, dataset in _members(file, group, known).items():
        scales = _scales(dataset)
        dims = ["" if scale is None else scale.name.rpartition("/")[2] for scale in scales]
        if not {CHAIN, DRAW} <= set(dims):
            continue
        _expect_numbers(dataset)
        axes = dims.index(CHAIN), dims.index(DRAW)
        others = [i for i in range(len(dims)) if i not in axes]
        count += math.prod(dataset.shape[i] for i in others)
        if count > tables.MAX_COLUMNS:
            raise ValueError(f"more than {tables.MAX_COLUMNS:,} columns")
        labels = [_labels(scales[i], dataset.shape[i]) for i in others]
        is_truth = dataset.dtype.kind == "b" or dataset.attrs.get("dtype") in ("bool", b"bool")
        yield _Variable(f"{group}/{name}", axes, _elements(name, labels), is_truth)


def _expect_numbers(dataset: "h5py.Dataset") -> None:
    """Check that a variable is numbers of this file, not packed."""
    _expect_here(dataset)
    if dataset.dtype.kind not in "fiub":
        raise ValueError(f"{dataset.name} holds {dataset.dtype}, not numbers")
    if not {"scale_factor", "add_offset"}.isdisjoint(dataset.attrs):
        raise ValueError(f"{dataset.name} is packed by scale_factor or add_offset")


def _expect_here(dataset: "h5py.Dataset") -> None:
    """Check that an array is stored in this file, in chunks no larger than it."""
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{dataset.name} is stored outside of the file")
    size = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    if size > dataset.nbytes + _ROOM:
        raise ValueError(f"{dataset.name} has chunks of {size:,} bytes")


def _scales(dataset: "h5py.Dataset") -> list[Any]:
    """Dimension scales of the axes; ``None`` without one."""
    listed = dataset.attrs.get("DIMENSION_LIST", [])
    found = [dataset.file[references[0]] if len(references) else None for references in listed]
    return found if len(found) == dataset.ndim else [None] * dataset.ndim


def _elements(name: str, labels: Sequence[Sequence[str]]) -> list[str]:
    """Names of a variable's elements, in the order of their storage."""
    texts = [""]
    for some in labels:
        texts = [f"{text}, {label}" if text else label for text in texts for label in some]
    return [f"{name}[{text}]" for text in texts] if labels else [name]


def _labels(scale: Any, n: int) -> list[str]:
    """Labels of an axis: the values of its coordinate, text or numbers, else positions."""
    import h5py

    is_text = h5py.check_string_dtype(scale.dtype) is not None
    if not _is_coordinate(scale, n) or not (is_text or scale.dtype.kind in "iuf"):
        return [str(i) for i in range(n)]
    if not is_text:
        return [f"{value}" for value in scale[...]]
    texts = []
    for i in range(n):  # one at a time: each may be the same large text
        texts.append(scale.asstr()[i])
        if len(texts[-1]) > MAX_LABEL:
            raise ValueError(f"{scale.name} has a label of more than {MAX_LABEL:,} letters")
    return texts


def _numbers(scale: Any, n: int) -> np.ndarray:
    """Numbers ``(n,)`` of the chains or draws."""
    if not _is_coordinate(scale, n) or scale.dtype.kind not in "iu":
        return np.arange(n)
    return scale[...].astype(np.int64)


def _is_coordinate(scale: Any, n: int) -> bool:
    """Whether a dimension of ``n`` has values."""
    _expect_here(scale)
    return scale.shape == (n,) and _UNNAMED not in str(scale.attrs.get("NAME"))


def _draws(parts: Any, axes: tuple[int, int]) -> tuple[Any, Any]:
    """Parts of a sequence for chain and draw."""
    return parts[axes[0]], parts[axes[1]]


def _slab(dataset: "h5py.Dataset", variable: _Variable, chain: int, draws: slice) -> np.ndarray:
    """Elements ``(m, n)`` of some draws of a chain; NaN where missing."""
    place: list[Any] = [slice(None)] * dataset.ndim
    place[variable.axes[0]], place[variable.axes[1]] = slice(chain, chain + 1), draws
    values = np.moveaxis(dataset[tuple(place)], variable.axes, (0, 1))
    values = values.reshape(values.shape[1], -1).T
    if variable.is_truth:
        return values != 0
    is_usual = values.dtype.kind != "f" or values.itemsize in (4, 8)
    values = values.astype(values.dtype.newbyteorder("=") if is_usual else np.float64)
    fill = np.ravel(dataset.attrs.get("_FillValue", np.nan))[:1]
    return np.where(values == fill, np.nan, values) if (fill == fill).all() else values

"""``weights.npz``: named arrays, saved, fingerprinted and loaded by their shapes."""

import hashlib
import io
import zipfile
from collections.abc import Mapping

import numpy as np

from nflow_cli.errors import RunDirectoryError
from nflow_cli.runs import npz
from nflow_cli.runs.directory import WEIGHTS, RunDirectory

Shape = tuple[int, ...]
MAX_FREE = 2**17  # length of an axis that the config does not fix: -1 in a shape
HEADERS = 2**16  # bytes of a file beside its arrays


def save_weights(run: RunDirectory, arrays: Mapping[str, np.ndarray]) -> str:
    """Write ``weights.npz``; return the SHA-256 of its arrays."""
    run.write_arrays(WEIGHTS, arrays)
    return sha256_of(arrays)


def sha256_of(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays: by name, their shapes, types and bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        digest.update(repr((name, value.shape, value.dtype.name)).encode())
        digest.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def load_weights(run: RunDirectory, shapes: Mapping[str, Shape]) -> dict[str, np.ndarray]:
    """Load finite arrays of these shapes from ``weights.npz``; nothing larger is unpacked."""

    def check(key: str, shape: Shape, dtype: np.dtype) -> None:
        expected = shapes[key]
        fits = len(shape) == len(expected) and all(
            received == length or (length < 0 and 0 <= received <= MAX_FREE)
            for received, length in zip(shape, expected)
        )
        if not fits or dtype not in (np.float32, np.float64):
            raise npz.ArrayError(f"{key}: expected {expected}, received {shape} of {dtype}")

    path = run.path / WEIGHTS
    most = HEADERS * (1 + len(shapes))
    for shape in shapes.values():
        lengths = np.where(np.array(shape, int) < 0, MAX_FREE, shape)
        most += 8 * int(np.prod(lengths))
    content = run.read(WEIGHTS, most)
    with run.damaged_arrays(WEIGHTS), zipfile.ZipFile(io.BytesIO(content)) as archive:
        arrays = npz.read_arrays(archive, list(shapes), check)
    lost = sum(int((~np.isfinite(array)).sum()) for array in arrays.values())
    if lost:
        raise RunDirectoryError(
            f"{path}: {lost:,} of its numbers are not finite; train again with a smaller "
            "learning rate"
        )
    return arrays

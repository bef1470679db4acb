"""``model.keras``: saved, fingerprinted, and loaded without running code from it."""

import hashlib
import io
import json
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import ops

from nflow_cli.constants import RUN
from nflow_cli.errors import RunDirectoryError, one_line
from nflow_cli.runs.directory import MODEL, RunDirectory

DESCRIPTION = "config.json"  # inside the file, as are the weights
WEIGHTS = "model.weights.h5"
MEMBERS = (DESCRIPTION, "metadata.json", WEIGHTS)
MAX_DESCRIPTION = 2**20  # bytes of each but the weights
OVERHEAD = 2**14  # bytes that HDF5 adds to the weights, and to each of them, at most


def save_model(run: RunDirectory, model: Any) -> str:
    """Write ``model.keras``; return :func:`weights_sha256`."""
    run.write(MODEL, lambda file: keras.saving.save_model(model, file.name))
    return weights_sha256(model)


def weights_sha256(model: Any) -> str:
    """SHA-256 of the shapes, types and bytes of the weights, however the file is packed."""
    digest = hashlib.sha256()
    for weight in model.weights:
        value = ops.convert_to_numpy(weight.value)
        digest.update(repr((value.shape, value.dtype.name)).encode())
        digest.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def load_weights(
    run: RunDirectory, model: Any, arguments: Mapping[str, Any], dim: int | None = None
) -> None:
    """Load the weights of ``model``, which is built, from ``model.keras``.

    The file must hold exactly weights of ``model``'s shapes, all finite. No class that it names is
    built, and nothing larger than expected is unpacked. ``arguments`` of the constructor decide the
    shapes; ``dim`` is D, if fixed.
    """
    path = run.path / MODEL
    if not run.has(MODEL):
        status = run.read_json(RUN).get("status")
        raise RunDirectoryError(f"{path}: missing; the run has no model yet (status: {status})")
    content = run.read(MODEL, most_bytes(model) + 3 * MAX_DESCRIPTION)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(archive, model)
            described = json.loads(archive.read(DESCRIPTION))
            _check_description(path, described, model, arguments)
            _check_dimension(described, dim)
            with archive.open(WEIGHTS) as member, h5py.File(member) as weights:
                _check_weights(weights, model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras's about weights that do not fit
            keras.saving.load_weights(model, path)
    except RunDirectoryError:
        raise
    except Exception as error:  # zipfile, h5py and Keras raise different ones
        raise _not_ours(path, error) from None
    _check_finite(path, model)


def most_bytes(model: Any) -> int:
    """Bytes of a file of the weights of ``model``, at most."""
    sizes = [math.prod(w.shape) * np.dtype(w.dtype).itemsize for w in model.weights]
    return sum(sizes) + OVERHEAD * (1 + len(sizes))


def _check_members(archive: zipfile.ZipFile, model: Any) -> None:
    """Only the files that Keras writes, uncompressed, none too large."""
    largest = {**dict.fromkeys(MEMBERS, MAX_DESCRIPTION), WEIGHTS: most_bytes(model)}
    received = archive.infolist()
    if sorted(info.filename for info in received) != sorted(MEMBERS):
        raise ValueError(f"its files are not {', '.join(MEMBERS)}")
    for info in received:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > largest[info.filename]:
            raise ValueError(f"its {info.filename} is too large, or compressed")


def _check_weights(file: h5py.File, model: Any) -> None:
    received = sorted((array.shape, array.dtype.name) for array in _arrays(file, set()))
    expected = sorted((tuple(weight.shape), weight.dtype) for weight in model.weights)
    if received != expected:
        raise ValueError("its weights have other shapes")


def _arrays(group: h5py.Group, addresses: set[int]) -> Iterator[h5py.Dataset]:
    """Arrays below a group: each once, in this file, and fully written.

    A link can lead to another file or back; a compressed or unwritten array can be of any size in a
    small file.
    """
    for name in group:
        place = f"{group.name}/{name}".replace("//", "/")
        is_here = isinstance(group.get(name, getlink=True), h5py.HardLink)
        item: Any = group[name] if is_here else None
        if not isinstance(item, h5py.Group | h5py.Dataset):
            raise ValueError(f"its {place} is a link")
        address = h5py.h5o.get_info(item.id).addr
        if address in addresses:
            raise ValueError(f"its {place} occurs twice")
        addresses.add(address)
        if isinstance(item, h5py.Group):
            yield from _arrays(item, addresses)
        elif item.id.get_offset() is None:
            raise ValueError(f"its {place} is compressed, or was never written")
        else:
            yield item


def _check_description(path: Path, described: Any, model: Any, expected: Mapping[str, Any]) -> None:
    arguments = dict(described["config"])
    received = described["registered_name"] or described["class_name"]
    dtype = arguments["dtype"]
    if isinstance(dtype, dict):
        arguments["dtype"] = dtype["config"]["name"]
    name = type(model).__name__
    if received != f"nflow_cli>{name}":
        raise RunDirectoryError(f"{path}: expected a {name} of nflow, received {received!r:.60}")
    for key, value in {**expected, "dtype": model.dtype_policy.name}.items():
        if arguments.get(key) != value:
            raise RunDirectoryError(
                f"{path}: not the model of its config.yaml: {key}: expected {value}, received "
                f"{arguments.get(key)!r:.60}"
            )


def _check_dimension(described: Any, dim: int | None) -> None:
    built_for = (described.get("build_config") or {}).get("input_shape", [dim])
    if dim is not None and built_for[-1] != dim:
        raise ValueError(f"built for points of {built_for[-1]!r} dimensions, not of {dim}")


def _check_finite(path: Path, model: Any) -> None:
    lost = sum(int(np.sum(~np.isfinite(weight))) for weight in model.get_weights())
    if lost:
        raise RunDirectoryError(
            f"{path}: {lost:,} of its {model.count_params():,} weights are not finite; "
            "train again with a smaller learning rate"
        )


def _not_ours(path: Path, error: Exception) -> RunDirectoryError:
    expected = f"expected the model that nflow saved ({one_line(error):.120})"
    return RunDirectoryError(f"{path}: damaged: {expected}")

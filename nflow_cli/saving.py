"""``model.keras``: written, read back without running code from it, and fingerprinted."""

import hashlib
import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from keras import ops

from nflow_cli.errors import RunDirectoryError
from nflow_cli.registry import resolve
from nflow_cli.run_dir import MODEL, RUN, RunDirectory

# What each command saves. A place, not a class: a 2-D fit needs nothing of the VAE.
PLACES = {"fit-2d": "nflow_cli.flows.stack:FlowStack", "train-vae": "nflow_cli.vae:FlowVAE"}
MAX_DESCRIPTION = 2**20  # bytes of config.json inside the file
DIM = 2  # of the points of a 2-D fit


def save_model(run: RunDirectory, model: Any) -> str:
    """Write ``model`` as ``model.keras``; return :func:`weights_sha256` of it."""
    run.write_model(lambda path: keras.saving.save_model(model, path))
    return weights_sha256(model)


def weights_sha256(model: Any) -> str:
    """Return the SHA-256 of the weights: in order, their shapes, types and bytes.

    Equal weights give an equal figure however the file around them was packed.
    """
    digest = hashlib.sha256()
    for weight in model.weights:
        value = ops.convert_to_numpy(weight.value)
        digest.update(repr((value.shape, value.dtype.name)).encode())
        digest.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def load_model(run: RunDirectory, config: Any) -> Any:
    """Read the model that ``config`` describes: a ``FlowStack``, or a ``FlowVAE``.

    What the file says it holds is compared with ``config`` first, so that no class but nflow's own
    is built, and none of another size; Keras then reads it in its safe mode.

    Raises:
        RunDirectoryError: If the file is missing, damaged, or another model's.
    """
    path = run.path / MODEL
    if not run.has(MODEL):
        status = run.read_json(RUN).get("status")
        raise RunDirectoryError(f"{path}: missing; the run has no model yet (status: {status})")
    place = PLACES[config.command]
    _check_description(path, place.partition(":")[2], expected_arguments(config))
    resolve(place)  # importing it registers it with Keras
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras's about a file whose weights do not fit
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # zipfile, h5py and Keras each have their own
        raise _not_ours(path, error) from None


def expected_arguments(config: Any) -> dict[str, Any]:
    """Return the constructor's arguments that decide the shapes of the weights."""
    flow = {"pattern": config.flow.pattern, "k": config.flow.k}
    if config.command == "fit-2d":
        return flow
    model = config.model.model_dump(include={"latent_dim", "network", "hidden"})
    return {**flow, **model, "amortized": config.flow.amortized}


def _check_description(path: Path, name: str, expected: Mapping[str, Any]) -> None:
    """Compare what the file says it holds with what it should."""
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo("config.json")
            if member.file_size > MAX_DESCRIPTION:
                raise ValueError("its config.json is too long")
            described = json.loads(archive.read(member))
        arguments = dict(described["config"])
        received = described["registered_name"] or described["class_name"]
        built_for = (described.get("build_config") or {}).get("input_shape", [DIM])
        if built_for[-1] != DIM:
            raise ValueError(f"built for points of {built_for[-1]!r} dimensions, not of {DIM}")
    except Exception as error:  # zipfile and zlib each have their own
        raise _not_ours(path, error) from None
    if received != f"nflow_cli>{name}":
        raise RunDirectoryError(f"{path}: expected a {name} of nflow, received {received!r:.60}")
    for key, value in expected.items():
        if arguments.get(key) != value:
            raise RunDirectoryError(
                f"{path}: not the model of its config.yaml: {key}: expected {value}, received "
                f"{arguments.get(key)!r:.60}"
            )


def _not_ours(path: Path, error: Exception) -> RunDirectoryError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return RunDirectoryError(
        f"{path}: damaged: expected the model that nflow saved ({reason:.120})"
    )

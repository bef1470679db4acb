"""Fits to log-densities from Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nflow_cli.config import overrides, presets
from nflow_cli.config.infer_schema import natural_preset, usual_dim
from nflow_cli.config.presets import Change
from nflow_cli.config.schema import RUNS
from nflow_cli.experiments.infer.subject import built_in, user_subject
from nflow_cli.experiments.infer.user_code import function_of
from nflow_cli.experiments.python_arguments import (
    PATTERN,
    SETTINGS,
    intervals_of,
    list_of,
    mapping_of,
)
from nflow_cli.experiments.python_words import python_words
from nflow_cli.experiments.run import train_anew
from nflow_cli.registry import DENSITIES


@python_words()
def infer(
    log_density: Any,
    *,
    dim: int | None = None,
    names: Sequence[str] | None = None,
    bounds: Mapping[str, Sequence[float | None]] | None = None,
    base: str | None = None,
    flow: Sequence[Any] | None = None,
    k: int | None = None,
    steps: int | None = None,
    anneal: int | None = None,
    restarts: int | None = None,
    seed: int | None = None,
    preset: str | None = None,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
) -> Any:
    """Fit flows to a log-density by reverse KL, as ``nflow infer`` does.

    Args:
        log_density: A function of points ``(n, D)`` that returns ``log p`` ``(n,)`` in nats, up to
            a constant: in operations of Keras or TensorFlow, or a pair of arrays, ``log p`` and its
            gradient ``(n, D)``; or the name of a built-in density.
        dim: D; of a built-in density it may be left out.
        names: Of the D coordinates.
        bounds: By coordinate, ``(low, high)``, one of which may be None.
        base: ``"standard-normal"`` or ``"student-t"``.
        flow: The pattern, such as ``["planar", "radial"]``.
        k: How many flows.
        steps: Updates.
        anneal: Updates in which ``p^β`` rises to ``p``, which finds modes that lie apart.
        restarts: How many seeds are trained at once, the best of which is kept.
        seed: Fixes the result bit for bit.
        preset: By its name or path, what all else is taken from; without, the one for D.
        settings: Other keys of a preset, dotted, and their values.
        output: A new or empty folder for the run, which goes on where it was stopped with
            ``nflow resume``; without, one below ``outputs``.

    Returns:
        The density, a :class:`~nflow_cli.experiments.trained.TrainedInference`.

    Raises:
        NflowError: In one line, if the function or an option is wrong.
    """
    user, density = _named(log_density, dim)
    options = {
        "density": density,
        "density.names": list_of("names", names),
        "density.bounds": intervals_of("bounds", bounds),
        "base.name": base,
        "flow.pattern": list_of("flow", flow, PATTERN),
        "flow.k": k,
        "train.steps": steps,
        "train.annealing.updates": anneal,
        "train.restarts": restarts,
        "seed": seed,
        **(mapping_of("settings", settings, SETTINGS) or {}),
    }
    changes = [Change(key, key, value) for key, value in options.items() if value is not None]
    path = presets.find_preset(preset or natural_preset(dim or usual_dim(density["name"])))
    config = _resolved(path, changes)
    subject = built_in(config) if user is None else user_subject(config, user)
    return train_anew(config, path, output, subject)


def _named(log_density: Any, dim: int | None) -> tuple[Any, dict[str, Any]]:
    """Return the function that is fitted, none of a built-in density, and its part of a preset."""
    if isinstance(log_density, str) and log_density in DENSITIES:
        return None, {"name": log_density, "dim": dim}
    user = function_of(log_density)
    return user, {"name": user.name, "path": user.path, "dim": dim}


def _resolved(preset: Path, changes: Sequence[Change]) -> Any:
    source, data = presets.preset_label(preset), presets.read_preset(preset)
    schemas = {"infer": RUNS["infer"]}
    config = overrides.resolve(data, source, changes, schemas)
    return overrides.in_proportion(config, data, changes, schemas)[0]

"""Draws from which log Z is estimated."""

import os
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from nflow_cli.errors import ConfigError
from nflow_cli.experiments.recorded_data import found_again
from nflow_cli.experiments.run import Run
from nflow_cli.inference.evidence.draws import Draws, load_draws, usual_space
from nflow_cli.inference.evidence.evidence_config import EvidenceConfig
from nflow_cli.inference.user_code import UserFunction, load_function

VALIDATION = 5  # the last fifth of each part is validation


def load(config: EvidenceConfig) -> Draws:
    """Draws of a config."""
    return load_draws(config.data)


def reopen(run: Run) -> Draws:
    """Draws of a run, unchanged."""
    settings = run.config.data
    # A space that is not recorded was that of the name.
    space = settings.space or usual_space(settings.log_p)
    others = _other_files(run, settings.others)
    settings = settings.model_copy(update={"others": others, "space": space})
    return found_again(run, lambda name: load_draws(settings.model_copy(update={"name": name})))


def _other_files(run: Run, names: Sequence[str]) -> list[str]:
    """Recorded paths of the further files, if these still exist, or else their names."""
    record: Any = run.record.get("data")
    paths = record.get("paths") if isinstance(record, dict) else None
    if not isinstance(paths, list) or len(paths) != len(names) + 1:
        return list(names)
    exist = all(isinstance(path, str) and os.path.exists(path) for path in paths[1:])
    return paths[1:] if exist else list(names)


def read(name: str) -> NoReturn:
    """Refuse ``--data``: log Z is that of the run's own draws."""
    raise ConfigError("--data: expected none: a run of `nflow evidence` has draws of its own")


def with_density(run: Run, place: str) -> tuple[UserFunction, Draws]:
    """A user's log-density ``FILE.py:name``, and the draws of a run."""
    user = load_function(place)
    draws = run.data
    bounds = run.config.data.bounds
    if user.coordinates and not user.coordinates.agree_with(draws.columns, bounds):
        raise ConfigError(
            f"{user.name}: expected the parameters and bounds of the run, "
            f"{', '.join(draws.columns)}. Received: {', '.join(user.coordinates.names)}"
        )
    return user, draws


def settled_config(config: EvidenceConfig, data: Draws) -> EvidenceConfig:
    """Config with the parameters and the space named, and the folds counted."""
    decided = {
        "columns": list(data.columns),
        "folds": data.n_folds,
        "space": data.space or config.data.space,
    }
    return config.model_copy(update={"data": config.data.model_copy(update=decided)})


def fold_rows(draws: Draws) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Training and validation rows of each fold's density: of the parts of other folds."""
    train = []
    validation = []
    for fold in range(draws.n_folds):
        parts = [part for part, number in zip(draws.parts, draws.folds) if number != fold]
        starts = [len(part) - len(part) // VALIDATION for part in parts]
        train.append(np.concatenate([part[:start] for part, start in zip(parts, starts)]))
        validation.append(np.concatenate([part[start:] for part, start in zip(parts, starts)]))
    return train, validation

"""Summary of a run: typed figures of ``summary.json``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field

from nflow_cli.config import presets
from nflow_cli.config.strict import MAX_SEED, Count, Figure, Strict, Text
from nflow_cli.errors import ConfigError, RunDirectoryError
from nflow_cli.evaluation.warnings import ScoreWarning
from nflow_cli.runs.directory import SUMMARY, RunDirectory

if TYPE_CHECKING:
    from nflow_cli.experiments.experiment import Experiment

MOST_WARNINGS = 100


class WarningRecord(Strict):
    """Warning: its word, the keys of its figures, and its reason."""

    word: Text
    figures: list[Text]
    reason: Text


class RunSummary(Strict):
    """Summary of any run; keys that do not apply are absent.

    ``flow`` is the model as text, ``k`` its number of maps, ``n_parameters`` that of its weights.
    """

    flow: Text
    k: Count
    seed: int = Field(ge=0, le=MAX_SEED)
    n_parameters: Count
    model_sha256: Text
    config_sha256: Text
    compile_seconds: Figure
    warnings: list[WarningRecord] = Field(default=[], max_length=MOST_WARNINGS)

    @property
    def facts(self) -> dict[str, Any]:
        """Figures by key, without those that do not apply."""
        return self.model_dump(exclude_unset=True)


class UpdatesSummary(RunSummary):
    """Summary of a training that counts updates.

    Attributes:
        steps: Updates made.
        train_seconds: Their duration, with compilation.
        steps_per_second: Median speed without compilation; None if unknown.
    """

    steps: Count
    train_seconds: Figure
    steps_per_second: Figure


class DataRecord(Strict):
    """Name of the data, and their SHA-256."""

    name: Text
    sha256: Text


def identity_of(config: Any) -> dict[str, Any]:
    """Summary entries that the config determines."""
    return {
        "flow": config.model_text,
        "k": config.k,
        "seed": config.seed,
        "config_sha256": presets.fingerprint(config),
    }


class Judged(NamedTuple):
    """Scores of a model by summary key, and arrays of its pictures."""

    scores: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


class Fitted(NamedTuple):
    """Summary of a fit, and arrays of its pictures."""

    summary: RunSummary
    arrays: Mapping[str, np.ndarray]


class Result(NamedTuple):
    """Summary, warnings, and arrays of the pictures."""

    summary: Mapping[str, Any]
    warnings: list[ScoreWarning]
    arrays: Mapping[str, np.ndarray]


def read_summary(run: RunDirectory, experiment: "Experiment") -> dict[str, Any]:
    """Read ``summary.json``; a ``RunDirectoryError`` if it is missing or of other runs."""
    data = run.read_json(SUMMARY)
    try:
        source = f"{run.path / SUMMARY}: damaged"
        return presets.checked(experiment.summary_type, data, source).facts
    except ConfigError as error:
        raise RunDirectoryError(str(error)) from None

"""Summary of a run: typed figures of ``summary.json``."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from nflow_cli.arguments import MAX_SEED
from nflow_cli.config import presets
from nflow_cli.config.strict import Count, Figure, Strict, Text

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

    def with_scores(self, scores: Mapping[str, Any]) -> Self:
        """Summary with other scores, by key."""
        return type(self)(**{**self.facts, **scores})


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

    @property
    def checksum(self) -> dict[str, str]:
        """Checksum, as a setting."""
        return {"data.sha256": self.sha256[:12]}


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


class Measure(NamedTuple):
    """Score of ``summary.json`` in tables.

    Runs are ranked by the first known ``judges`` score: lower is better, or higher if ``sign`` is
    -1. ``has_spread``: whether tables show its spread over seeds.
    """

    key: str
    name: str
    unit: str
    decimals: int
    judges: bool = False
    has_spread: bool = True
    sign: int = 1


LOG_Z = "log Z"  # name of a measure


class Course(NamedTuple):
    """Training curve: ``sign`` times a column of ``metrics.csv``, and its name.

    ``otherwise``: its name if log Z is unknown.
    """

    column: str
    name: str
    sign: int = 1
    otherwise: str = ""


def checksum_of_data(summary: Mapping[str, Any]) -> dict[str, str]:
    """Checksum of the data, as a setting."""
    return {"data.sha256": summary["data"]["sha256"][:12]}


class RestartsRecord(Strict):
    """Outcome of the restarts of one fit: the ``best`` one, and of each the updates and last score.

    ``kl``: KL divergence (nats), or free energy if log Z is unknown; None: not finite, or never
    judged.
    """

    count: Count
    best: Count
    seed: Count
    kl: list[Figure]
    updates: list[Count]

    @model_validator(mode="after")
    def _of_each(self) -> "RestartsRecord":
        if not len(self.kl) == len(self.updates) == self.count > self.best:
            raise ValueError("one KL and one number of updates of each restart")
        return self

    def judged(self, scores: Mapping[str, Any]) -> "RestartsRecord":
        """Record with the final score (nats) of the restart kept."""
        kls = [*self.kl[: self.best], final_kl(scores), *self.kl[self.best + 1 :]]
        return RestartsRecord(**{**self.model_dump(), "kl": kls})


def final_kl(scores: Mapping[str, Any]) -> Any:
    """KL divergence (nats), or the free energy where log Z is unknown: an estimate would be lower
    for a restart that lost a mode.
    """
    return scores["free_energy"] if scores["log_z"] is None else scores["kl"]

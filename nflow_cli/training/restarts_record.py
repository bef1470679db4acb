"""Record of a fit's restarts in its summary (no Keras)."""

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from nflow_cli.config.strict import Count, Figure, Strict


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

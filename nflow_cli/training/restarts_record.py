"""The record of the restarts of a fit, in its summary. No Keras here."""

from collections.abc import Mapping
from typing import Any

from pydantic import model_validator

from nflow_cli.config.strict import Count, Figure, Strict


class RestartsRecord(Strict):
    """What became of the restarts of one fit.

    Attributes:
        count: How many there were.
        best: Which of them was kept.
        seed: The seed of that one.
        kl: KL divergence (nats) of each when it was last judged, or its free energy where log Z is
            not known; None where that is not finite, or it never was judged.
        updates: How many updates each made.
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
        """Return the record with the final score (nats) of the restart that is kept."""
        kls = [*self.kl[: self.best], final_kl(scores), *self.kl[self.best + 1 :]]
        return RestartsRecord(**{**self.model_dump(), "kl": kls})


def final_kl(scores: Mapping[str, Any]) -> Any:
    """Return the KL divergence (nats) of scores, or the free energy where log Z is not known."""
    return scores.get("free_energy") if scores.get("kl") is None else scores["kl"]

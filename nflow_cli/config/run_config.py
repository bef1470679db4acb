"""Base of the configs of all kinds of runs, and the cost of their training."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import ValidationInfo, field_validator

from nflow_cli.config.flows import Way, expect_one_pass, expect_weights
from nflow_cli.config.strict import COMMAND, Description, Seed, Strict

CHUNK = 2**26  # numbers in a chunk, at most: 256 MB
LOWERED = {
    "train": ("batch_size", "restarts", "ensemble"),
    "flow": ("k",),
    "prior": ("k",),
    "cells": ("width",),
}


class RunConfig(Strict):
    """The config of a run of any kind.

    Attributes:
        kind: Folder of its parts in :mod:`nflow_cli.experiments`.
        is_of_flows: Whether its model is of flows, on TensorFlow; else of cells, on NumPy.
        subject_key: Key of the data or density that is fitted.
        way: Direction of the flows in training.
    """

    kind: ClassVar[str]
    is_of_flows: ClassVar[bool] = True
    subject_key: ClassVar[str] = "data"
    way: ClassVar[Way] = "inverse"

    description: Description = ""
    command: Annotated[str, COMMAND]
    seed: Seed = 0
    if TYPE_CHECKING:  # each kind has its own, in its own place
        train: Any
        flow: Any
        dim: Any

    @field_validator("flow", check_fields=False)
    @classmethod
    def _can_be_trained(cls, flow: Any, info: ValidationInfo) -> Any:
        if flow is not None:
            expect_one_pass(flow, cls.way)
            expect_weights(flow, *cls.dims(info.data))
        return flow

    @classmethod
    def dims(cls, data: Mapping[str, Any]) -> tuple[int, int]:
        """D of the flows and of their context, by the keys before ``flow``; 0: none, or unknown."""
        return 0, 0

    @property
    def subject(self) -> str:
        """Name of the data or density."""
        return getattr(self, self.subject_key).name

    @property
    def length(self) -> int:
        """Number of updates, or epochs; 0 before it is known."""
        return getattr(self.train, self.train.length_key) or 0

    def of_length(self, length: int) -> Any:
        """With another number of updates, or epochs; the description may name the old one."""
        train = self.train.model_copy(update={self.train.length_key: length})
        return self.model_copy(update={"train": train, "description": ""})

    @property
    def model_text(self) -> str:
        """Model as text."""
        return self.flow.text

    @property
    def k(self) -> int:
        """Number of maps; 0 before it is known."""
        return self.flow.k or 0

    @property
    def rows(self) -> int:
        """Points or rows of an update, of all members; 0 if unknown."""
        return (self.train.batch_size or 0) * self.train.restarts * self.train.members

    @property
    def drawn(self) -> int:
        """Numbers drawn for an update, here points; 0 if unknown."""
        return self.rows * self.dim

    @property
    def in_memory(self) -> tuple[Self, str]:
        """With shorter chunks of at most ``CHUNK`` numbers, or one update; a line on that, or "".

        The noise of an update depends on the chunk: a recorded run keeps its own.
        """
        before = self.train.chunk or 1
        chunk = min(before, max(1, CHUNK // max(self.drawn, 1)))
        if chunk == before:
            return self, ""
        train = self.train.model_copy(update={"chunk": chunk})
        line = f"train.chunk: {chunk:,} instead of {before:,}, to fit in memory"
        return self.model_copy(update={"train": train}), line

    @property
    def remedy(self) -> str:
        """Advice to lower one of the keys that set the memory of a training, with their values."""
        sizes = {
            f"{section}.{key}": getattr(getattr(self, section, None), key, None)
            for section, keys in LOWERED.items()
            for key in keys
        }
        return f"lower {' or '.join(f'{key} ({n:,})' for key, n in sizes.items() if n and n > 1)}"

    @property
    def resume_arguments(self) -> list[str]:
        """Arguments of ``nflow resume`` beside the run."""
        return []

    @property
    def threads(self) -> int | None:
        """Useful number of CPU threads; ``None``: one per core."""
        return None

    @property
    def work(self) -> float:
        """Estimated duration, in units that only runs of one kind share."""
        return self.length * (8 + self.k) * self.train.restarts


class ReverseKLConfig(RunConfig):
    """The config of a fit to a density."""

    kind: ClassVar[str] = "reverse_kl"
    way: ClassVar[Way] = "forward"

    @field_validator("train", check_fields=False)
    @classmethod
    def _has_a_first_stage(cls, train: Any, info: ValidationInfo) -> Any:
        flow = info.data.get("flow")
        if train.first_stage and flow and not flow.affine:
            raise ValueError("first_stage 0 without flow.affine, which it trains")
        return train

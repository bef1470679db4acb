"""Base of the configs of all runs, and common parts of their trainings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, ValidationInfo, field_validator

from nflow_cli.config.flows import IN_TURN, Way, expect_one_pass, expect_weights, pattern_name
from nflow_cli.config.strict import COMMAND, Description, Seed, Strict, option

MOST_ANNEALED = 0.9  # of a training: its end is by the objective itself

# Common keys.
Steps = Annotated[int, Field(ge=1, le=10**9, **option("Number of updates."))]
BatchSize = Annotated[int, Field(ge=1, le=10**6, **option("Samples per update."))]
LearningRate = Annotated[
    float,
    Field(gt=0, le=1e6, **option("Peak learning rate of Adam.")),
]
Schedule = Annotated[
    Literal["cosine", "constant"],
    Field(description="Learning rate: cosine decay to 0, or constant."),
]
ClipNorm = Annotated[
    float | None,
    Field(gt=0, description="Maximum norm of the gradient; null: no clipping."),
]
WeightDecay = Annotated[
    float,
    Field(
        ge=0,
        le=1e3,
        description="Decoupled weight decay of networks' kernels, times the learning rate.",
    ),
]
Chunk = Annotated[
    int,
    Field(
        ge=1,
        le=100_000,
        description="Updates per compiled call; fewer if samples are many, to fit in memory.",
    ),
]
CheckpointSeconds = Annotated[float, Field(ge=0, description="Seconds between checkpoints.")]
FirstStage = Annotated[
    int,
    Field(
        ge=0,
        le=10**9,
        description="Updates of the affine map at the data's end alone, before all others.",
    ),
]
CHUNK = 2**26  # numbers in a chunk, at most: 256 MB
LOWERED = {
    "train": ("batch_size", "restarts", "ensemble"),
    "flow": ("k",),
    "prior": ("k",),
    "cells": ("width",),
}


class Annealed(NamedTuple):
    """``β`` rises from ``start`` to 1 in the first ``updates``."""

    start: float
    updates: int


class EarlyStopping(Strict):
    """Stop when no validation loss of ``patience`` updates is lower by ``min_delta`` nats."""

    patience: int = Field(default=500, ge=1, description="Updates without improvement.")
    min_delta: float = Field(default=0.0, ge=0, description="Minimum improvement, in nats.")


class ValidatedStopping(EarlyStopping):
    """Stop when the validation loss has not fallen for ``patience`` updates, and cool down.

    From the best weights the learning rate falls to 0, in 0.15 of the updates made, at least 50. A
    fall within a standard error of the paired difference restarts half of the patience.
    """

    cools: ClassVar[bool] = True

    patience: int | None = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default=None,
        ge=1,
        description="Updates without improvement; null: 0.15 of all, at least 4 validations and "
        "100 updates.",
    )


class CooledStopping(Strict):
    """Stop when the loss falls by less than ``min_delta`` nats in ``patience`` updates.

    The means of two windows of ``patience`` updates are compared, with two standard errors.
    """

    cools: ClassVar[bool] = True

    patience: int = Field(default=500, ge=1, description="Updates of each of two windows.")
    min_delta: float = Field(default=2e-3, gt=0, description="Minimum improvement, in nats.")
    cool_down: int = Field(
        default=1_000,
        ge=1,
        description="Updates after that, while the learning rate decays to 0.",
    )


class Annealing(Strict):
    """``β`` rises from ``start`` to 1 in the first ``share`` of the updates."""

    share: float = Field(
        default=0.0,
        ge=0,
        le=MOST_ANNEALED,
        **option(
            "Anneal p^β to p during the first share X of the updates, to find separate modes.",
            "--anneal",
        ),
    )
    start: float = Field(default=0.01, gt=0, le=1, description="β at the first update.")


class TrainSettings(Strict):
    """Settings of a training of any kind."""

    if TYPE_CHECKING:  # each kind has its own, in its own place
        learning_rate: Any
        schedule: Any
        clip_norm: Any
        early_stopping: Any


class Train(TrainSettings):
    """Training of a fit to a density, by reverse KL."""

    length_key: ClassVar[str] = "steps"  # of the training
    members: ClassVar[int] = 1

    steps: Steps = 20_000
    batch_size: BatchSize = 512
    learning_rate: LearningRate = 0.01
    schedule: Schedule = "cosine"
    annealing: Annealing = Annealing()
    clip_norm: ClipNorm = 10.0
    weight_decay: WeightDecay = 0.0
    early_stopping: CooledStopping | None = None
    chunk: Chunk = 500
    checkpoint_seconds: CheckpointSeconds = 30.0
    restarts: int = Field(
        default=1,
        ge=1,
        le=100,
        **option("Train N restarts (seeds seed, …, seed+N-1) and keep the best."),
    )
    halving: bool = Field(default=True, **option("Drop the worse half of the restarts repeatedly."))
    first_stage: FirstStage = 0
    draws: Literal["independent", "even"] = Field(
        default="independent",
        description="Draws from the base; even: a randomly shifted lattice, for less noisy "
        "gradients in few dimensions, with a normal or uniform base.",
    )
    gradient: Literal["full", "path"] = Field(
        default="full",
        description="Gradient of the loss; path: in the second half, after all annealing, without "
        "the score term, whose mean is 0. It takes an inverse pass; flows whose inverse takes D "
        "passes keep the full gradient.",
    )

    @property
    def annealed(self) -> Annealed:
        """The annealing, in updates."""
        return Annealed(self.annealing.start, round(self.annealing.share * self.steps))

    def path_from(self, pattern: Sequence[Any]) -> int | None:
        """Update from which the path gradient is used; ``None``: never."""
        in_turn = any(pattern_name(item) in IN_TURN["inverse"] for item in pattern)
        if self.gradient == "full" or in_turn:
            return None
        return max(self.steps // 2, self.annealed.updates)


class RunConfig(Strict):
    """The config of a run of any kind.

    Attributes:
        is_of_flows: Whether its model is of flows, on TensorFlow; else of cells, on NumPy.
        subject_key: Key of the data or density that is fitted.
        way: Direction of the flows in training.
    """

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
    def kind(self) -> str:
        """Key of its schema and its modules in the registry."""
        return self.command

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

    def expect_fits(self, data: Any) -> None:
        """Refuse data that are too few for this config (``ConfigError``)."""

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

    way: ClassVar[Way] = "forward"

    @field_validator("train", check_fields=False)
    @classmethod
    def _has_a_first_stage(cls, train: Any, info: ValidationInfo) -> Any:
        flow = info.data.get("flow")
        if train.first_stage and flow and not flow.affine:
            raise ValueError("first_stage 0 without flow.affine, which it trains")
        return train

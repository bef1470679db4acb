"""Common parts of the schemas of trainings."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from nflow_cli.config.flow_options import IN_TURN, pattern_name
from nflow_cli.config.strict import Strict, option

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
        "200 updates.",
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


class Train(Strict):
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

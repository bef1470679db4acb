"""What the schemas of trainings share. No Keras here."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from nflow_cli.config.flow_options import IN_TURN, pattern_name
from nflow_cli.config.strict import Strict, option

MOST_ANNEALED = 0.9  # of a training: its end is by the objective itself

# Keys that trainings share.
Steps = Annotated[int, Field(ge=1, le=10**9, **option("Number of updates."))]
BatchSize = Annotated[int, Field(ge=1, le=10**6, **option("Samples per update."))]
LearningRate = Annotated[
    float,
    Field(gt=0, le=1e6, **option("Peak learning rate of Adam.")),
]
Schedule = Annotated[
    Literal["cosine", "constant"],
    Field(description="Whether the learning rate falls to 0 along a cosine, or stays."),
]
ClipNorm = Annotated[
    float | None,
    Field(gt=0, description="A gradient of a greater norm is shortened to it; null: none is."),
]
WeightDecay = Annotated[
    float,
    Field(
        ge=0,
        le=1e3,
        description="Of the kernels of networks, apart from the gradient: each update takes "
        "this part of them times the learning rate.",
    ),
]
Chunk = Annotated[
    int,
    Field(
        ge=1,
        le=100_000,
        description="Updates a compiled call; fewer where samples are many, for memory.",
    ),
]
CheckpointSeconds = Annotated[float, Field(ge=0, description="Time between checkpoints.")]
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
    """Stop when the loss has not fallen by ``min_delta`` nats for ``patience`` updates.

    The smoothed loss of a target; of points that of the validation points.
    """

    patience: int = Field(default=5_000, ge=1, description="Updates without progress.")
    min_delta: float = Field(default=1e-3, ge=0, description="What counts as progress, in nats.")


class CooledStopping(EarlyStopping):
    """Stop when the loss falls by less than ``min_delta`` nats in ``patience`` updates.

    By two windows of that many updates, and two standard errors of the difference of their means.
    """

    patience: int = Field(default=500, ge=1, description="Updates of each of two windows.")
    min_delta: float = Field(default=2e-3, gt=0, description="What counts as progress, in nats.")
    cool_down: int = Field(
        default=1_000,
        ge=1,
        description="Updates after that, in which the learning rate falls to 0.",
    )


class Annealing(Strict):
    """``β`` rises from ``start`` to 1 in the first ``share`` of the updates."""

    share: float = Field(
        default=0.0,
        ge=0,
        le=MOST_ANNEALED,
        **option(
            "Raise p^β to p during the first share X of the updates, which finds separate modes.",
            "--anneal",
        ),
    )
    start: float = Field(default=0.01, gt=0, le=1, description="β at the first update.")


class Train(Strict):
    """How a fit to a density is trained, by reverse KL.

    Of each training, ``length_key`` is the key of its length.
    """

    length_key: ClassVar[str] = "steps"
    ensemble: ClassVar[int] = 1

    steps: Steps = 20_000
    batch_size: BatchSize = 512
    learning_rate: LearningRate = 0.01
    schedule: Schedule = "cosine"
    annealing: Annealing = Annealing()
    clip_norm: ClipNorm = 10.0
    weight_decay: WeightDecay = 0.0
    early_stopping: EarlyStopping | None = None
    chunk: Chunk = 500
    checkpoint_seconds: CheckpointSeconds = 30.0
    restarts: int = Field(
        default=1,
        ge=1,
        le=100,
        **option("Train N restarts (seeds seed, …, seed+N-1) and keep the best."),
    )
    halving: bool = Field(
        default=True, **option("Drop the worse half of the restarts early, again and again.")
    )
    first_stage: FirstStage = 0
    draws: Literal["independent", "even"] = Field(
        default="independent",
        description="Of the base, for an update; even: points of a lattice with a random shift, so "
        "that gradients are less noisy. For few dimensions, and a base that is normal or uniform.",
    )
    gradient: Literal["full", "path"] = Field(
        default="full",
        description="Of the loss in full; or path: in the second half, after all annealing, by the "
        "path of the samples alone, without the score, whose mean is 0. That takes an inverse "
        "pass, and is full for flows whose inverse takes D of them.",
    )

    @property
    def annealed(self) -> Annealed:
        """How the objective is annealed, in updates."""
        return Annealed(self.annealing.start, round(self.annealing.share * self.steps))

    def path_from(self, pattern: Sequence[Any]) -> int | None:
        """Return the update from which flows are trained by the path alone; ``None``: never."""
        in_turn = any(pattern_name(item) in IN_TURN["inverse"] for item in pattern)
        if self.gradient == "full" or in_turn:
            return None
        return max(self.steps // 2, self.annealed.updates)

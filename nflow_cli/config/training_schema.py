"""What the schemas of trainings share. No Keras here."""

from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from nflow_cli.config.strict import Strict


class Annealed(NamedTuple):
    """``β`` rises from ``start`` to 1 in the first ``length`` updates or epochs."""

    start: float
    length: float


class EarlyStopping(Strict):
    """Stop when the loss has not fallen by ``min_delta`` nats for ``patience`` updates.

    The smoothed loss of a target; of points that of the validation points.
    """

    patience: int = Field(default=5_000, ge=1)
    min_delta: float = Field(default=1e-3, ge=0)


class Annealing(Strict):
    """``β`` rises from ``start`` to 1 in ``updates`` updates."""

    updates: int = Field(default=0, ge=0)
    start: float = Field(default=0.01, gt=0, le=1)


class Train(Strict):
    """How a fit to a density is trained, by reverse KL.

    Of each training, ``length_key`` is the key of how long it is, and ``annealed_keys`` those of
    the mapping that anneals it and of how long.
    """

    length_key: ClassVar[str] = "steps"
    annealed_keys: ClassVar[tuple[str, str]] = ("annealing", "updates")
    ensemble: ClassVar[int] = 1

    steps: int = Field(default=20_000, ge=1, le=10**9)
    batch_size: int = Field(default=512, ge=1, le=10**6)
    learning_rate: float = Field(default=0.01, gt=0, le=1e6)
    schedule: Literal["cosine", "constant"] = "cosine"
    annealing: Annealing = Annealing()
    clip_norm: float | None = Field(default=10.0, gt=0)
    weight_decay: float = Field(default=0.0, ge=0, le=1e3)  # of kernels, times the learning rate
    early_stopping: EarlyStopping | None = None
    chunk: int = Field(default=500, ge=1, le=100_000)
    checkpoint_seconds: float = Field(default=30.0, ge=0)
    restarts: int = Field(default=1, ge=1, le=100)
    halving: bool = True
    first_stage: int = Field(default=0, ge=0, le=10**9)  # updates of the last affine map alone

    @property
    def annealed(self) -> Annealed:
        """How the objective is annealed, in updates."""
        return Annealed(self.annealing.start, self.annealing.updates)

"""Schema of `nflow evidence`: log Z from draws of a posterior."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from nflow_cli.config.flows import StackFlow
from nflow_cli.config.run_config import (
    BatchSize,
    CheckpointSeconds,
    Chunk,
    ClipNorm,
    EarlyStopping,
    LearningRate,
    RunConfig,
    Schedule,
    Steps,
    TrainSettings,
    WeightDecay,
)
from nflow_cli.config.schema_options import INTERVALS, NAME, NAMES
from nflow_cli.config.strict import (
    COMMAND,
    Column,
    Columns,
    Interval,
    Path,
    Strict,
    by_name,
    intervals,
    option,
)
from nflow_cli.registry import DEFAULT_BASE

MAX_FILES = 1_000
MOST_FOLDS = 4


class DrawsData(Strict):
    """Draws of a posterior, with their unnormalised log-density."""

    name: Path = Field(description="File of draws, the first of several.")
    others: list[Path] = Field(
        default=[], max_length=MAX_FILES, description="Files of further chains."
    )
    log_p: Column = Field(
        default="lp__", **option("Column of unnormalised log-densities in nats.", form=NAME)
    )
    columns: Columns | None = Field(
        default=None,
        min_length=1,
        **option("The free parameters. Null: all numeric columns of no other role.", form=NAMES),
    )
    chain: Column | None = Field(
        default=None,
        **option(
            "Column that numbers the chains. Null: a column of that name, or files.", form=NAME
        ),
    )
    bounds: dict[Column, Interval] = Field(
        default={},
        **option(
            "Bounds of parameters; one of the two may be left out. With neither, a parameter has "
            "no bounds even where all its draws are positive. Null: no bound.",
            form=INTERVALS,
        ),
    )
    space: Literal["constrained", "unconstrained"] | None = Field(
        default=None,
        **option(
            "Space of the log-density of bounded parameters: their own, or that of their logs and "
            "logits, as of Stan, PyMC and NumPyro. Null: unconstrained for lp__, and for lp of "
            "ArviZ's files."
        ),
    )

    folds: int | None = Field(
        default=None,
        ge=2,
        le=MOST_FOLDS,
        description="Densities that each leave chains out; null: one a chain, at most four.",
    )

    @field_validator("bounds")
    @classmethod
    def _are_intervals(cls, bounds: dict[str, Any]) -> dict[str, Any]:
        return intervals(bounds)

    @property
    def files(self) -> Sequence[str]:
        """All files."""
        return [self.name, *self.others]

    @property
    def bounded(self) -> dict[str, str]:
        """Coordinate without bounds of each bounded parameter, such as ``log tau``."""
        coordinates = {}
        for name, (low, high) in self.bounds.items():
            if low is not None and high is not None:
                coordinates[name] = f"logit {name}"
            elif low is not None or high is not None:
                coordinates[name] = f"log {name}"
        return coordinates


class EvidenceTrain(TrainSettings):
    """Training of one density for each fold of chains, side by side.

    The weights of the best validation loss are kept, by the last fifth of each chain.
    """

    length_key: ClassVar[str] = "steps"
    members: ClassVar[int] = MOST_FOLDS  # at most
    restarts: ClassVar[int] = 1

    steps: Steps = 2_000
    batch_size: BatchSize = 256
    learning_rate: LearningRate = 0.002
    schedule: Schedule = "cosine"
    clip_norm: ClipNorm = 20.0
    weight_decay: WeightDecay = 1.0
    early_stopping: EarlyStopping | None = EarlyStopping()
    chunk: Chunk = 50
    checkpoint_seconds: CheckpointSeconds = 30.0


class EvidenceConfig(RunConfig):
    """A run of ``nflow evidence``."""

    base_name: ClassVar[str] = DEFAULT_BASE

    command: Annotated[Literal["evidence"], COMMAND]
    data: Annotated[DrawsData, BeforeValidator(by_name, json_schema_input_type=DrawsData | str)]
    flow: StackFlow = StackFlow(
        pattern=[{"mixture-autoregressive": {"hidden": [128]}}], k=2, affine="full"
    )
    train: EvidenceTrain = EvidenceTrain()

    @classmethod
    def dims(cls, data: Mapping[str, Any]) -> tuple[int, int]:
        draws = data.get("data")
        dim = len(draws.columns or ()) if draws else 0
        return dim, 0

    @property
    def is_settled(self) -> bool:
        """Whether it is complete without its draws."""
        return None not in (self.data.columns, self.data.folds)

    @property
    def columns(self) -> list[str]:
        """The D parameters; none before they are known."""
        return list(self.data.columns or ())

    @property
    def dim(self) -> int:
        return len(self.columns)

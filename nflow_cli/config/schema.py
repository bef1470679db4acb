"""The preset schema: what a preset may hold, strict and frozen. No Keras here."""

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from nflow_cli.config.flow_options import checked_item, default_affine, options_of, pattern_text
from nflow_cli.config.strict import MAX_PATH, MAX_SEED, Strict
from nflow_cli.config.sweep_schema import SweepConfig
from nflow_cli.config.target_schema import Target
from nflow_cli.errors import ConfigError
from nflow_cli.registry import DEFAULT_BASE, POINT_SETS, TARGET_BASES

NAMED = ("target", "data")  # mappings that text stands for: their name
MAX_GRID = 5_000
MAX_WEIGHTS = 10**8


def _by_name(value: Any) -> Any:
    """Write out what is given by its name alone."""
    return {"name": value} if isinstance(value, str) else value


class PointData(Strict):
    """Points to fit a density to: a built-in set, and how many of it, or a file by its path."""

    name: str = Field(min_length=1, max_length=MAX_PATH)
    size: int | None = Field(default=None, ge=10, le=10**7)

    @field_validator("size")
    @classmethod
    def _is_of_a_set(cls, size: int | None, info: ValidationInfo) -> int | None:
        if size is not None and info.data.get("name") not in POINT_SETS:
            raise ValueError("null for a file, all of whose points are read")
        return size


def _item(value: Any) -> Any:
    """Check an item of a pattern."""
    try:
        return checked_item(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None


class Flow(Strict):
    """Which flows, and how many: names, or names with options."""

    pattern: list[Annotated[str | dict[str, JsonValue], BeforeValidator(_item)]] = Field(
        default=["planar"], min_length=1
    )
    k: int = Field(default=8, ge=0, le=10_000)

    @property
    def text(self) -> str:
        """The flows as text, such as ``planar,radial``."""
        return pattern_text(self.pattern)

    def weights(self, dim: int, width: int = 0) -> int:
        """Return about how many weights all flows have, of a context of ``width`` numbers."""
        counts = [options_of(item).weights(dim) for item in self.pattern]
        return self.k * sum(n + width * m for n, m in counts) // len(counts)

    def kept(self, dim: int) -> float:
        """Return about how many numbers an update keeps of one sample."""
        return self.k * sum(options_of(item).kept(dim) for item in self.pattern) / len(self.pattern)


class StackFlow(Flow):
    """The flows of a density: an affine map may stand at the data's end, outside ``k``."""

    affine: Literal["diagonal", "full"] | None = Field(
        default_factory=lambda data: default_affine(data.get("pattern", []))
    )

    @property
    def text(self) -> str:
        """The flows as text, such as ``planar + full affine``."""
        return f"{super().text} + {self.affine} affine" if self.affine else super().text


def expect_weights(flow: Any, count: int) -> Any:
    """Return the flows of a model, if it has so many weights as a machine can hold."""
    if count > MAX_WEIGHTS:
        raise ValueError(f"at most {MAX_WEIGHTS:,} weights in all, not about {count:,}")
    return flow


class Annealed(NamedTuple):
    """``β`` rises from ``start`` to 1 in the first ``length`` updates or epochs."""

    start: float
    length: float


class Annealing(Strict):
    """``β`` rises from ``start`` to 1 in ``updates`` updates."""

    updates: int = Field(default=0, ge=0)
    start: float = Field(default=0.01, gt=0, le=1)


class EarlyStopping(Strict):
    """Stop when the loss has not fallen by ``min_delta`` nats for ``patience`` updates.

    The smoothed loss of a target; of points that of the validation points.
    """

    patience: int = Field(default=5_000, ge=1)
    min_delta: float = Field(default=1e-3, ge=0)


class Train(Strict):
    """How a 2-D fit is trained.

    Of each training, ``length_key`` is the key of how long it is, and ``annealed_keys`` those of
    the mapping that anneals it and of how long.
    """

    length_key: ClassVar[str] = "steps"
    annealed_keys: ClassVar[tuple[str, str]] = ("annealing", "updates")

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


class Evaluate(Strict):
    """How a 2-D fit is judged."""

    samples: int = Field(default=200_000, ge=100, le=10**8)
    grid: int = Field(default=500, ge=500, le=MAX_GRID)


class Fit2DConfig(Strict):
    """A whole fit-2d run. ``dim`` is D of its points."""

    dim: ClassVar[int] = 2
    description: str = ""
    command: Literal["fit-2d"]
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    data: Annotated[PointData | None, BeforeValidator(_by_name)] = None
    target: Target | None = Field(default=None, validate_default=True)
    base: Literal["standard-normal", "uniform-box"] | None = None
    flow: StackFlow = StackFlow()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    @field_validator("target", mode="before")
    @classmethod
    def _target_by_name(cls, target: Any, info: ValidationInfo) -> Any:
        if info.data.get("data") is not None:
            if target is not None:
                raise ValueError("null beside data: a density or points are fitted, not both")
            return None
        return _by_name("multimodal" if target is None else target)

    @field_validator("base")
    @classmethod
    def _covers_any_point(cls, base: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("data") is not None and base not in (None, DEFAULT_BASE):
            raise ValueError(f"{DEFAULT_BASE} beside data: q must not be 0 at any point")
        return base

    @field_validator("flow")
    @classmethod
    def _is_of_a_size(cls, flow: StackFlow) -> StackFlow:
        return expect_weights(flow, flow.weights(cls.dim))

    @field_validator("train")
    @classmethod
    def _suits_what_is_fitted(cls, train: Train, info: ValidationInfo) -> Train:
        if info.data.get("data") is not None:
            if train.annealing.updates:
                raise ValueError(f"annealing.updates 0 beside data, not {train.annealing.updates}")
            if train.restarts > 1:
                raise ValueError(f"restarts 1 beside data, not {train.restarts}")
            if train.first_stage:
                raise ValueError(f"first_stage 0 beside data, not {train.first_stage}")
        flow = info.data.get("flow")
        if train.first_stage and flow and not flow.affine:
            raise ValueError("first_stage 0 without flow.affine: that is what it trains")
        return train

    @property
    def subject_key(self) -> str:
        """The key of what is fitted."""
        return "target" if self.data is None else "data"

    @property
    def subject(self) -> str:
        """The name of the density, or of the points."""
        subject = self.data or self.target
        return subject.name if subject else ""

    @property
    def base_name(self) -> str:
        """The base asked for, or the target's own."""
        natural = TARGET_BASES.get(self.target.name, DEFAULT_BASE) if self.target else DEFAULT_BASE
        return self.base or natural


Binarization = Literal["stochastic", "static", "threshold", "none"]


class Data(Strict):
    """Which images, and how their grey levels become what the VAE models."""

    name: str = Field(default="mnist", min_length=1, max_length=MAX_PATH)
    binarization: Binarization = "stochastic"
    fallback: bool = True


class VAEModel(Strict):
    """The networks of a VAE."""

    latent_dim: int = Field(default=40, ge=2, le=10_000)  # the pictures show a plane
    network: Literal["relu", "maxout", "gated-conv"] = "relu"
    hidden: list[Annotated[int, Field(ge=1, le=100_000)]] = Field(default=[400, 400], min_length=1)

    @model_validator(mode="after")
    def _one_width(self) -> Any:
        if self.network == "gated-conv" and len(self.hidden) != 1:
            raise ValueError(f"one width for gated-conv, not {len(self.hidden)}")
        return self


class VAEFlow(Flow):
    """The flows of a VAE's posterior."""

    amortized: bool = True


class WarmUp(Strict):
    """What is weighted by ``β`` while it rises from ``start`` to 1: the KL, or the log-joint."""

    kind: Literal["kl", "log-joint"] = "kl"
    epochs: float = Field(default=0.0, ge=0)
    start: float = Field(default=0.01, gt=0, le=1)


class ValidationStopping(Strict):
    """Stop when the validation bound has not risen by ``min_delta`` for ``patience`` epochs."""

    patience: int = Field(default=20, ge=1)
    min_delta: float = Field(default=0.0, ge=0)
    images: int = Field(default=10_000, ge=1)


class VAETrain(Strict):
    """How a VAE is trained."""

    length_key: ClassVar[str] = "epochs"
    annealed_keys: ClassVar[tuple[str, str]] = ("warm_up", "epochs")

    epochs: int = Field(default=100, ge=1, le=10**6)
    batch_size: int = Field(default=100, ge=1, le=10**6)
    learning_rate: float = Field(default=0.002, gt=0, le=1e6)
    schedule: Literal["cosine", "constant"] = "cosine"
    warm_up: WarmUp = WarmUp()
    clip_norm: float | None = Field(default=None, gt=0)
    early_stopping: ValidationStopping | None = None
    chunk: int = Field(default=100, ge=1, le=100_000)
    checkpoint_seconds: float = Field(default=30.0, ge=0)

    @property
    def annealed(self) -> Annealed:
        """How the objective is annealed, in epochs."""
        return Annealed(self.warm_up.start, self.warm_up.epochs)


class VAEEvaluate(Strict):
    """How a VAE is judged."""

    importance_samples: int = Field(default=200, ge=1, le=10**6)


class Published(Strict):
    """A published score, in nats, for runs of ``k`` flows (``null``: any) on the same data."""

    k: int | None = None
    negative_elbo: float | None = None
    negative_log_likelihood: float | None = None
    data: str = "mnist"
    binarization: Binarization = "stochastic"
    source: str


PIXELS = 784
# By network: weights of encoder and decoder for each pair of units of two layers, about.
WEIGHTS_A_PAIR = {"relu": 2, "maxout": 8, "gated-conv": 8}


class VAEConfig(Strict):
    """A whole train-vae run."""

    description: str = ""
    command: Literal["train-vae"]
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    data: Annotated[Data, BeforeValidator(_by_name)] = Data()
    model: VAEModel = VAEModel()
    flow: VAEFlow = Field(default=VAEFlow(), validate_default=True)
    train: VAETrain = VAETrain()
    evaluate: VAEEvaluate = VAEEvaluate()
    published: list[Published] = Field(default=[])

    @property
    def dim(self) -> int:
        """D of the latents."""
        return self.model.latent_dim

    @property
    def subject_key(self) -> str:
        """The key of what is modelled."""
        return "data"

    @property
    def subject(self) -> str:
        """The name of the images."""
        return self.data.name

    @field_validator("flow")
    @classmethod
    def _fits_in_memory(cls, flow: VAEFlow, info: ValidationInfo) -> VAEFlow:
        if model := info.data.get("model"):
            pairs = sum(a * b for a, b in pairwise([PIXELS, *model.hidden, 2 * model.latent_dim]))
            count = WEIGHTS_A_PAIR[model.network] * pairs
            count += flow.weights(model.latent_dim, model.hidden[-1] if flow.amortized else 0)
            expect_weights(flow, count)
        return flow


Config: TypeAlias = Fit2DConfig | VAEConfig  # of a run
RUNS: dict[str, type[Strict]] = {"fit-2d": Fit2DConfig, "train-vae": VAEConfig}
SCHEMAS: dict[str, type[Strict]] = {**RUNS, "sweep": SweepConfig}

"""Schema of `nflow train-vae`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from nflow_cli.config.flows import (
    SPELLED_OUT,
    Flow,
    K,
    Pattern,
    StackFlow,
    Way,
    expect_one_pass,
    expect_weights,
)
from nflow_cli.config.run_config import (
    MOST_ANNEALED,
    BatchSize,
    CheckpointSeconds,
    Chunk,
    ClipNorm,
    EarlyStopping,
    LearningRate,
    RunConfig,
    Schedule,
    TrainSettings,
)
from nflow_cli.config.schema_options import PATTERN
from nflow_cli.config.strict import COMMAND, MAX_PATH, Strict, by_name, option
from nflow_cli.errors import ConfigError

Binarization = Annotated[
    Literal["stochastic", "static", "threshold", "none"],
    Field(
        description="Binarization of grey levels: drawn anew each epoch, drawn once, by a "
        "threshold of ½, or none."
    ),
]


class Data(Strict):
    """The images, and the binarization of their grey levels."""

    name: str = Field(
        default="mnist",
        min_length=1,
        max_length=MAX_PATH,
        examples=["mnist", "mnist-sample"],
        **option(
            "Images: mnist, mnist-sample, or the path of an .npz.", "--data", form="NAME|FILE"
        ),
    )
    binarization: Binarization = "stochastic"
    fallback: bool = Field(
        default=True, **option("Use the embedded sample if MNIST is not available.")
    )


class VAEModel(Strict):
    """The networks of a VAE."""

    latent_dim: int = Field(  # pictures show a plane
        default=40, ge=2, le=10_000, description="D of the latents."
    )
    network: Literal["relu", "maxout", "gated-conv"] = Field(
        default="relu", description="Architecture of encoder and decoder."
    )
    hidden: list[Annotated[int, Field(ge=1, le=4_096)]] = Field(
        default=[400, 400],
        min_length=1,
        max_length=8,
        description="Widths of the hidden layers; one of gated-conv.",
    )

    @model_validator(mode="after")
    def _one_width(self) -> Any:
        if self.network == "gated-conv" and len(self.hidden) != 1:
            raise ValueError(f"one width for gated-conv, not {len(self.hidden)}")
        return self


class VAEFlow(Flow):
    """The flows of the VAE's posterior."""

    pattern: Pattern = Field(
        default=["planar"],
        description=f"Flows of the posterior, cycled until there are k; {SPELLED_OUT}",
    )
    k: K = Field(
        default=8, **option("Number of flows of the posterior; 0 is a plain VAE.", "--k", "--flows")
    )
    amortized: bool = Field(
        default=True, description="Weights of the flows for each image, by the encoder; or shared."
    )

    def weights(self, dim: int, width: int = 0) -> int:
        return super().weights(dim, width if self.amortized else 0)


class Prior(StackFlow):
    """The flows that map N(0, I) to the VAE's prior; training uses their inverse."""

    pattern: Pattern = Field(
        default=["affine-coupling"],
        **option(
            f"Flows of the prior, cycled until there are k; {SPELLED_OUT}",
            "--prior-flow",
            form=PATTERN,
        ),
    )
    k: K = Field(default=4, **option("Number of flows of the prior.", "--prior-k"))

    @property
    def title(self) -> str:
        """The flows and K: ``affine-coupling + full affine, K = 4``."""
        return f"{self.text}, K = {self.k}"


class WarmUp(Strict):
    """Annealing of the KL or the log-joint: its weight ``β`` rises from ``start`` to 1."""

    kind: Literal["kl", "log-joint"] = Field(
        default="kl", description="The KL alone, or the log-joint as in eq. 20 of the paper."
    )
    share: float = Field(
        default=0.0, ge=0, le=MOST_ANNEALED, description="Share of the training in which β rises."
    )
    start: float = Field(default=0.01, gt=0, le=1, description="β at the first update.")

    def updates(self, steps: int) -> int:
        """Updates in which β rises, of a training of ``steps``; 0 without annealing."""
        return max(round(self.share * steps), 1) if self.share else 0


class ValidationStopping(EarlyStopping):
    """Stop when the validation bound has not risen by ``min_delta`` for ``patience`` epochs."""

    patience: int = Field(default=20, ge=1, description="Epochs without improvement.")
    images: int = Field(default=10_000, ge=1, description="Training images that are held out.")


class VAETrain(TrainSettings):
    """Training of a VAE."""

    length_key: ClassVar[str] = "epochs"
    restarts: ClassVar[int] = 1
    members: ClassVar[int] = 1

    epochs: int = Field(default=100, ge=1, le=10**6, **option("Epochs over the training images."))
    batch_size: BatchSize = Field(default=100, description="Images per update.")
    learning_rate: LearningRate = 0.002
    schedule: Schedule = "cosine"
    warm_up: WarmUp = WarmUp()
    clip_norm: ClipNorm = None
    early_stopping: ValidationStopping | None = None
    chunk: Chunk = 100
    checkpoint_seconds: CheckpointSeconds = 30.0


class VAEEvaluate(Strict):
    """Evaluation of a VAE."""

    importance_samples: int = Field(
        default=200, ge=1, le=10**6, description="Latents per image for -log p(x)."
    )


PIXELS = 784


class VAEConfig(RunConfig):
    """A run of ``nflow train-vae``."""

    way: ClassVar[Way] = "forward"

    command: Annotated[Literal["train-vae"], COMMAND]
    data: Annotated[Data, BeforeValidator(by_name, json_schema_input_type=Data | str)] = Data()
    model: VAEModel = VAEModel()
    flow: VAEFlow = Field(default=VAEFlow(), validate_default=True)
    prior: Prior | None = None
    train: VAETrain = VAETrain()
    evaluate: VAEEvaluate = VAEEvaluate()

    @property
    def dim(self) -> int:
        """D of the latents."""
        return self.model.latent_dim

    @classmethod
    def dims(cls, data: Mapping[str, Any]) -> tuple[int, int]:
        model = data.get("model")
        return (model.latent_dim, model.hidden[-1]) if model else (0, 0)

    @field_validator("prior")
    @classmethod
    def _prior_can_be_trained(cls, prior: Prior | None, info: ValidationInfo) -> Prior | None:
        if prior is not None:
            expect_one_pass(prior, "inverse")
            expect_weights(prior, cls.dims(info.data)[0])
        return prior

    def expect_fits(self, data: Any) -> None:
        """Refuse a batch or a validation split larger than the training set."""
        images = "training images"
        n_images = data.n_train
        if self.train.early_stopping:
            images = "training images left by the validation split"
            n_images -= self.train.early_stopping.images
        size = self.train.batch_size
        if size > n_images:
            raise ConfigError(
                f"train.batch_size: expected at most the {max(n_images, 0):,} {images}. "
                f"Received: {size}"
            )

    @property
    def work(self) -> float:
        of_prior = self.prior.k if self.prior else 0
        return self.length * (8 + self.k + of_prior)

    @property
    def drawn(self) -> int:
        return self.rows * (PIXELS + self.model.latent_dim)

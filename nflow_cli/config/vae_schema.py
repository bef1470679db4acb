"""The schema of a VAE's training. No Keras here."""

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from nflow_cli.config.flow_schema import (
    Flow,
    Pattern,
    StackFlow,
    expect_one_pass,
    expect_weights,
)
from nflow_cli.config.strict import MAX_PATH, MAX_SEED, Strict, by_name
from nflow_cli.config.training_schema import Annealed

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


class Prior(StackFlow):
    """The flows that N(0, I) is pushed through for a VAE's prior: training runs their inverse."""

    pattern: Pattern = Field(default=["affine-coupling"], min_length=1)
    k: int = Field(default=4, ge=0, le=10_000)

    @property
    def title(self) -> str:
        """The flows and their number as text, such as ``affine-coupling + full affine, K = 4``."""
        return f"{self.text}, K = {self.k}"


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
    data: Annotated[Data, BeforeValidator(by_name, json_schema_input_type=Data | str)] = Data()
    model: VAEModel = VAEModel()
    flow: VAEFlow = Field(default=VAEFlow(), validate_default=True)
    prior: Prior | None = None
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
    def _can_be_trained(cls, flow: VAEFlow, info: ValidationInfo) -> VAEFlow:
        expect_one_pass(flow, "forward", "a posterior is fitted")
        if model := info.data.get("model"):
            expect_weights(flow, _weights(model, flow))
        return flow

    @field_validator("prior")
    @classmethod
    def _prior_can_be_trained(cls, prior: Prior | None, info: ValidationInfo) -> Prior | None:
        if prior is None:
            return None
        expect_one_pass(prior, "inverse", "a prior is fitted")
        model, flow = info.data.get("model"), info.data.get("flow")
        if model and flow:
            expect_weights(prior, _weights(model, flow) + prior.weights(model.latent_dim))
        return prior


def _weights(model: VAEModel, flow: VAEFlow) -> int:
    """Return about how many weights the networks of a VAE and the flows of its posterior have."""
    pairs = sum(a * b for a, b in pairwise([PIXELS, *model.hidden, 2 * model.latent_dim]))
    of_flows = flow.weights(model.latent_dim, model.hidden[-1] if flow.amortized else 0)
    return WEIGHTS_A_PAIR[model.network] * pairs + of_flows

"""VAEs with a flow posterior, trained on images."""

from pathlib import Path
from typing import Any, ClassVar

from nflow_cli.config.vae_schema import VAEConfig
from nflow_cli.errors import ConfigError
from nflow_cli.evaluation.warnings import ruined_images
from nflow_cli.experiments.experiment import (
    Course,
    Experiment,
    Identity,
    Measure,
    checksum_of_data,
)
from nflow_cli.experiments.images import rows
from nflow_cli.experiments.images.summary import ImagesSummary
from nflow_cli.experiments.rows import Judgement, Summary
from nflow_cli.runs.array_shapes import Shapes
from nflow_cli.runs.directory import RunDirectory

SHOWN = 64  # samples in the picture


class Images(Experiment):
    """Fit of a VAE to images, by ``nflow train-vae``."""

    config: VAEConfig
    column = "epoch"
    formats: ClassVar = (".npy",)
    beside: ClassVar = (".png",)
    measures = (
        Measure("negative_elbo", "−ELBO", "nats", 2, judges=True),
        Measure("negative_log_likelihood", "−log p(x)", "nats", 2, judges=True),
        Measure("seconds_per_epoch", "s/epoch", "", 1, has_spread=False),
    )
    course = Course("negative_elbo", "-ELBO (nats)")
    columns = ("epoch", "negative_elbo", "reconstruction", "kl", "beta")
    summary_type = ImagesSummary
    samples: ClassVar = (1, 5_000)
    fitting = "nflow_cli.experiments.images.fit:run"
    trying = "nflow_cli.experiments.images.fit:trial"
    drawing = "nflow_cli.plotting:vae_figures"
    checking = "nflow_cli.experiments.images.checks:CheckedImages"
    printed = rows
    rules: ClassVar = (ruined_images,)

    @property
    def shapes(self) -> Shapes:
        return {
            **{"base_latents": ("n", 2), "latents": ("n", 2), "latent_axes": (2,), "labels": "n?"},
            **{"originals": "mhw", "reconstructions": "mhw", "samples": "dhw"},
            **{"manifold": "rrhw", "manifold_axis": "r"},
            **({"prior_latents": ("p", 2)} if self.config.prior else {}),
        }

    def data(self, run: RunDirectory | None = None) -> Any:
        from nflow_cli.data.images import load_images
        from nflow_cli.experiments.data import images_of

        if run is not None:
            return images_of(run)
        return load_images(self.config.subject, fallback=self.config.data.fallback)

    def expect_fits(self, data: Any) -> None:
        """Refuse a batch or a validation split larger than the training set."""
        stopping, size = self.config.train.early_stopping, self.config.train.batch_size
        held_out = stopping.images if stopping else 0
        if size > data.n_train - held_out:
            raise ConfigError(
                "train.batch_size: expected at most the "
                f"{max(data.n_train - held_out, 0):,} training images"
                f"{' left by the validation split' if held_out else ''}. Received: {size}"
            )

    def load(self, run: RunDirectory) -> Any:
        from nflow_cli.experiments.images.vae import FlowVAE
        from nflow_cli.experiments.trained import TrainedVAE

        flow = self.config.flow
        arguments: dict[str, Any] = {"pattern": flow.pattern, "k": flow.k}
        arguments |= self.config.model.model_dump(include={"latent_dim", "network", "hidden"})
        arguments["amortized"] = flow.amortized
        arguments["prior"] = self.config.prior and self.config.prior.model_dump()
        model = FlowVAE(**arguments, seed=self.config.seed)
        self.load_weights(run, model, arguments)
        return TrainedVAE(run.path, self, model)

    def labels(self) -> dict[str, Any]:
        return {
            "amortized": self.config.flow.amortized,
            "latent_dim": self.config.model.latent_dim,
            "binarization": self.config.data.binarization,
            "prior": self.prior_title,
        }

    @property
    def prior_title(self) -> str | None:
        """Flows of the prior as text; ``None`` where it is N(0, I)."""
        return self.config.prior and self.config.prior.title

    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        from nflow_cli.data.images import binarize
        from nflow_cli.experiments.images.evaluation import evaluate_vae

        config, mode = self.config, self.config.data.binarization
        pixels = binarize(data.x_test, mode, config.seed, 0, "test")
        draws = samples or config.evaluate.importance_samples
        scores, _ = evaluate_vae(trained.model, pixels, draws, seed)
        warnings, flow = self.warnings({**recorded, **scores}), config.flow
        lines = [
            rows.data_row(data.name, mode, data.n_test),
            rows.flow_row(flow.text, flow.k, flow.amortized),
            *rows.prior_rows(self.prior_title),
            ("samples", f"{draws:,} an image, seed {seed}"),
            *rows.bound_rows(scores, config.model.latent_dim, warnings),
        ]
        return Judgement({"seed": seed, **scores}, lines, warnings)

    def read_data(self, name: str) -> Any:
        from nflow_cli.data.images import load_images

        return load_images(name, fallback=False)

    def write_samples(
        self, trained: Any, n: int, path: Path, seed: int, given: str | None = None
    ) -> list[Path]:
        """Write ``n`` images ``(n, 28, 28)``, and a picture of the first."""
        from nflow_cli import plotting
        from nflow_cli.runs.samples_file import write_file, write_npy

        images = (part for _, part in trained.batches(n, seed))
        write_file(path, lambda file: write_npy(file, (n, 28, 28), images))
        shown = trained.sample(min(n, SHOWN), seed)
        picture = path.with_suffix(*self.beside)
        what = f"decoded means of {len(shown)} draws from the prior"
        drawn = plotting.images_figure(shown, trained.path.resolve().name, what)
        write_file(picture, lambda file: plotting.save_figure(drawn, file, "png"))
        return [path, picture]

    def identity(self, summary: Summary) -> Identity:
        name = Path(summary["data"]["name"]).name
        return self.identity_of(f"{name} ({self.config.data.binarization})")

    def settings(self, summary: Summary) -> dict[str, str]:
        return {**checksum_of_data(summary), "prior": self.prior_title or "N(0, I)"}

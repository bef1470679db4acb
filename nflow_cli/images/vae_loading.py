"""Loaded VAEs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from keras import ops
from numpy.lib import format as npy
from numpy.typing import NDArray

from nflow_cli.arguments import room_for, whole_number
from nflow_cli.errors import DataError, NflowError
from nflow_cli.experiments.loaded import TrainedRun
from nflow_cli.experiments.run import Run
from nflow_cli.images.image_figures import images_figure
from nflow_cli.images.vae import FlowVAE
from nflow_cli.plotting.style import save_figure
from nflow_cli.random_streams import stream
from nflow_cli.runs import model_file
from nflow_cli.runs.directory import write_file

BATCH = 200  # images at a time
SHOWN = 64  # samples in the picture


class TrainedVAE(TrainedRun):
    """Finished train-vae run.

    Attributes:
        path: Run directory.
        config: Resolved preset.
        model: The VAE, a Keras model.
    """

    def __init__(self, run: Run, model: FlowVAE):
        super().__init__(run)
        self.model: FlowVAE = model

    def sample(self, n: int, seed: int = 0) -> NDArray[np.float32]:
        """Decode ``n`` draws from the prior: means of pixels ``(n, 28, 28)`` in [0, 1], float32."""
        images = room_for(n, (28, 28), np.float32)
        for start, part in self.batches(n, seed):
            images[start : start + len(part)] = part
        return images

    def batches(self, n: int, seed: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the images of :meth:`sample` in batches, with the number of images before."""
        for start in range(0, whole_number("n", n, error=DataError), BATCH):
            shape = (min(BATCH, n - start), self.model.latent_dim)
            noise = stream(seed, "samples", start // BATCH).standard_normal(shape, np.float32)
            latents = self.model.prior_latents(noise)
            yield start, ops.convert_to_numpy(self.model.decode(latents))

    def log_prob(self, x: Any) -> NoReturn:
        """Refuse: a VAE's likelihood has no closed form."""
        raise NflowError(
            "a VAE has no exact log_prob: `nflow evaluate RUN` estimates it by importance sampling"
        )


def load(run: Run) -> TrainedVAE:
    """VAE of a run."""
    config = run.config
    arguments: dict[str, Any] = {"pattern": config.flow.pattern, "k": config.flow.k}
    arguments |= config.model.model_dump(include={"latent_dim", "network", "hidden"})
    arguments["amortized"] = config.flow.amortized
    arguments["prior"] = config.prior and config.prior.model_dump()
    model = FlowVAE(**arguments, seed=config.seed)
    model_file.load_weights(run.directory, model, arguments)
    return TrainedVAE(run, model)


def write_samples(
    trained: TrainedVAE, n: int, path: Path, seed: int, given: str | None
) -> list[Path]:
    """Write ``n`` images ``(n, 28, 28)``, and a picture of the first."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (n, 28, 28)}

    def fill(file: BinaryIO) -> None:
        npy.write_array_header_1_0(file, header)
        for _, part in trained.batches(n, seed):
            file.write(part.astype("<f4").tobytes())

    write_file(path, fill)
    shown = trained.sample(min(n, SHOWN), seed)
    picture = path.with_suffix(".png")
    title = f"decoded means of {len(shown)} draws from the prior"
    figure = images_figure(shown, trained.path.resolve().name, title)
    write_file(picture, lambda file: save_figure(figure, file, "png"))
    return [path, picture]

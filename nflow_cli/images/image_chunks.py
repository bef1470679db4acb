"""Training batches of images, grouped into chunks of updates."""

import math

import numpy as np

from nflow_cli.images.images import binarize
from nflow_cli.images.vae_config import VAEConfig
from nflow_cli.random_streams import stream
from nflow_cli.training.chunks import Chunks


class ImageChunks(Chunks):
    """Training images of a VAE, shuffled and binarized anew each epoch.

    Item ``i`` is ``((pixels, noise), count)``: pixels ``(chunk, batch_size, 784)`` (uint8 of 0 and
    1, or float32 grey levels), noise ``(chunk, batch_size, D)`` from N(0, I), and the number
    ``(1,)`` of updates to run. An epoch leaves out images beyond its last whole batch, others each
    time.
    """

    def __init__(self, images: np.ndarray, config: VAEConfig):
        train = config.train
        self.images = images
        self.seed = config.seed
        self.mode = config.data.binarization
        self.latent_dim = config.model.latent_dim
        self.batch_size = train.batch_size
        self.epochs = train.epochs
        self.batches = len(images) // train.batch_size  # of an epoch
        self.steps = self.epochs * self.batches
        self.chunk = min(train.chunk, self.batches)
        self.chunks_per_epoch = math.ceil(self.batches / self.chunk)
        self.first = 0  # chunk
        self._epoch: tuple[int, np.ndarray] | None = None

    def start_at(self, update: int) -> None:
        """Skip the first ``update`` updates, which must be whole chunks."""
        epoch, batch = divmod(update, self.batches)
        self.first = epoch * self.chunks_per_epoch + batch // self.chunk

    def __len__(self) -> int:
        return self.epochs * self.chunks_per_epoch - self.first

    def __getitem__(self, index: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        number = self.first + index
        epoch, place = divmod(number, self.chunks_per_epoch)
        start = place * self.chunk
        count = min(self.chunk, self.batches - start)
        batches = self._shuffled(epoch)[start : start + count]
        pixels = np.zeros((self.chunk, *batches.shape[1:]), batches.dtype)
        pixels[:count] = batches
        shape = (self.chunk, self.batch_size, self.latent_dim)
        noise = stream(self.seed, "posterior-noise", number).standard_normal(shape, np.float32)
        return (pixels, noise), np.array([count], dtype=np.int32)

    def _shuffled(self, epoch: int) -> np.ndarray:
        """Batches of an epoch ``(batches, batch_size, 784)``; the last epoch is kept."""
        if self._epoch is None or self._epoch[0] != epoch:
            pixels = binarize(self.images, self.mode, self.seed, epoch, "train")
            order = stream(self.seed, "shuffle", epoch).permutation(len(pixels))
            order = order[: self.batches * self.batch_size]
            batches = pixels.reshape(len(pixels), -1)[order]
            self._epoch = epoch, batches.reshape(self.batches, self.batch_size, -1)
        return self._epoch[1]

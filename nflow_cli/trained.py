"""What a run trained, ready for use: samples and exact densities of a flow, images of a VAE."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from keras import ops

from nflow_cli.arguments import whole_number
from nflow_cli.densities.units import Standardisation
from nflow_cli.errors import DataError, NflowError, RunDirectoryError
from nflow_cli.flows import FlowStack
from nflow_cli.registry import BASES, TARGETS, resolve
from nflow_cli.run_data import units_of
from nflow_cli.run_dir import MODEL, RunDirectory
from nflow_cli.saving import load_model
from nflow_cli.streams import stream

CHUNK = 100_000  # points at a time: bounds the memory
IMAGES = 200  # images at a time
FAR = 1e15  # beyond it float32 squares overflow, and every density here is 0


class TrainedFlow:
    """The density ``q`` of a finished fit-2d run: its base pushed through its flows.

    Attributes:
        path: The run directory.
        config: The resolved preset.
        flow: The :class:`~nflow_cli.flows.FlowStack`, a Keras layer.
        base: The base distribution ``q0``.
        target: The density ``p`` that ``q`` was fitted to; ``None`` where it was points.
    """

    columns: ClassVar = ("z1", "z2", "log_q")
    dtype: ClassVar = np.float32

    def __init__(self, path: Path, config: Any, flow: FlowStack):
        self.path, self.config, self.flow = path, config, flow
        self.base = resolve(BASES[config.base_name])()
        self.target = None
        if (target := config.target) is not None:
            self.target = resolve(TARGETS[target.name])(**target.model_dump(exclude={"name"}))

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Draw ``n`` points ``(n, 2)``, of ``dtype``. Those of a smaller ``n`` come first."""
        points = np.empty((_counted(n), 2), self.dtype)
        for start, z, _ in self.batches(n, seed):
            points[start : start + len(z)] = z
        return points

    def batches(self, n: int, seed: int = 0) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Draw what :meth:`sample` does, some at a time.

        Yields:
            The number of points before, the points ``(m, 2)``, and ``log q(x) = log q0(z) -
            log|det df/dz|`` at them ``(m,)`` in nats.
        """
        for start in range(0, _counted(n), CHUNK):
            rng = stream(seed, "samples", start // CHUNK)
            z0 = ops.convert_to_tensor(self.base.sample(rng, (min(CHUNK, n - start), 2)))
            z, log_det = self.flow.forward_and_log_det(z0)
            log_q = self.base.log_prob(z0) - log_det
            yield start, ops.convert_to_numpy(z), ops.convert_to_numpy(log_q)

    def log_prob(self, x: Any) -> np.ndarray:
        """Return the exact ``log q(x) = log q0(f^-1(x)) + log|det df^-1/dx|`` in nats.

        Args:
            x: Points ``(..., 2)``.

        Returns:
            ``(...)``, of ``dtype``; ``-inf`` where ``q`` is 0: outside the image of a bounded base;
            NaN for a point with a NaN in it.

        Raises:
            DataError: If ``x`` are not numbers in rows of two.
        """
        points = _points(x)
        flat = np.clip(points, -FAR, FAR).astype(np.float32).reshape(-1, 2)
        log_q = np.empty(len(flat), np.float32)
        for start in range(0, len(flat), CHUNK):
            part = ops.convert_to_tensor(flat[start : start + CHUNK])
            z, log_det = self.flow.inverse_and_log_det(part)
            log_q[start : start + CHUNK] = ops.convert_to_numpy(self.base.log_prob(z) + log_det)
        log_q[np.abs(flat).max(axis=-1) >= FAR] = -np.inf
        return log_q.reshape(points.shape[:-1])


class TrainedOnPoints(TrainedFlow):
    """The density of a finished run on points, in the units of those points.

    Attributes:
        units: The standardisation: ``flow`` maps the base to standardised coordinates.
    """

    dtype: ClassVar = np.float64

    def __init__(self, path: Path, config: Any, flow: FlowStack, units: Standardisation):
        super().__init__(path, config, flow)
        self.units = units

    def batches(self, n: int, seed: int = 0) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Draw what :meth:`sample` does, some at a time, as :class:`TrainedFlow` does."""
        for start, z, log_q in super().batches(n, seed):
            yield start, self.units.outside(z), log_q.astype(np.float64) + self.units.log_det

    def log_prob(self, x: Any) -> np.ndarray:
        """Return the exact ``log q(x)`` in nats, the Jacobian of the standardisation included.

        Args:
            x: Points ``(..., 2)``.

        Returns:
            ``(...)``, float64.

        Raises:
            DataError: If ``x`` are not numbers in rows of two.
        """
        log_q = super().log_prob(self.units.inside(_points(x)))
        return log_q.astype(np.float64) + self.units.log_det

    def base_log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return the log-density ``(n,)`` in nats at ``x`` ``(n, 2)`` of the base without flows."""
        z = ops.convert_to_tensor(self.units.inside(x))
        return ops.convert_to_numpy(self.base.log_prob(z)) + self.units.log_det


class TrainedVAE:
    """A finished train-vae run.

    Attributes:
        path: The run directory.
        config: The resolved preset.
        model: The :class:`~nflow_cli.vae.FlowVAE`, a Keras model.
    """

    def __init__(self, path: Path, config: Any, model: Any):
        self.path, self.config, self.model = path, config, model

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Decode ``n`` draws from the prior: means of pixels ``(n, 28, 28)`` in [0, 1], float32."""
        images = np.empty((_counted(n), 28, 28), np.float32)
        for start, part in self.batches(n, seed):
            images[start : start + len(part)] = part
        return images

    def batches(self, n: int, seed: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """Decode what :meth:`sample` does, some at a time, with the number of images before."""
        for start in range(0, _counted(n), IMAGES):
            shape = (min(IMAGES, n - start), self.model.latent_dim)
            latents = stream(seed, "samples", start // IMAGES).standard_normal(shape, np.float32)
            yield start, ops.convert_to_numpy(self.model.decode(latents))

    def log_prob(self, x: Any) -> np.ndarray:
        """Refuse: the likelihood of a VAE has no closed form.

        Raises:
            NflowError: Always; it says what estimates the likelihood.
        """
        raise NflowError(
            "a VAE has no exact log_prob: `nflow evaluate RUN`, or in Python "
            "nflow_cli.vae_evaluation.evaluate_vae, estimate it by importance sampling"
        )


def load(run: str | Path) -> TrainedFlow | TrainedVAE:
    """Load what a run trained.

    Args:
        run: A run directory.

    Raises:
        NflowError: In one line, if it is no run directory, the run has no model yet, or a file of
            it is damaged.
    """
    directory = RunDirectory.open(str(run))
    resolved = directory.read_config()
    model = load_model(directory, resolved)
    _check_finite(directory, model)
    if resolved.command == "train-vae":
        return TrainedVAE(directory.path, resolved, model)
    if resolved.data is not None:
        return TrainedOnPoints(directory.path, resolved, model, units_of(directory, resolved.dim))
    return TrainedFlow(directory.path, resolved, model)


def _check_finite(directory: RunDirectory, model: Any) -> None:
    """Refuse a model that can say nothing but NaN."""
    lost = sum(int(np.sum(~np.isfinite(weight))) for weight in model.get_weights())
    if lost:
        count = model.count_params()
        raise RunDirectoryError(
            f"{directory.path / MODEL}: ruined: {lost:,} of its {count:,} weights are not finite; "
            "train again with a smaller learning rate"
        )


def _counted(n: int) -> int:
    return whole_number("n", n, error=DataError)


def _points(x: Any) -> np.ndarray:
    try:
        points = np.asarray(x)
        given = f"shape {points.shape}, dtype {points.dtype}"
        points = points.astype(np.float64) if points.dtype.kind in "fiub" else None
    except ValueError:  # rows of different lengths
        points, given = None, "rows of different lengths"
    if points is None or not points.ndim or points.shape[-1] != 2:
        raise DataError(f"expected points (..., 2): numbers in rows of two. Received: {given}")
    return points

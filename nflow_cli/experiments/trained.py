"""Loaded models: densities of flows, and VAEs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.arguments import room_for, whole_number
from nflow_cli.densities.log_density import units_of
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.errors import DataError, NflowError
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.experiments.trained_run import TrainedRun
from nflow_cli.flows import FlowStack
from nflow_cli.random_streams import stream
from nflow_cli.registry import BASES, INFER_BASES, TARGETS, make, resolve

IMAGES = 200  # images at a time


class TrainedDensity(TrainedRun, FlowDensity):
    """The density ``q`` of a finished fit-2d run: its base pushed through its flows.

    Attributes:
        path: The run directory.
        config: The resolved preset.
        flow: The :class:`~nflow_cli.flows.FlowStack`, a Keras layer.
        base: The base distribution ``q0``.
        target: The density ``p`` that ``q`` was fitted to.
    """

    def __init__(self, path: Path, experiment: Experiment, flow: FlowStack):
        config: Any = experiment.config
        super().__init__(resolve(BASES[config.base_name])(), flow)
        self.path, self.experiment = path, experiment
        self.target = make(TARGETS, config.target)


class TrainedInference(TrainedRun, FlowDensity):
    """The density ``q`` of a finished run of ``nflow infer``, in the user's units.

    Attributes:
        path: The run directory.
        config: The resolved preset.
        flow: The :class:`~nflow_cli.flows.FlowStack`, a Keras layer.
        base: The base distribution ``q0``.
        units: Take what lies between bounds to all of R.
    """

    def __init__(self, path: Path, experiment: Experiment, flow: FlowStack):
        config: Any = experiment.config
        units = units_of(config.density.columns, config.density.bounds)
        super().__init__(make(INFER_BASES, config.base), flow, units)
        self.path, self.experiment = path, experiment

    @property
    def columns(self) -> list[str]:
        """The names of the D coordinates."""
        return self.config.density.columns

    @property
    def inside(self) -> FlowDensity:
        """The density of the coordinates of the flows, in which there are no bounds."""
        return FlowDensity(self.base, self.flow)


class TrainedVAE(TrainedRun):
    """A finished train-vae run.

    Attributes:
        path: The run directory.
        config: The resolved preset.
        model: The :class:`~nflow_cli.experiments.images.vae.FlowVAE`, a Keras model.
    """

    def __init__(self, path: Path, experiment: Experiment, model: Any):
        self.path, self.experiment, self.model = path, experiment, model

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Decode ``n`` draws from the prior: means of pixels ``(n, 28, 28)`` in [0, 1], float32.

        Raises:
            DataError: ``n`` is no whole number, or more than memory holds.
        """
        images = room_for(n, (28, 28), np.float32)
        for start, part in self.batches(n, seed):
            images[start : start + len(part)] = part
        return images

    def batches(self, n: int, seed: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the images of :meth:`sample` in batches, with the number of images before."""
        for start in range(0, whole_number("n", n, error=DataError), IMAGES):
            shape = (min(IMAGES, n - start), self.model.latent_dim)
            noise = stream(seed, "samples", start // IMAGES).standard_normal(shape, np.float32)
            latents = self.model.prior_latents(noise)
            yield start, ops.convert_to_numpy(self.model.decode(latents))

    def log_prob(self, x: Any) -> np.ndarray:
        """Refuse: the likelihood of a VAE has no closed form.

        Raises:
            NflowError: Always; it says what estimates the likelihood.
        """
        raise NflowError(
            "a VAE has no exact log_prob: `nflow evaluate RUN` estimates it by importance sampling"
        )

"""Loaded models: densities of flows, and VAEs."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.arguments import room_for, whole_number
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.densities.targets import Target
from nflow_cli.errors import DataError, NflowError
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.experiments.trained_run import TrainedRun
from nflow_cli.random_streams import stream
from nflow_cli.registry import TARGETS, make

IMAGES = 200  # images at a time


class TrainedFlows(TrainedRun, FlowDensity):
    """The trained density ``q`` of flows, of a finished run.

    Attributes:
        path: Run directory.
        config: Resolved preset.
        flow: :class:`~nflow_cli.flows.FlowStack`, a Keras layer.
        base: Base distribution ``q0``.
        units: From user units to the coordinates of the flows.
    """

    def __init__(self, path: Path, experiment: Experiment, *parts: Any):
        TrainedRun.__init__(self, path, experiment)
        FlowDensity.__init__(self, *parts)


class TrainedDensity(TrainedFlows):
    """Density ``q`` of a finished fit-2d run, a :class:`TrainedFlows`."""

    @cached_property
    def target(self) -> Target:
        """Density ``p`` that was fitted."""
        return make(TARGETS, self.config.target)


class TrainedInference(TrainedFlows):
    """Density ``q`` of a finished run of ``nflow infer``, in user units."""

    @property
    def columns(self) -> list[str]:
        """Names of the D coordinates."""
        return self.config.density.columns

    @property
    def inside(self) -> FlowDensity:
        """Density in the coordinates of the flows, without bounds."""
        return FlowDensity(self.base, self.flow)

    @cached_property
    def target(self) -> Target | None:
        """Built-in density ``p`` that was fitted; ``None`` of a user's function."""
        return self.experiment.data().target if self.config.density.is_built_in else None

    def to_arviz(self, n: int = 10_000, seed: int = 0) -> Any:
        """ArviZ's InferenceData of ``n`` draws: one chain, a variable for each coordinate.

        ``sample_stats`` has ``log_q``, of a built-in density also the unnormalised ``log_prob``, in
        nats; the attributes have k-hat and log Z of the run.
        """
        from nflow_cli.experiments.inference_data import inference_data

        return inference_data(self, self.target, n, seed)


class TrainedVAE(TrainedRun):
    """Finished train-vae run.

    Attributes:
        path: Run directory.
        config: Resolved preset.
        model: :class:`~nflow_cli.experiments.images.vae.FlowVAE`.
    """

    def __init__(self, path: Path, experiment: Experiment, model: Any):
        super().__init__(path, experiment)
        self.model = model

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Decode ``n`` draws from the prior: means of pixels ``(n, 28, 28)`` in [0, 1], float32."""
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
        """Refuse: a VAE's likelihood has no closed form."""
        raise NflowError(
            "a VAE has no exact log_prob: `nflow evaluate RUN` estimates it by importance sampling"
        )

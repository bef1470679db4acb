"""A run that is checked, and what its checks share."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.errors import RunDirectoryError
from nflow_cli.evaluation import Evaluation, evaluate_samples
from nflow_cli.evaluation_arrays import ARRAYS
from nflow_cli.flow_checks import Flows, Verdict, as_arrays, passed
from nflow_cli.images import binarize
from nflow_cli.run_data import data_of
from nflow_cli.run_dir import ESTIMATES, EVALUATION, FILES, RUN, SUMMARY, RunDirectory
from nflow_cli.streams import stream
from nflow_cli.vae_evaluation import NATS, OF_LATENTS

POINTS = 256  # base samples at which a 2-D stack is checked
IMAGES = 8  # whose posteriors are
# Of figures computed again, times 1 + the figure: less than the last digit of what is printed, and
# well above what rounding in float32 does to a mean.
REPLAY_TOLERANCE = 2e-6
# Of arrays computed again: that of log-densities, times 1 + their size; that of others, in
# standard deviations; and how many numbers may be off by more, where rounding is amplified.
LOG_TOLERANCE, ARRAY_TOLERANCE, FEW = 1e-4, 1e-3, 1e-3


class CheckedRun:
    """A run and what its checks share."""

    def __init__(self, directory: RunDirectory, trained: Any):
        self.directory, self.trained, self.config = directory, trained, trained.config

    @property
    def model(self) -> Any:
        """The model that was saved: a flow stack or a VAE."""
        return self.trained.flow if self.config.command == "fit-2d" else self.trained.model

    @cached_property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` holds."""
        return self.directory.read_json(RUN)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` holds."""
        return self.directory.read_json(SUMMARY)

    @cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """The columns of ``metrics.csv``."""
        return self.directory.read_metrics()

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """What ``evaluation.npz`` holds."""
        return self.directory.read_evaluation(ARRAYS[self.config.experiment])

    @cached_property
    def estimates(self) -> dict[str, np.ndarray] | None:
        """What ``estimates.npz`` holds for each test image; ``None`` of an older run."""
        if not self.directory.has(ESTIMATES):
            return None
        n, d = len(self.pixels), self.model.latent_dim
        shapes = {**dict.fromkeys(NATS, (n,)), **dict.fromkeys(OF_LATENTS, (n, d))}
        return self.directory.read_estimates(shapes)

    @property
    def is_older(self) -> bool:
        """Whether the run ended before runs recorded the SHA-256 of their files."""
        return FILES not in self.record

    def lacks(self, key: str) -> bool:
        """Return whether the summary of an older run, which holds fewer figures, has none of it."""
        return self.is_older and key not in self.summary

    def figure(self, key: str) -> float:
        """Return a figure of the summary."""
        value: Any = self.summary.get(key)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise RunDirectoryError(f"{SUMMARY}: {key}: expected a number, received {value!r:.60}")
        return float(value)

    def unlike(self, key: str, expected: np.ndarray) -> list[str]:
        """Say by how much an array of ``evaluation.npz`` is not the one expected."""
        return unlike(f"{EVALUATION}: {key}", expected, self.arrays[key])

    @cached_property
    def flows(self) -> Flows:
        """The flows in float64, and points to check them at."""
        flow = self.model if self.config.command == "fit-2d" else self.model.flow
        if self.config.command == "fit-2d":
            shape = (POINTS, self.trained.dim)
            points = self.trained.base.sample(stream(self.config.seed, "check"), shape)
            parameters = flow.parameters
        else:
            pixels = self.pixels[:IMAGES]
            shape = (4, len(pixels), self.model.latent_dim)
            noise = stream(self.config.seed, "check").standard_normal(shape, np.float32)
            points = ops.convert_to_numpy(self.model.posterior(pixels, noise)["z0"])
            context = self.model.encoder(pixels.reshape(-1, 784).astype("float32"))[2]
            parameters = flow.parameters_at(context) if self.model.amortized else flow.parameters
        return Flows(flow.pattern, flow.k, as_arrays(parameters), points.astype(np.float64))

    @cached_property
    def evaluation(self) -> Evaluation:
        """The draws that the summary of a fit to a target was computed from, judged again."""
        density, samples = self.trained, self.config.evaluate.samples
        return evaluate_samples(density, density.target, self.config.seed, samples)

    @cached_property
    def data(self) -> Any:
        """The images or points that the run was trained on and judged by."""
        return data_of(self.directory, self.config)

    @cached_property
    def pixels(self) -> np.ndarray:
        """The test images, as the run was judged by them."""
        images = self.data.x_test
        return binarize(images, self.config.data.binarization, self.config.seed, 0, "test")


def differences(file: str, expected: Mapping[str, Any], received: Mapping[str, Any]) -> list[str]:
    """Say which values of a file are not those expected."""
    return [
        f"{file}: {key}: expected {value!r:.80}, received {received.get(key)!r:.80}"
        for key, value in expected.items()
        if received.get(key) != value
    ]


def agree(
    run: CheckedRun, figures: Mapping[str, Any], source: str, tolerance: float = REPLAY_TOLERANCE
) -> Verdict:
    """Compare figures that were computed again with those of the summary."""
    wrong, shown = [], []
    for key, value in figures.items():
        if run.lacks(key):
            continue
        if not isinstance(value, int | float) or not math.isfinite(value):
            same = (
                None if isinstance(value, float) else value
            )  # JSON has no numbers but finite ones
            wrong += differences(SUMMARY, {key: same}, run.summary)
            continue
        recorded = run.figure(key)
        shown.append(f"{key} {value}" if isinstance(value, int) else f"{key} {value:.5f}")
        if not abs(value - recorded) <= tolerance * max(1.0, abs(value)):
            wrong.append(f"{key}: expected {value:.6g}, received {recorded:.6g}")
    return passed(not wrong), "; ".join(wrong) or f"{', '.join(shown)} {source}"


def unlike(name: str, expected: np.ndarray, received: np.ndarray, nats: bool = False) -> list[str]:
    """Say by how much an array is not the one expected, beyond rounding; it may be of ``nats``."""
    if expected.shape != received.shape:
        return [f"{name}: expected shape {expected.shape}, received {received.shape}"]
    expected, received = expected.astype(np.float64), received.astype(np.float64)
    with np.errstate(invalid="ignore"):
        off = np.where(expected == received, 0.0, np.abs(expected - received))
        if nats:
            allowed = LOG_TOLERANCE * (1 + np.abs(expected))
        else:  # points have a unit for each column
            columns = -2 if expected.ndim > 1 and expected.shape[-1] == 2 else None
            spread = expected.std(axis=columns, keepdims=True) if expected.size else 0.0
            allowed = ARRAY_TOLERANCE * spread
        wrong = ~(off <= allowed) & ~(np.isnan(expected) & np.isnan(received))
    if wrong.sum() <= FEW * wrong.size:
        return []
    return [f"{name}: {wrong.mean():.0%} of its numbers are others"]

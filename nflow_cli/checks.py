"""Verify a run by itself: its model against mathematics, its figures against fresh draws."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.caveats import caveats_of, is_dominated, records
from nflow_cli.config import fingerprint, read_preset
from nflow_cli.errors import NflowError, RunDirectoryError
from nflow_cli.evaluation import score
from nflow_cli.flow_checks import (
    Flows,
    Verdict,
    as_arrays,
    check_log_det,
    check_margin,
    check_round_trip,
)
from nflow_cli.images import binarize
from nflow_cli.run_data import data_of
from nflow_cli.run_dir import CONFIG, MODEL, RUN, SUMMARY, RunDirectory
from nflow_cli.saving import expected_arguments, weights_sha256
from nflow_cli.schema import MAX_SEED
from nflow_cli.scores import held_out_figures, log_ratios, mass_of
from nflow_cli.streams import stream
from nflow_cli.trained import TrainedFlow, TrainedOnPoints, load

POINTS = 256  # base samples at which a 2-D stack is checked
MASS_TOLERANCE, BOUNDED_MASS_TOLERANCE = 1e-3, 5e-3  # a density that jumps is harder to sum
REPLAY_TOLERANCE = 1e-4  # of figures from the same draws: rounding differs between machines
SIGMAS = 4.0
IMAGES, BOUND_IMAGES, BOUND_DRAWS = 8, 500, 10


@dataclass(frozen=True)
class Finding:
    """One check: its name, whether it passed, and its figures or what was wrong."""

    name: str
    passed: bool
    detail: str


def check_run(path: str) -> Iterator[Finding]:
    """Check a run, one thing after another.

    Raises:
        RunDirectoryError: If ``path`` is not a run directory.
    """
    directory = RunDirectory.open(path)
    try:
        run = _Run(directory, load(path))
    except NflowError as error:
        yield Finding("model", False, str(error))
        return
    yield Finding("model", True, f"{MODEL} holds the {type(run.model).__name__} of {CONFIG}")
    for name, check in _checks_of(run.trained).items():
        try:
            with np.errstate(all="ignore"):  # weights that are not finite fail, and that is all
                passed, detail = check(run)
        except NflowError as error:
            passed, detail = False, str(error)
        yield Finding(name, passed, detail)


def _checks_of(trained: Any) -> dict[str, Callable[["_Run"], Verdict]]:
    if isinstance(trained, TrainedOnPoints):
        return POINTS_CHECKS
    return FLOW_CHECKS if isinstance(trained, TrainedFlow) else VAE_CHECKS


class _Run:
    """A run and what its checks share."""

    def __init__(self, directory: RunDirectory, trained: Any):
        self.directory, self.trained, self.config = directory, trained, trained.config

    @property
    def model(self) -> Any:
        return self.trained.flow if self.config.command == "fit-2d" else self.trained.model

    @cached_property
    def record(self) -> dict[str, Any]:
        return self.directory.read_json(RUN)

    @cached_property
    def summary(self) -> dict[str, Any]:
        return self.directory.read_json(SUMMARY)

    def figure(self, key: str) -> float:
        """Return a figure of the summary."""
        value: Any = self.summary.get(key)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise RunDirectoryError(f"{SUMMARY}: {key}: expected a number, received {value!r:.60}")
        return float(value)

    @cached_property
    def flows(self) -> Flows:
        """The flows in float64, and points to check them at."""
        flow = self.model if self.config.command == "fit-2d" else self.model.flow
        if self.config.command == "fit-2d":
            points = self.trained.base.sample(stream(self.config.seed, "check"), (POINTS, 2))
            parameters = flow.parameters
        else:
            shape = (4, len(self.some_pixels), self.model.latent_dim)
            noise = stream(self.config.seed, "check").standard_normal(shape, np.float32)
            points = ops.convert_to_numpy(self.model.posterior(self.some_pixels, noise)["z0"])
            context = self.model.encoder(self.some_pixels.reshape(-1, 784).astype("float32"))[2]
            parameters = flow.parameters_at(context) if self.model.amortized else flow.parameters
        return Flows(flow.pattern, flow.k, as_arrays(parameters), points.astype(np.float64))

    @cached_property
    def data(self) -> Any:
        """The images or points that the run was trained on and judged by."""
        return data_of(self.directory, self.config)

    @cached_property
    def pixels(self) -> np.ndarray:
        """The test images, as the run was judged by them."""
        images = self.data.x_test
        return binarize(images, self.config.data.binarization, self.config.seed, 0, "test")

    @property
    def some_pixels(self) -> np.ndarray:
        return self.pixels[:IMAGES]

    def scores(self, seed: int) -> dict[str, Any]:
        """Return the figures of a 2-D fit from as many samples as its summary's."""
        ratios = log_ratios(self.trained, self.config.evaluate.samples, seed)
        return score(ratios, getattr(self.trained.target, "log_z", None))

    @cached_property
    def replayed(self) -> dict[str, Any]:
        """The figures from the summary's own draws."""
        return self.scores(self.config.seed)


def check_status(run: _Run) -> Verdict:
    """Check that the run ended well."""
    status = run.record.get("status")
    return status == "completed", f"{status!r:.60}".strip("'")


def check_record(run: _Run) -> Verdict:
    """Check that config.yaml, run.json, summary.json and the model say the same."""
    config, summary = run.config, run.summary
    expected = {
        "flow": ",".join(config.flow.pattern),
        "k": config.flow.k,
        "seed": config.seed,
        "n_parameters": run.model.count_params(),
    }
    if config.command == "fit-2d":
        log_z = getattr(run.trained.target, "log_z", None)
        target = None if config.target is None else config.target.name
        expected |= {"target": target, "base": config.base_name, "log_z": log_z}
        if config.train.early_stopping is None:
            expected["steps"] = config.train.steps
    else:
        expected |= {"amortized": config.flow.amortized, "latent_dim": config.model.latent_dim}
        expected["binarization"] = config.data.binarization
        if config.train.early_stopping is None:
            expected["epochs"] = config.train.epochs
    expected["config_sha256"] = fingerprint(read_preset(run.directory.path / CONFIG))
    recorded = {"command": config.command, "seed": config.seed}
    wrong = _differences(SUMMARY, expected, summary) + _differences(RUN, recorded, run.record)
    named = ", ".join(f"{key} {expected[key]}" for key in ("flow", "k", "seed"))
    return not wrong, "; ".join(wrong) or f"{CONFIG}, {RUN}, {SUMMARY} and the model agree: {named}"


def _differences(file: str, expected: Mapping[str, Any], received: Mapping[str, Any]) -> list[str]:
    return [
        f"{file}: {key}: expected {value!r:.80}, received {received.get(key)!r:.80}"
        for key, value in expected.items()
        if received.get(key) != value
    ]


def check_weights(run: _Run) -> Verdict:
    """Check that the weights have the shapes that the config gives them."""
    fresh = type(run.model)(**expected_arguments(run.config), seed=0)
    if run.config.command == "fit-2d":
        fresh.build((None, 2))
    expected = [(tuple(w.shape), w.dtype) for w in fresh.weights]
    received = [(tuple(w.shape), w.dtype) for w in run.model.weights]
    if expected != received:
        return False, f"expected shapes {expected!r:.80}, received {received!r:.80}"
    return True, f"{len(expected)} arrays, {run.model.count_params():,} numbers, all finite"


def check_checksum(run: _Run) -> Verdict:
    """Check that the weights are, to the bit, those that training ended with."""
    expected, received = run.summary.get("model_sha256"), weights_sha256(run.model)
    if expected != received:
        return False, f"expected SHA-256 {expected!r:.80}, received {received}"
    return True, f"SHA-256 {received[:12]}… of the weights, as recorded"


def check_caveats(run: _Run) -> Verdict:
    """Check that the summary says which of its figures it cannot vouch for."""
    expected = records(caveats_of(run.config, run.summary))
    named = ", ".join(caveat["word"] for caveat in expected) or "none"
    if "caveats" not in run.summary:  # an older run
        return True, f"{named}; the summary has no list"
    received = run.summary["caveats"]
    wrong = f"{SUMMARY}: caveats: expected {named}, received {received!r:.80}"
    return received == expected, named if received == expected else wrong


def check_mass(run: _Run) -> Verdict:
    """Integrate ``q`` where its samples are; what could not be resolved is no failure."""
    bounded = run.trained.base.bounded
    tolerance = BOUNDED_MASS_TOLERANCE if bounded else MASS_TOLERANCE
    found, error = mass_of(run.trained)
    if math.isnan(found):
        return False, "q has samples that are not finite"
    recorded = run.figure("mass")
    passed = all(abs(value - 1) <= tolerance + error for value in (found, recorded))
    return passed, f"{found:.5f} ± {error:.5f}, {recorded:.5f} in the summary"


def check_replay(run: _Run) -> Verdict:
    """Compute the summary's figures again, from its own draws."""
    keys = ("kl", "kl_standard_error", "free_energy", "ess")
    # The KL is None where log Z is not known.
    known = {key: run.replayed[key] for key in keys if run.replayed[key] is not None}
    return _agree(run, known, "from the same draws")


def _agree(run: _Run, figures: Mapping[str, float], source: str) -> Verdict:
    """Compare figures with those of the summary."""
    wrong, shown = [], []
    for key, value in figures.items():
        recorded = run.figure(key)
        shown.append(f"{key} {value:.5f}")
        if not abs(value - recorded) <= REPLAY_TOLERANCE * max(1.0, abs(value)):
            wrong.append(f"{key}: expected {value:.5f}, received {recorded:.5f}")
    return not wrong, "; ".join(wrong) or f"{', '.join(shown)} {source}"


def check_fresh(run: _Run) -> Verdict:
    """Compute the summary's figures from fresh draws, within 4 standard errors of both."""
    fresh = run.scores((run.config.seed + 1) % (MAX_SEED + 1))
    errors = {"kl": "kl_standard_error", "free_energy": "kl_standard_error"}
    if not (is_dominated(fresh) or is_dominated(run.replayed)):
        errors["ess"] = "ess_standard_error"
    passed, shown = True, []
    for key, error in errors.items():
        if fresh[key] is None:
            continue
        combined = math.hypot(fresh[error], run.replayed[error])
        away = abs(fresh[key] - run.figure(key)) / max(combined, 1e-7)
        passed = passed and away <= SIGMAS
        shown.append(f"{key} {fresh[key]:.5f} ({away:.1f} s.e. away)")
    if "ess" not in errors:
        shown.append("ess not compared: a few samples outweigh the others")
    return passed, ", ".join(shown)


def check_data(run: _Run) -> Verdict:
    """Find the test images again."""
    recorded = run.summary.get("data")
    n = recorded.get("n_test") if isinstance(recorded, dict) else None
    return n == len(run.pixels), f"{len(run.pixels):,} test images found again"


def check_points(run: _Run) -> Verdict:
    """Find the points again, and the standardisation that they give."""
    data, units = run.data, run.trained.units
    expected = {**data.sizes, "data": {"name": data.name, "sha256": data.sha256}}
    wrong = _differences(SUMMARY, expected, run.summary)
    for key, value in data.units.record().items():
        recorded = units.record()[key]
        if not np.allclose(recorded, value, rtol=1e-9, atol=0):  # sums differ between machines
            wrong.append(f"{RUN}: {key}: expected {value}, received {recorded}")
    return not wrong, "; ".join(wrong) or f"{sum(data.sizes.values()):,} points found again"


def check_held_out(run: _Run) -> Verdict:
    """Compute the summary's figures again, from the test points."""
    return _agree(run, held_out_figures(run.trained, run.data), "from the test points")


def check_bound(run: _Run) -> Verdict:
    """Compute the bound again on some test images, within 4 standard errors."""
    from nflow_cli.vae_evaluation import ImportanceSampler

    parts = run.figure("reconstruction") + run.figure("kl")
    recorded = run.figure("negative_elbo")
    if abs(parts - recorded) > REPLAY_TOLERANCE * max(1.0, abs(recorded)):
        return False, f"{SUMMARY}: negative_elbo is not reconstruction + kl"
    chosen = np.unique(np.linspace(0, len(run.pixels) - 1, BOUND_IMAGES).astype(int))
    seed = (run.config.seed + 1) % (MAX_SEED + 1)
    found = ImportanceSampler(run.model, BOUND_DRAWS, seed).over(run.pixels[chosen])
    bound = found["reconstruction"] + found["kl"]
    n, mean = len(bound), float(bound.mean())
    error = float(bound.std(ddof=1) / math.sqrt(n)) if n > 1 else math.inf
    combined = error * math.sqrt(1 + n / len(run.pixels))
    text = f"-ELBO {mean:.2f} ± {error:.2f} nats on {n} test images"
    return abs(mean - recorded) <= SIGMAS * combined, f"{text}, {recorded:.2f} in the summary"


_OF_FLOWS: dict[str, Callable[[_Run], Verdict]] = {
    "invertibility": lambda run: check_margin(run.flows),
    "log-det": lambda run: check_log_det(run.flows),
    "round trip": lambda run: check_round_trip(run.flows),
}
_OF_FILES: dict[str, Callable[[_Run], Verdict]] = {
    "status": check_status,
    "record": check_record,
    "weights": check_weights,
    "checksum": check_checksum,
    "caveats": check_caveats,
}
FLOW_CHECKS = {
    **_OF_FILES,
    **_OF_FLOWS,
    "mass": check_mass,
    "summary": check_replay,
    "fresh draws": check_fresh,
}
POINTS_CHECKS = {
    **_OF_FILES,
    "data": check_points,
    **_OF_FLOWS,
    "mass": check_mass,
    "summary": check_held_out,
}
VAE_CHECKS = {**_OF_FILES, "data": check_data, **_OF_FLOWS, "bound": check_bound}

"""Training of flow stacks by reverse KL."""

from typing import Any, NamedTuple

from nflow_cli.densities.log_density import units_of
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.evaluation.mass import mass_of
from nflow_cli.evaluation.motion import density_arrays
from nflow_cli.evaluation.reverse_kl import (
    RESAMPLED_FROM,
    arrays_of,
    base_energy,
    resampled,
    sample_size,
    score,
)
from nflow_cli.experiments.loaded_flows import stack_of
from nflow_cli.experiments.reverse_kl.data import Config, Subject
from nflow_cli.experiments.reverse_kl.members import starts_of, with_missed_modes
from nflow_cli.experiments.reverse_kl.trainer import ReverseKL, ReverseKLOnArrays
from nflow_cli.experiments.reverse_kl.trial import compiling
from nflow_cli.experiments.summary import Fitted, Judged, RestartsRecord
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.model_file import save_model
from nflow_cli.training.budget import Cost, pace, seconds_of
from nflow_cli.training.observers import Clock, MetricsLog, Speed
from nflow_cli.training.progress import ProgressReport, nats_text, phase
from nflow_cli.training.restarts import Restarts, plan
from nflow_cli.training.session import Session
from nflow_cli.training.stopping import Plateau

TIMED = 20_000  # draws, in a trial
OTHERS = 3.0  # times their resampling: missed mass, rounding


class Training(NamedTuple):
    """Result of a training: updates, speed, and the record of its restarts."""

    steps: int
    speed: Speed
    restarts: RestartsRecord


def build(config: Config, target: Any) -> ReverseKL:
    """Build and compile the model of a run."""
    density = FlowDensity(config.new_base(), stack_of(config))
    of = ReverseKLOnArrays if getattr(target, "takes_arrays", False) else ReverseKL
    model = of(density, target, config.train.annealed)
    model.xla, model.start_width = config.train.compile, config.train.start_width
    model.path_from = config.train.path_from(config.flow.pattern)
    model.prepare(config.train, config.train.steps)
    return model


def trial(config: Config, subject: Subject) -> Cost:
    """Time the scores of a model, by a resampling, and its updates.

    An update of the first stage is taken to last as long as any.
    """
    settings, target = config.train, subject.target
    with compiling(settings.compile):
        model = build(config, target)
        units, n = units_of(config.columns, config.bounds), TIMED // RESAMPLED_FROM
        for _ in range(2):  # the first compiles
            seconds = seconds_of(lambda: resampled(model.density, target, units, config.seed, n))
        restarts = Restarts(model, config)
        update, one_program = pace(restarts.trainer, restarts.chunks(settings.steps))
    rungs = plan(settings.restarts, settings.steps, settings.chunk, settings.halving)
    scoring = seconds * (config.evaluate.samples / TIMED + OTHERS)
    return Cost(update, len(rungs) * one_program + settings.first_stage * update + scoring)


def train(
    model: ReverseKL,
    config: Config,
    directory: RunDirectory | None = None,
) -> Training:
    """Train ``model`` as ``config.train`` specifies, in ``directory`` if given: logged and
    resumable.
    """
    settings = config.train
    clock, restarts = Clock(), Restarts(model, config)
    name = "free energy" if model.target.log_z is None else "KL"

    def note(logs: Any) -> str:
        return f"{name} {nats_text(float(logs['kl']))} nats"

    with Session(
        config,
        settings.steps,
        directory,
        log=MetricsLog(clock),
        progress=ProgressReport(settings.steps, clock, note),
        observers=_stopping(config, clock),
        parts=[restarts],
    ) as session:
        restarts.train(session)
    return Training(clock.steps, clock.speed(), RestartsRecord(**restarts.record()))


def _stopping(config: Config, clock: Clock) -> list[Any]:
    train, stopping = config.train, config.train.early_stopping
    if stopping is None:
        return []
    start = max(train.annealed.updates, train.path_from(config.flow.pattern) or 0)
    return [Plateau(**stopping.model_dump(), clock=clock, start=start)]


def judged(config: Config, density: FlowDensity, target: Any) -> Judged:
    """Scores of a density by its draws, and its arrays: with a grid those of the plane."""
    seed, grid = config.seed, config.evaluate.grid
    parts = density, target, units_of(config.columns, config.bounds)
    n = sample_size(config.evaluate.samples, density)
    with phase(f"scoring: {n:,} draws"):
        judgement = score(*parts, config.columns, seed, n, starts_of(config))
    scores = {
        **judgement.scores,
        "has_exact_samples": target.sample is not None,
        "member_weights": density.member_weights.tolist(),
    }
    if grid is None:
        with phase("preparing pictures"):
            return Judged(scores, arrays_of(*parts, seed, judgement))
    scores |= base_energy(density.base, target, seed, n)
    with phase("preparing pictures"):
        first = next(density.draw(n, lambda _: stream(seed, "evaluation")))
        return Judged(scores, density_arrays(density, target, first, seed, grid))


def run(config: Config, directory: RunDirectory, subject: Subject) -> Fitted:
    """Train or resume in ``directory``, score and save."""
    model = build(config, subject.target)
    with compiling(config.train.compile):
        training = train(model, config, directory)
        density, member_seconds = with_missed_modes(model, config)
    model_sha256 = save_model(directory, density.flow)
    scores, arrays = judged(config, density, subject.target)
    facts = {
        **scores,
        "steps": training.steps,
        "n_parameters": density.flow.count_params(),
        "model_sha256": model_sha256,
        **training.speed._asdict(),
        "restarts": training.restarts.judged(scores),
        "member_seconds": member_seconds,
    }
    if config.evaluate.grid is not None:
        facts |= dict(zip(("mass", "mass_error"), mass_of(density, config.seed)))
    return Fitted(facts, arrays)

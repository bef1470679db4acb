"""Training of flow stacks by reverse KL."""

from collections.abc import Mapping, Sequence
from typing import Any

from nflow_cli.data.units import units_of
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.densities.target import Target
from nflow_cli.evaluation.mass import mass_of
from nflow_cli.experiments.summary import Fitted, RestartsRecord
from nflow_cli.inference.members import initial_flows, with_missed_modes
from nflow_cli.inference.restarts import Restarts, plan
from nflow_cli.inference.reverse_kl import RESAMPLED_FROM, resampled
from nflow_cli.inference.reverse_kl_data import Config, DensityTrain, Subject, starts_of
from nflow_cli.inference.reverse_kl_scoring import judged
from nflow_cli.inference.reverse_kl_trainer import ReverseKL, ReverseKLOnArrays, compiling
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.model_file import save_model
from nflow_cli.training.budget import Cost, pace, seconds_of
from nflow_cli.training.observers import Clock, MetricsLog, ProgressReport, nats_text
from nflow_cli.training.session import Session
from nflow_cli.training.stopping import Plateau

TIMED = 20_000  # draws, in a trial
OTHER_SCORES = 3.0  # missed mass and rounding, in times of the draws' resampling


def build(config: Config, target: Target) -> ReverseKL:
    """Build and compile the model of a run."""
    density = PushforwardDensity(
        config.new_base(), initial_flows(config.flow, config.dim, config.seed)
    )
    trainer = ReverseKLOnArrays if getattr(target, "takes_arrays", False) else ReverseKL
    model = trainer(density, target, config.train.annealed)
    model.xla = config.train.compile
    model.start_width = config.train.start_width
    model.path_from = config.train.path_from(config.flow.pattern)
    model.prepare(config.train, config.train.steps)
    return model


def trial(config: Config, subject: Subject) -> Cost:
    """Time the scores of a model, by a resampling, and its updates.

    An update of the first stage is taken to last as long as any.
    """
    train = config.train
    units = units_of(config.columns, config.bounds)
    n = TIMED // RESAMPLED_FROM
    with compiling(train.compile):
        model = build(config, subject.target)

        def draw() -> None:
            resampled(model.density, subject.target, units, config.seed, n)

        seconds_of(draw)  # compiles
        seconds = seconds_of(draw)
        restarts = Restarts(model, train, config.seed)
        update, one_program = pace(restarts.trainer, restarts.chunks(train.steps))
    rungs = plan(train.restarts, train.steps, train.chunk, train.halving)
    scoring = seconds * (config.evaluate.samples / TIMED + OTHER_SCORES)
    return Cost(update, len(rungs) * one_program + train.first_stage * update + scoring)


def search(
    model: ReverseKL,
    config: Config,
    directory: RunDirectory | None = None,
) -> dict[str, Any]:
    """Train ``model`` as ``config.train`` specifies, in ``directory`` if given: logged and
    resumable.

    Returns:
        Updates, speed and the record of restarts, by the keys of the summary.
    """
    train = config.train
    steps = train.steps
    clock = Clock()
    restarts = Restarts(model, train, config.seed)
    name = "free energy" if model.target.log_z is None else "KL"

    def note(logs: Mapping[str, float]) -> str:
        return f"{name} {nats_text(float(logs['kl']))} nats"

    with Session(
        config,
        steps,
        directory,
        log=MetricsLog(clock),
        progress=ProgressReport(steps, clock, note),
        observers=_stopping(train, config.flow.pattern, clock),
        parts=[restarts],
    ) as session:
        restarts.search(session)
    record = RestartsRecord(**restarts.record())
    return {"steps": clock.steps, **clock.speed()._asdict(), "restarts": record}


def _stopping(train: DensityTrain, pattern: Sequence[Any], clock: Clock) -> list[Plateau]:
    """Early stopping, from the end of the annealing and the start of the path gradient on."""
    stopping = train.early_stopping
    if stopping is None:
        return []
    start = max(train.annealed.updates, train.path_from(pattern) or 0)
    return [Plateau(**stopping.model_dump(), clock=clock, start=start)]


def train(config: Config, directory: RunDirectory, subject: Subject) -> Fitted:
    """Train or resume in ``directory``, score and save."""
    model = build(config, subject.target)
    with compiling(config.train.compile):
        trained = search(model, config, directory)
        density, member_seconds = with_missed_modes(
            model, config.flow, config.train, starts_of(config), config.seed
        )
    model_sha256 = save_model(directory, density.flow)
    scores, arrays = judged(config, density, subject.target)
    facts = {
        **scores,
        **trained,
        "n_parameters": density.flow.count_params(),
        "model_sha256": model_sha256,
        "restarts": trained["restarts"].judged(scores),
        "member_seconds": member_seconds,
    }
    if config.evaluate.grid is not None:
        mass, error = mass_of(density, config.seed)
        facts |= {"mass": mass, "mass_error": error}
    return Fitted(config, facts, arrays)

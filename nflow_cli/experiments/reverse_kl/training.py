"""Training of flow stacks by reverse KL."""

from typing import Any

from nflow_cli.data.units import units_of
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.evaluation.mass import mass_of
from nflow_cli.evaluation.reverse_kl import RESAMPLED_FROM, resampled
from nflow_cli.experiments.reverse_kl.data import Config, Subject
from nflow_cli.experiments.reverse_kl.members import initial_flows, with_missed_modes
from nflow_cli.experiments.reverse_kl.scoring import judged
from nflow_cli.experiments.reverse_kl.trainer import ReverseKL, ReverseKLOnArrays, compiling
from nflow_cli.experiments.summary import Fitted, RestartsRecord
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.model_file import save_model
from nflow_cli.training.budget import Cost, pace, seconds_of
from nflow_cli.training.observers import Clock, MetricsLog, ProgressReport, nats_text
from nflow_cli.training.restarts import Restarts, plan
from nflow_cli.training.session import Session
from nflow_cli.training.stopping import Plateau

TIMED = 20_000  # draws, in a trial
OTHERS = 3.0  # times their resampling: missed mass, rounding


def build(config: Config, target: Any) -> ReverseKL:
    """Build and compile the model of a run."""
    density = PushforwardDensity(config.new_base(), initial_flows(config))
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
        restarts.search(session)
    record = RestartsRecord(**restarts.record())
    return {"steps": clock.steps, **clock.speed()._asdict(), "restarts": record}


def _stopping(config: Config, clock: Clock) -> list[Any]:
    train, stopping = config.train, config.train.early_stopping
    if stopping is None:
        return []
    start = max(train.annealed.updates, train.path_from(config.flow.pattern) or 0)
    return [Plateau(**stopping.model_dump(), clock=clock, start=start)]


def train(config: Config, directory: RunDirectory, subject: Subject) -> Fitted:
    """Train or resume in ``directory``, score and save."""
    model = build(config, subject.target)
    with compiling(config.train.compile):
        trained = search(model, config, directory)
        density, member_seconds = with_missed_modes(model, config)
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
        facts |= dict(zip(("mass", "mass_error"), mass_of(density, config.seed)))
    return Fitted(config, facts, arrays)

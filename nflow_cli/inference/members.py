"""Mixture of flows: a further member for each mode that a fit misses."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from nflow_cli.config.flows import StackFlow
from nflow_cli.densities.pushforward import PushforwardDensity
from nflow_cli.errors import DivergenceError, TargetError
from nflow_cli.flows.stack import AFFINE, FlowStack, WeightedStacks, make_stack, seeds_from
from nflow_cli.inference.missed_mass import ModeProposal
from nflow_cli.inference.reverse_kl import mixture_weights, search_missed_modes
from nflow_cli.inference.reverse_kl_data import DensityTrain
from nflow_cli.inference.reverse_kl_trainer import ReverseKL
from nflow_cli.terminal.output import tell
from nflow_cli.terminal.progress import phase
from nflow_cli.training.chunks import NoiseChunks
from nflow_cli.training.observers import Clock, DivergenceStop, ProgressReport, nats_text

MISSED = 0.005  # least share of p to add members for
ERRORS = 2.0  # standard errors by which the share is larger
ROUNDS = 3
DRAWS = 50_000  # of a search, and of the weights
LEAST_BATCH = 32  # samples an update of each member

Weights = list[np.ndarray]


def with_missed_modes(
    model: ReverseKL, flow: StackFlow, train: DensityTrain, starts: np.ndarray | None, seed: int
) -> tuple[PushforwardDensity, float]:
    """Train a further member at each mode that the fit ``model`` misses, and weight all.

    A member starts as the Gaussian of a mode's curvature, is fitted to ``p`` by itself by reverse
    KL, and so stays there. Repeated while modes are missed, :data:`ROUNDS` times at most. A
    training that fails, as the density may far from ``q``, adds no members. ``starts`` ``(n, D)``,
    in the coordinates of the flows, are searched too.

    Returns:
        The density, a mixture if modes were missed, and the seconds that its members took.
    """
    density = model.density
    seconds = 0.0
    if train.modes == 1 or not flow.affine:
        return density, seconds
    for _ in range(ROUNDS):
        with phase(f"searching for missed modes: {DRAWS:,} draws"):
            missed = search_missed_modes(density, model.target, seed, DRAWS, starts)
        modes = missed.proposals[: train.modes - density.n_members]
        share = missed.share or 0.0
        certain_share = share - ERRORS * (missed.standard_error or 0.0)
        if not modes or not certain_share > MISSED:
            break
        tell(
            f"missed: {len(modes)} mode{'s' * (len(modes) > 1)} with {100 * share:.3g} % of p; "
            "training a flow at each"
        )
        try:
            added_flows, clock = _trained(model, flow, train, modes, density.n_members, seed)
        except (DivergenceError, TargetError) as error:
            tell(f"no flows at the missed modes: {error}")
            break
        seconds += sum(clock.seconds)
        added = [weights for weights in _weights(added_flows) if _are_finite(weights)]
        if not added:
            break
        density = _mixture(model, flow, _weights(density.flow) + added, seed)
    return density, seconds


def _are_finite(weights: Weights) -> bool:
    return all(np.isfinite(array).all() for array in weights)


def _trained(
    model: ReverseKL,
    settings: StackFlow,
    train: DensityTrain,
    modes: Sequence[ModeProposal],
    before: int,
    seed: int,
) -> tuple[FlowStack, Clock]:
    """Flows side by side, one started at each of ``modes`` and trained, after ``before`` others."""
    count = len(modes)
    clock = Clock()
    seeds = seeds_from(seed + train.restarts + before - 1, count)
    flow = make_stack(**settings.model_dump(), seed=seeds[0], members=count)
    trainer = model.member_fit(flow)
    trainer.prepare(train, train.steps)
    affine = AFFINE[settings.affine or "full"]
    starts = [affine.moments(proposal.mode, proposal.cholesky) for proposal in modes]
    for name, weight in flow.last.items():
        weight.assign(np.stack([start[name] for start in starts]).reshape(weight.shape))

    def note(logs: Mapping[str, float]) -> str:
        text = f"free energy {nats_text(float(logs['kl']))} nats"
        return f"{text}, the lowest of {count} flows" if count > 1 else text

    noise = NoiseChunks(
        model.density.base,
        model.density.dim,
        seeds,
        train.steps,
        train.chunk,
        max(LEAST_BATCH, train.batch_size // count),
        purpose="member-noise",
    )
    progress = ProgressReport(train.steps, clock, note)
    try:
        trainer.train_on(noise, [clock, DivergenceStop(), progress])
    finally:
        progress.close()
    return flow, clock


def _weights(flow: FlowStack) -> list[Weights]:
    """Weights of each member."""
    values = [ops.convert_to_numpy(weight.value) for weight in _variables(flow)]
    if not flow.members:
        return [values]
    return [[value[r] for value in values] for r in range(*flow.members)]


def _variables(flow: FlowStack) -> list[keras.Variable]:
    """Weights of the maps, then those of the last affine map."""
    return [weight for weights in (*flow.parameters, flow.last) for weight in weights.values()]


def _mixture(
    model: ReverseKL, settings: StackFlow, members: Sequence[Weights], seed: int
) -> PushforwardDensity:
    """Mixture of members, weighted to be nearest to the target."""
    flow = initial_flows(settings, model.density.dim, seed, len(members))
    for weight, values in zip(_variables(flow), zip(*members), strict=True):
        weight.assign(np.stack(values))
    density = PushforwardDensity(model.density.base, flow)
    flow.log_weights.assign(np.log(mixture_weights(density, model.target, seed, DRAWS)))
    return density


def initial_flows(settings: StackFlow, dim: int, seed: int, members: int = 1) -> Any:
    """Build flows of points ``(n, dim)``: a stack, or the weighted stacks of a mixture."""
    if members == 1:
        flow = FlowStack(**settings.model_dump(), seed=seed)
    else:
        flow = WeightedStacks(**settings.model_dump(), seeds=seeds_from(seed, members))
    flow.build((None, dim))
    return flow

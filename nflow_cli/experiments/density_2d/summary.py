"""Summary of a fit to a 2-D density."""

from nflow_cli.config.strict import Error, Figure, Text
from nflow_cli.experiments.summary import UpdatesSummary
from nflow_cli.training.restarts_record import RestartsRecord


class TargetSummary(UpdatesSummary):
    """Scores of a fit to a 2-D density, in nats.

    Attributes:
        kl: ``KL(q || p)``, by a control variate if ``uncovered_share`` is 0; ``None`` if log Z is
            unknown.
        kl_standard_error: Also of the free energy.
        ess: Effective sample size of the importance weights, as a share.
        largest_weight: Largest share of a draw in ``Σ w²``.
        free_energy: ``KL - log Z``.
        log_z: Of the target, if known.
        missed_share: Share of ``p`` where ``q`` has nearly no mass.
        uncovered_share: Share of exact draws of ``p`` where ``q < p/100``.
        mass: ``∫ q`` over a grid.
    """

    target: Text
    base: Text
    kl: Figure
    kl_standard_error: Error
    ess: Figure
    largest_weight: Figure
    pareto_k: Figure
    free_energy: Figure
    base_free_energy: Figure
    base_free_energy_standard_error: Error
    log_z: Figure
    log_z_source: Text | None
    missed_share: Figure
    missed_share_standard_error: Error
    uncovered_share: Figure
    mass: Figure
    mass_error: Error
    restarts: RestartsRecord

"""The summary of a fit to a 2-D density. No Keras here."""

from nflow_cli.config.strict import Error, Figure, Text
from nflow_cli.experiments.summary import UpdatesSummary
from nflow_cli.training.restarts_record import RestartsRecord


class TargetSummary(UpdatesSummary):
    """The figures of a fit to a 2-D density, in nats.

    Attributes:
        target: The density as text.
        base: The name of the base.
        kl: ``KL(q || p)``; None where log Z is not known.
        kl_standard_error: Of it, and of the free energy.
        ess: The effective sample size of the importance weights, a share of the draws.
        largest_weight: The largest share of a draw in ``Σ w²``.
        pareto_k: k-hat of the tail of the weights.
        free_energy: ``KL - log Z``.
        base_free_energy: That of the base without a flow.
        base_free_energy_standard_error: Its standard error.
        log_z: The target's, where it is known.
        log_z_source: How it is known.
        missed_share: The share of ``p`` where ``q`` has nearly no mass.
        missed_share_standard_error: Its standard error.
        mass: ``∫ q`` over the cells of a grid.
        mass_error: An estimate of its error.
        restarts: What became of each restart.
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
    missed_share: Figure = None
    missed_share_standard_error: Error = None
    mass: Figure
    mass_error: Error
    restarts: RestartsRecord

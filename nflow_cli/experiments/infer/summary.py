"""Summary of a fit to a log-density."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from nflow_cli.config.column_schema import MAX_COLUMNS
from nflow_cli.config.infer_schema import MOST_MODES
from nflow_cli.config.strict import Count, Error, Figure, Text
from nflow_cli.experiments.summary import UpdatesSummary
from nflow_cli.training.restarts_record import RestartsRecord

Moments = Annotated[list[Figure], Field(min_length=2, max_length=2)]


class InferSummary(UpdatesSummary):
    """Scores of a fit to a log-density, in nats; ``evaluation.inference`` defines them.

    ``has_exact_samples``: whether the pictures show exact samples of the density.
    ``member_weights``: of the members of a mixture, ``[1.0]`` of one; ``member_seconds``: of
    training those beyond the first.
    """

    target: Text
    base: Text
    columns: list[Text] = Field(max_length=MAX_COLUMNS)
    has_exact_samples: bool
    kl: Figure
    kl_standard_error: Error
    free_energy: Figure
    free_energy_standard_error: Error
    estimated_log_z: Figure
    log_z_standard_error: Error
    pareto_k: Figure
    q_log_z: Figure
    q_log_z_standard_error: Error
    q_pareto_k: Figure
    log_z_difference: Figure
    log_z_difference_standard_error: Error
    missed_share: Figure
    missed_share_standard_error: Error
    missed_mode: Mapping[str, Figure] | None
    log_density_step: Figure
    rounding_error: Figure
    ess: Figure
    log_z: Figure
    log_z_source: Text | None
    n_lost: Count
    moments: Mapping[str, Moments]
    moments_standard_error: Mapping[str, Moments] | None
    moments_pareto_k: Mapping[str, Moments]
    restarts: RestartsRecord
    member_weights: list[float] = Field(min_length=1, max_length=MOST_MODES)
    member_seconds: Figure

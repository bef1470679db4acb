"""Warnings about unreliable scores of a fit to a whole table."""

from nflow_cli.evaluation.copies import Copies
from nflow_cli.evaluation.warnings import (
    SIGMAS,
    ScoreWarning,
    Summary,
    errors_of_95,
    number,
    ruined_text,
)
from nflow_cli.text import printable

SHOWN = 5  # columns in a message
CHANCE = 3.0  # standard errors of an AUC above 1/2
NEGLIGIBLE = 1e-3  # nats, and rounding where no network gains over a marginal
MEMORISED = 0.6  # smallest AUC of a warning


def ruined(summary: Summary) -> ScoreWarning | None:
    """Warning if the fit is worse than independent columns.

    By 4 standard errors, or twice the half width of a 95 % interval of few rows; and 0.001 nats.
    """
    gain, error = number(summary, "gain"), number(summary, "gain_standard_error")
    if summary.get("log_likelihood", 0.0) is None:
        return ruined_text("the fit is not finite")
    errors = SIGMAS / 2 * errors_of_95(number(summary, "n_effective"))
    if gain is None or error is None or not -gain > max(errors * error, NEGLIGIBLE):
        return None
    return ruined_text(f"worse than independent columns by {-gain:.4g} nats")


def miscalibrated(summary: Summary) -> ScoreWarning | None:
    """Warning of columns whose PIT is not uniform."""
    wrong = [
        name
        for name, column in summary.get("pit", {"columns": {}})["columns"].items()
        if column["distance"] is not None and column["distance"] > column["band"]
    ]
    if not wrong:
        return None
    names = ", ".join(map(printable, wrong[:SHOWN]))
    names += f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    reason = (
        f"the PIT of held-out cells of {names} is not uniform, at the 1 % level over all columns; "
        "more rows or updates may help"
    )
    return ScoreWarning("miscalibrated", ("pit",), reason)


def memorised(summary: Summary, are_chosen: bool = False) -> ScoreWarning | None:
    """Warning if training rows are much likelier than test rows.

    The AUC of the likelihood attack must be beyond chance and above 0.6. ``are_chosen``: the test
    rows are not random.
    """
    effect, facts = memorisation_text(summary), summary.get("memorisation", {})
    if not effect or not (number(facts, "auc") or 0) > MEMORISED:
        return None
    reason = (
        f"training rows are likelier than test rows, by {effect}: no error by itself, as the "
        "weights are the best on the validation rows; more rows reduce it, and, where it matters "
        "more than log-likelihood, a larger --set train.weight_decay=… or a smaller --set "
        "cells.width=…"
    )
    if are_chosen:
        reason += "; or the test rows, which are not a random sample, have another distribution"
    return ScoreWarning("memorised", ("memorisation",), reason)


def copied(summary: Summary) -> ScoreWarning | None:
    """Warning if draws repeat training rows more often than held-out rows do."""
    if not (text := copies_text(summary)):
        return None
    reason = (
        f"{text}: such draws disclose rows; try fewer updates or a larger train.weight_decay, or "
        "leave the copies out"
    )
    return ScoreWarning("copies", ("copies",), reason)


def lost(summary: Summary) -> ScoreWarning | None:
    """Warning of relations that rows have and draws lose."""
    if not (found := lost_texts(summary)):
        return None
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    reason = (
        f"the association of {'; '.join(found[:SHOWN])}{more}, beyond chance at the 1 % level over "
        "all pairs: predictions and draws miss these relations"
    )
    return ScoreWarning("lost relations", ("lost_relations",), reason)


def lost_texts(summary: Summary) -> list[str]:
    """Associations of lost relations in rows and in draws, the most lost first."""
    return [
        f"{' and '.join(map(printable, one['columns']))} is {one['rows']:.2f} in rows, "
        f"{one['draws']:.2f} in draws"
        for one in summary.get("lost_relations") or []
    ]


def copies_text(summary: Summary) -> str:
    """Shares of copies among draws and held-out rows; "" if the excess is within chance."""
    facts = summary.get("copies") or {}
    figures = {key: number(facts, key) for key in Copies.model_fields}
    if None in figures.values():
        return ""
    found = Copies.model_construct(None, **figures)
    if not found.excess > CHANCE * found.standard_error:
        return ""
    return (
        f"{found.drawn:.2%} of draws equal a training row, and {found.held_out:.2%} of test rows "
        f"(excess {found.excess:.2%} ± {found.standard_error:.2%})"
    )


def memorisation_text(summary: Summary) -> str:
    """Excess log-likelihood of training rows and the AUC; "" if within chance."""
    facts = summary.get("memorisation", {})
    auc, error = number(facts, "auc"), number(facts, "auc_standard_error")
    if auc is None or error is None or not auc - 0.5 > CHANCE * error:
        return ""
    nats, spread = number(facts, "nats"), number(facts, "nats_standard_error")
    by = "" if nats is None or spread is None else f"{nats:.3f} ± {spread:.3f} nats a row, "
    return f"{by}AUC {auc:.3f} ± {error:.3f}"

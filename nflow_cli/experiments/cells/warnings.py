"""Warnings about the scores of a fit to a whole table. No Keras here."""

from nflow_cli.evaluation.caveats import SIGMAS, Caveat, Summary, few_rows, number, ruined_text
from nflow_cli.text import printable

SHOWN = 5  # columns in a message


def warnings_of(summary: Summary) -> list[Caveat]:
    """Return the warnings about the scores, by the facts in the summary."""
    every = (ruined(summary), few_rows(summary), miscalibrated(summary))
    return [warning for warning in every if warning is not None]


def ruined(summary: Summary) -> Caveat | None:
    """Return the warning of a fit that is worse than independent columns."""
    gain, error = number(summary, "gain"), number(summary, "gain_standard_error")
    if summary.get("log_likelihood", 0.0) is None:
        return ruined_text("the fit is not finite")
    if gain is None or error is None or not -gain > SIGMAS * error:
        return None
    return ruined_text(f"worse than independent columns by {-gain:.4g} nats")


def miscalibrated(summary: Summary) -> Caveat | None:
    """Return the warning of columns whose PIT is further from uniform than chance explains."""
    pit = summary.get("pit")
    if not isinstance(pit, dict):
        return None
    wrong = [
        name
        for name, column in pit["columns"].items()
        if column["distance"] is not None and column["distance"] > column["band"]
    ]
    if not wrong:
        return None
    names = ", ".join(map(printable, wrong[:SHOWN]))
    names += f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    reason = (
        f"held-out cells of {names} have another distribution than the one claimed, at the 1 % "
        "level of all columns together; more rows or updates may help"
    )
    return Caveat("miscalibrated", ("pit",), reason)

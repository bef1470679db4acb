"""The scores of a fit to a table, as rows of tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nflow_cli.data.chosen_rows import listed
from nflow_cli.data.dequantisation import NOISES
from nflow_cli.evaluation.calibration import verdict
from nflow_cli.evaluation.caveats import errors_of_95, marked, number
from nflow_cli.evaluation.conditions import place_text
from nflow_cli.experiments.rows import (
    Caveats,
    Rows,
    Summary,
    flow_row,
    gap_rows,
    likelihood_rows,
    mass_row,
    mean_text,
    training_text,
)
from nflow_cli.text import printable

if TYPE_CHECKING:
    from nflow_cli.experiments.table.scoring import Mean


def rows_of(summary: Summary, steps: int, caveats: Caveats) -> Rows:
    """Return the rows of the table that a training ends with."""
    parts = ", ".join(f"{summary[f'n_{p}']:,} {p}" for p in ("train", "validation", "test"))
    return [
        ("data", f"{summary['data']['name']}: {parts} points"),
        flow_row(summary),
        *held_out_rows(summary, caveats),
        *([mass_row(summary, caveats)] if "mass" in summary else []),
        ("training", f"{training_text(summary, steps)}; best after {_best_text(summary)}"),
    ]


def _best_text(summary: Summary) -> str:
    """Return after how many updates the weights that are kept were, and what 0 of them mean."""
    if summary["best_update"]:
        return f"{summary['best_update']:,}"
    start = "linear regression" if summary.get("given") else "Gaussian"
    start = start if summary["flow"].endswith("+ full affine") else "start"
    return f"0: the {start} was never beaten on the validation rows"


def held_out_rows(scores: Summary, caveats: Caveats) -> Rows:
    """Return the rows of the log-likelihood of the test points, that of a Gaussian, and the gap."""
    rows = likelihoods(scores, caveats)
    if members := scores.get("member_log_likelihoods"):
        text = f"{min(members):.5f} to {max(members):.5f} nats each"
        spread = f"{scores['member_spread']:.5f} apart in a row"
        rows.append((f"{len(members)} members", f"{text}, {spread}"))
    rows += lower_bound_rows(scores.get("discrete", ()))
    rows += differences(scores, caveats)
    if "normality" in scores:
        rows += normality_rows(scores["normality"])
    if "calibration" in scores:
        rows += rows_of_calibration(scores["calibration"])
    if n := scores.get("n_unknown"):
        has = "1 test row has" if n == 1 else f"{n:,} test rows have"
        rows.append(("left out", f"{has} a level that no training row has: its density is 0"))
    return rows


def verdict_of(summary: Summary, caveats: Caveats) -> Rows:
    """Return the log-likelihood of the test points, and what it is compared with."""
    return likelihoods(summary, caveats) + differences(summary, caveats)


def likelihoods(scores: Summary, caveats: Caveats) -> Rows:
    """Return the rows of the log-likelihood of the test points and that of a Gaussian."""
    names = {"log-likelihood": "log_likelihood", "of a Gaussian": "gaussian_log_likelihood"}
    rows = []
    for name, key in names.items():
        text = mean_text(scores, key, "nats a test point")
        rows.append((name, marked(text, caveats, key)))
    return rows


def differences(scores: Summary, caveats: Caveats) -> Rows:
    """Return the rows of the gain over a Gaussian and of the gap to the truth, if known."""
    rows = []
    if "gain" in scores:
        gain, error = (number(scores, key) for key in ("gain", "gain_standard_error"))
        errors = errors_of_95(number(scores, "n_effective"))
        # By the decimals that are printed: beyond them is rounding.
        is_sure = gain is not None and error is not None and round(gain, 5) > errors * error
        unsure = "" if is_sure else " (not known to be better than a Gaussian)"
        text = mean_text(scores, "gain", "nats, paired") + unsure
        rows.append(("gain", marked(text, caveats, "gain")))
    return rows + gap_rows(scores)


def normality_rows(normality: Summary) -> Rows:
    """Return how far the latents of the test rows are from ``N(0, I)``."""
    if not normality["n"]:
        return []
    worst = f"{normality['distance']:.4f} at most, of {printable(normality['worst_column'])}"
    radius = f"{normality['radius_distance']:.4f} of |z|²"
    chance = f"by chance up to {normality['band']:.4f} and {normality['radius_band']:.4f}"
    rows = [("from N(0, I)", f"{worst}; {radius}; {chance}")]
    if n := normality["n_lost"]:
        lost = "1 row has" if n == 1 else f"{n:,} rows have"
        rows.append(("", f"{lost} latents that are not finite"))
    return rows


def lower_bound_rows(discrete: Sequence[str]) -> Rows:
    """Return the row that says what log-likelihoods of ``discrete`` columns are."""
    if not discrete:
        return []
    names = printable(listed(discrete))
    return [("", f"lower bounds, by {NOISES} noises a row, as these go in steps: {names}")]


def scored_rows(mean: "Mean", caveats: Caveats, discrete: Sequence[str] = ()) -> Rows:
    """Return the rows of the log-likelihood of a table of the user's own."""
    rows = likelihood_rows(mean.scores(), caveats) + lower_bound_rows(discrete)
    if mean.weighted:
        rows.append(("", f"weighted by {printable(mean.weighted)}"))
    if n := mean.n_missing:
        lack = "1 row lacks a value and has" if n == 1 else f"{n:,} rows lack a value and have"
        rows.append(("", f"{lack} no log-density"))
    return rows


def rows_of_calibration(calibration: Summary) -> Rows:
    """Return how many rows the regions of a density cover, beside how many they claim to."""
    rows = [("coverage", verdict(calibration))]
    if regions := calibration["coverage"]:
        *levels, last = (f"{100 * region['level']:g}" for region in regions)
        covered, errors = (
            ", ".join(f"{region[key]:.3f}" for region in regions)
            for key in ("covered", "standard_error")
        )
        text = f"{covered} of the {', '.join(levels)} and {last} % regions (± {errors})"
        rows = [("coverage", text), ("", verdict(calibration))]
    if worst := calibration["worst_bin"]:
        where = place_text(worst["low"], worst["high"], worst["category"])
        within = "in " if worst["low"] < worst["high"] else ""
        place = f"where {printable(worst['column'])} is {within}{where}"
        chance = f"by chance {worst['chance_low']:.3f} to {worst['chance_high']:.3f}"
        rows.append(("worst bin", f"{worst['covered']:.3f} of the 90 % regions, {place}; {chance}"))
    if calibration["pit_distance"] is not None:
        column, distance = printable(calibration["worst_column"]), calibration["pit_distance"]
        chance = f"by chance up to {calibration['pit_band']:.4f}"
        rows.append(("PIT", f"{distance:.4f} from uniform at most, of {column}; {chance}"))
    return rows

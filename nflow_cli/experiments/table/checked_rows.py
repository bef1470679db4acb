"""Checks of every fit to a table. No Keras here."""

from typing import Any

from nflow_cli.constants import RUN
from nflow_cli.data.table_files import IN_PYTHON, STDIN
from nflow_cli.experiments.checks import OF_SCORES, CheckedRun, Checks
from nflow_cli.experiments.comparison import Outcome, Verdict, agreement, differences
from nflow_cli.runs.directory import SUMMARY


class CheckedRows(CheckedRun):
    """Run on a table, which need not be readable again."""

    source = "from the test rows"

    @property
    def is_gone(self) -> bool:
        return self.config.subject in (STDIN, IN_PYTHON)

    @property
    def checks(self) -> Checks:
        return {"data": skip_gone if self.is_gone else check_rows, **super().checks}

    @property
    def score_checks(self) -> Checks:
        return {} if self.is_gone else OF_SCORES

    @property
    def data_facts(self) -> dict[str, Any]:
        data = self.data
        return {**data.sizes, "data": {"name": data.name, "sha256": data.sha256}}

    @property
    def training(self) -> dict[str, Any]:
        """Last update at which a member's validation loss was lowest."""
        members = self.config.train.members
        tails = [""] if members == 1 else [f"_{r}" for r in range(1, members + 1)]
        return {"best_update": max(self.best_at(f"validation_loss{tail}") for tail in tails)}


def skip_gone(run: CheckedRun) -> Verdict:
    """Report that the table cannot be read again."""
    source = "standard input" if run.config.subject == STDIN else "Python"
    text = f"the table came from {source} and cannot be read again: no scores, no pictures checked"
    return Outcome.UNKNOWN, text


def check_rows(run: CheckedRows) -> Verdict:
    """Reload the rows; compare sizes, checksum, columns and units."""
    record = run.data.record()
    recorded = {key: record[key] for key in ("columns", "units")}
    wrong = differences(SUMMARY, run.data_facts, run.summary)
    wrong += differences(RUN, recorded, run.record["data"])
    return agreement(wrong, f"{sum(run.data.sizes.values()):,} rows found again")

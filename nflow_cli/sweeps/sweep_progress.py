"""Progress of a sweep or of the parts of a table, on stderr.

A bar with the time left, or plain lines without a terminal.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nflow_cli.sweeps.workers import COMPLETED, FAILED
from nflow_cli.terminal.progress import about_left, progress_bar
from nflow_cli.text import printable

if TYPE_CHECKING:
    from nflow_cli.sweeps.plan import PlannedRun
    from nflow_cli.tables.many_files import Part

LINE_SECONDS = 300  # between lines


class SweepReport:
    """Counts finished, running and failed runs, and estimates the remaining time.

    New ``failures`` are added, by run; ``slots`` returns the number of concurrent runs.
    """

    def __init__(
        self,
        count: int,
        left: Sequence["PlannedRun | Part"],
        failures: dict[str, str],
        folder: Path,
        slots: Callable[[], int],
    ):
        self.count = count
        self.left = {run.name: run for run in left}
        self.failures = failures
        self.folder = folder
        self.slots = slots
        self.total = sum(run.work for run in left)
        self.work_at_start = self._work_done()
        self.start = time.monotonic()

    def __enter__(self) -> "SweepReport":
        self.bar = progress_bar("{task.fields[counts]}")
        self.task = self.bar.add_task("", total=self.total, counts="")
        self.bar.start()
        self._print(f"{self.folder}: {self._counts()}")
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def end(self, run: "PlannedRun | Part", outcome: dict[str, str]) -> None:
        """Record the end of a run."""
        del self.left[run.name]
        status = outcome["status"]
        if status != COMPLETED:
            message = outcome.get("message", "stopped by a signal")
            self.failures[run.name] = message
            status = f"{FAILED}: {message}"
        self._print_end(run.name, status)

    def _print_end(self, name: str, status: str) -> None:
        self._print(f"{name}: {status}; {self._counts()}")

    def show(self) -> None:
        """Move the bar; without a terminal, print a line every five minutes."""
        if not self.bar.disable:
            self.bar.update(self.task, completed=self._work_done(), counts=self._counts())
        elif time.monotonic() - self.printed_at > LINE_SECONDS:
            self._print(f"{self.folder}: {self._counts()}")

    def stopping(self) -> None:
        """Print a note that running trainings are being saved."""
        self._print("stopping: the runs under way are being saved")

    def _print(self, line: str) -> None:
        self.printed_at = time.monotonic()
        line = printable(line)
        if not self.bar.disable:
            self.bar.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr)

    def _counts(self) -> str:
        left = len(self.left)
        failed = len(self.failures)
        done = self.count - left - failed
        running = min(left, self.slots())
        return f"{done} of {self.count} done, {running} running, {failed} failed{self._eta()}"

    def _work_done(self) -> float:
        return self.total - sum(
            run.work * (1 - run.part_done(self.folder)) for run in self.left.values()
        )

    def _eta(self) -> str:
        done = self._work_done()
        if not self.left or done <= self.work_at_start:
            return ""
        seconds_passed = time.monotonic() - self.start
        return about_left(seconds_passed * (self.total - done) / (done - self.work_at_start))


class PartsReport(SweepReport):
    """Counts the parts of a table: a line for each that failed, and for each tenth that is done."""

    tenth = 0

    def stopping(self) -> None:
        """Print a note that the command ends."""
        self._print("stopping: the parts that are done are kept")

    def _print_end(self, name: str, status: str) -> None:
        tenth = 10 * (self.count - len(self.left)) // self.count
        if status != COMPLETED:
            super()._print_end(name, status)
        elif tenth > self.tenth:
            self._print(f"{self.folder}: {self._counts()}")
        self.tenth = tenth

"""What every run has that is loaded: its figures and warnings, shown as the command prints them."""

from pathlib import Path
from typing import Any

from nflow_cli.evaluation.caveats import Caveat
from nflow_cli.experiments import page
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.experiments.python_words import in_python
from nflow_cli.experiments.rows import Rows, laid_out, with_reasons
from nflow_cli.experiments.summary import read_summary
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.text import printable


class TrainedRun:
    """A run that is loaded.

    ``repr`` is the table that the command prints, with its warnings and the path of the run.

    Attributes:
        path: The run directory.
        experiment: Of the run.
    """

    path: Path
    experiment: Experiment

    @property
    def config(self) -> Any:
        """The resolved preset."""
        return self.experiment.config

    @property
    def summary(self) -> dict[str, Any]:
        """The figures of the run, by the keys of ``summary.json``; None where not finite.

        Raises:
            RunDirectoryError: In one line: the run has none yet, or its file is damaged.
        """
        return read_summary(RunDirectory(self.path), self.experiment)

    @property
    def caveats(self) -> list[Caveat]:
        """The warnings: each has a ``word``, the ``figures`` that it is about, and a ``reason``.

        Raises:
            RunDirectoryError: As of ``summary``.
        """
        return self._caveats(self.summary)

    def _caveats(self, summary: dict[str, Any]) -> list[Caveat]:
        found = self.experiment.caveats(summary)
        return [caveat._replace(reason=in_python(caveat.reason)) for caveat in found]

    def _scores(self) -> tuple[Rows, list[Caveat]]:
        summary = self.summary
        caveats = self._caveats(summary)
        rows = self.experiment.rows(summary, caveats)
        return [(name, in_python(text)) for name, text in rows], caveats

    def __repr__(self) -> str:
        try:
            return f"{laid_out(*self._scores())}\n{printable(self.path)}"
        except Exception:  # whatever a summary that is missing or damaged leads to
            return f"<{type(self).__name__} of {printable(getattr(self, 'path', None))}>"

    def _repr_html_(self) -> str | None:
        """Return the same as HTML, for notebooks; None where ``repr`` has no table."""
        try:
            return page.table(with_reasons(*self._scores())) + page.paragraph(self.path)
        except Exception:  # as above
            return None

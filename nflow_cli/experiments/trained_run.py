"""Base of loaded runs: scores and warnings."""

from pathlib import Path
from typing import Any

from nflow_cli.evaluation.warnings import ScoreWarning
from nflow_cli.experiments import page
from nflow_cli.experiments.experiment import Experiment
from nflow_cli.experiments.python_words import in_python
from nflow_cli.experiments.rows import Rows, laid_out, with_reasons
from nflow_cli.experiments.summary import read_summary
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.text import printable

PUBLIC = {  # names of loaded runs of all kinds
    *("path", "summary", "warnings", "log_prob", "sample", "latent", "from_latent", "dim", "flow"),
    *("columns", "given", "rows", "sample_table", "cell_log_probs", "predict", "impute", "explain"),
    *("drift", "to_arviz", "model"),
}


class TrainedRun:
    """Loaded run, of directory ``path``; its ``repr`` is the table that the command prints."""

    def __init__(self, path: Path, experiment: Experiment):
        self.path, self.experiment = path, experiment

    def __dir__(self) -> list[str]:
        """Public names alone, for completion."""
        return [name for name in super().__dir__() if name in PUBLIC or name.startswith("_")]

    @property
    def config(self) -> Any:
        """Resolved preset."""
        return self.experiment.config

    @property
    def summary(self) -> dict[str, Any]:
        """Figures by the keys of ``summary.json``; None where not finite."""
        return read_summary(RunDirectory(self.path), self.experiment)

    @property
    def warnings(self) -> list[ScoreWarning]:
        """Warnings: each has a ``word``, the ``figures`` it is about, and a ``reason``."""
        return self._warnings(self.summary)

    def _warnings(self, summary: dict[str, Any]) -> list[ScoreWarning]:
        found = self.experiment.warnings(summary)
        return [warning._replace(reason=in_python(warning.reason)) for warning in found]

    def _scores(self) -> tuple[Rows, list[ScoreWarning]]:
        summary = self.summary
        warnings = self._warnings(summary)
        rows = self.experiment.rows(summary, warnings)
        return [(name, in_python(text)) for name, text in rows], warnings

    def __repr__(self) -> str:
        try:
            return f"{laid_out(*self._scores())}\n{printable(self.path)}"
        except Exception:  # whatever a summary that is missing or damaged leads to
            return f"<{type(self).__name__} of {printable(getattr(self, 'path', None))}>"

    def _repr_html_(self) -> str | None:
        """Table of ``repr`` as HTML, or ``None``."""
        try:
            return page.table(with_reasons(*self._scores())) + page.paragraph(self.path)
        except Exception:  # as above
            return None

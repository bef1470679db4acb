"""Base of loaded runs: scores and warnings."""

from pathlib import Path
from typing import Any

from nflow_cli.evaluation.warnings import ScoreWarning
from nflow_cli.experiments.python_arguments import in_python
from nflow_cli.experiments.run import Run, kind_of
from nflow_cli.experiments.run_report import paragraph, table
from nflow_cli.experiments.summary import Rows, laid_out, with_reasons
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.text import printable

PUBLIC = {  # names of loaded runs of all kinds
    "path",
    "summary",
    "warnings",
    "log_prob",
    "sample",
    "latent",
    "from_latent",
    "dim",
    "flow",
    "columns",
    "given",
    "rows",
    "sample_table",
    "cell_log_probs",
    "predict",
    "impute",
    "explain",
    "drift",
    "to_arviz",
    "model",
}


class TrainedRun:
    """Loaded run, of directory ``path``; its ``repr`` is the table that the command prints."""

    def __init__(self, run: Run):
        self.path: Path = run.path
        self.config: Any = run.config

    def __dir__(self) -> list[str]:
        """Public names alone, for completion."""
        return [name for name in super().__dir__() if name in PUBLIC or name.startswith("_")]

    @property
    def run(self) -> Run:
        """Its run, opened anew."""
        return Run(RunDirectory(self.path), self.config)

    @property
    def summary(self) -> dict[str, Any]:
        """Figures by the keys of ``summary.json``; None where not finite."""
        return self.run.facts

    @property
    def warnings(self) -> list[ScoreWarning]:
        """Warnings: each has a ``word``, the ``figures`` it is about, and a ``reason``."""
        warnings = self.run.warnings
        return [warning._replace(reason=in_python(warning.reason)) for warning in warnings]

    def _scores(self) -> tuple[Rows, list[ScoreWarning]]:
        warnings = self.warnings
        report = kind_of(self.config).report
        rows = report.rows_of(self.config, self.run.summary, warnings)
        return [(name, in_python(text)) for name, text in rows], warnings

    def __repr__(self) -> str:
        try:
            return f"{laid_out(*self._scores())}\n{printable(self.path)}"
        except Exception:  # whatever a summary that is missing or damaged leads to
            return f"<{type(self).__name__} of {printable(getattr(self, 'path', None))}>"

    def _repr_html_(self) -> str | None:
        """Table of ``repr`` as HTML, or ``None``."""
        try:
            return table(with_reasons(*self._scores())) + paragraph(self.path)
        except Exception:  # as above
            return None

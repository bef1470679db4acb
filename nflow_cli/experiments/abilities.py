"""Abilities of some experiments: a command asks for one by ``isinstance``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from nflow_cli.evaluation.tallies import Tally
    from nflow_cli.experiments.rows import Judgement
    from nflow_cli.runs.directory import RunDirectory


@runtime_checkable
class FitsFunctions(Protocol):
    """Fits a log-density, which may be a user's function."""

    def density_again(self, place: str) -> Any:
        """Load the user's log-density ``FILE.py:name`` of a run, if unchanged."""

    def write_beside_density(
        self, trained: Any, data: Any, n: int, path: Path, seed: int, resample: bool
    ) -> tuple[list[Path], str]:
        """Write ``n`` draws with their log-density, or importance-resampled; return the paths and a
        note, or "".
        """
        ...


@runtime_checkable
class ComparesDensity(Protocol):
    """Compares its data with a user's log-density."""

    def data_and_density(self, run: "RunDirectory", place: str) -> Any:
        """Data of a run, and the user's log-density ``FILE.py:name``."""


@runtime_checkable
class ScoresRows(Protocol):
    """Scores the rows of a table."""

    def write_scores(self, trained: Any, data: Any, path: Path, with_latents: bool) -> "Judgement":
        """Write rows with their scores, and latents on request; return the judgement."""
        ...

    def judge_scores(self, found: "Tally", name: str) -> "Judgement":
        """Judge the rows of a table of that name by the sums over its parts."""
        ...


@runtime_checkable
class Predicts(Protocol):
    """Answers questions about tables by a density of cells: predicts columns, fills gaps, explains
    odd rows, compares new rows with held-out ones.
    """

    def write_predictions(
        self, trained: Any, data: Any, path: Path, question: Mapping[str, Any], plot: Path | None
    ) -> "Judgement":
        """Write and score the distribution of one column given the others; draw a picture."""
        ...

    def judge_of_predictions(
        self, trained: Any, question: Mapping[str, Any]
    ) -> "Callable[[Tally, str], Judgement]":
        """Judge of predictions of a table by the sums over its parts and its name; checks the
        question.
        """
        ...

    def write_explained(self, trained: Any, data: Any, path: Path) -> "Judgement":
        """Write rows with the surprise of each cell, and p-values among held-out rows."""
        ...

    def write_imputed(
        self, trained: Any, data: Any, path: Path, draws: int | None, seed: int
    ) -> "Judgement":
        """Write a table with its gaps imputed."""
        ...

    def judge_drift(self, trained: Any, data: Any) -> "Judgement":
        """Judge the changes of a table's rows against the held-out rows."""
        ...

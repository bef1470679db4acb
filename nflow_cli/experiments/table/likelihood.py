"""What experiments share that fit a density to rows by maximum likelihood."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nflow_cli.config.schema import FitConfig
from nflow_cli.evaluation.caveats import Caveat, ruined_fit
from nflow_cli.experiments.density import DensityExperiment
from nflow_cli.experiments.experiment import Course, Identity, Measure, expect_named_data
from nflow_cli.experiments.rows import Judgement, Rows, Summary
from nflow_cli.experiments.table import pictures, rows
from nflow_cli.runs.array_shapes import ROWS, Shapes
from nflow_cli.runs.directory import RunDirectory

if TYPE_CHECKING:
    from nflow_cli.experiments.checked_run import CheckedRun


class Likelihood(DensityExperiment):
    """A density that is fitted to rows."""

    config: FitConfig
    name = "table"
    measures = (
        Measure("log_likelihood", "log-likelihood", "nats", 4, judges=True, sign=-1),
        Measure("gaussian_log_likelihood", "of a Gaussian", "nats", 4),
        Measure("gap", "gap to the truth", "nats", 4),
        Measure("steps_per_second", "updates/s", "", 0, has_spread=False),
    )
    course = Course("validation_loss", "log-likelihood (nats a validation row)", -1)
    columns, summary_form = pictures.COLUMNS, pictures.TableSummary
    samples: ClassVar = None

    @property
    def keeps_rows(self) -> bool:
        """Whether a run keeps some test rows for its pictures."""
        return self.config.evaluate.keep_rows

    @property
    def is_in_the_plane(self) -> bool:
        """Whether the pictures are of the plane: of one density of two columns."""
        return self.config.dim == 2 and self.config.train.ensemble == 1

    @property
    def shapes(self) -> Shapes:
        """The arrays in ``evaluation.npz``: of the plane, or of rows."""
        shown = pictures.PLANE if self.is_in_the_plane else pictures.shapes_of(self.config.dim)
        return {**shown, **(ROWS if self.keeps_rows else {})}

    def fit(self, run: RunDirectory, data: Any) -> dict[str, Any]:
        """Train, judge and save; return the summary."""
        from nflow_cli.experiments.table import fit as table_fit

        return table_fit.run(self.config, run, data, self.judge, self.keeps_rows)

    def judge(self, density: Any, data: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return :meth:`scores_of` and :meth:`arrays_of`."""
        from nflow_cli.training.progress import phase

        with phase(f"scoring: {len(data.test):,} test rows"):
            scores = self.scores_of(density, data)
        with phase("preparing pictures"):
            return scores, self.arrays_of(density, data)

    @abstractmethod
    def scores_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Judge a density by the test rows."""

    @abstractmethod
    def arrays_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Return what the pictures are drawn from."""

    def ruined(self, summary: Summary) -> Caveat | None:
        """Tell a fit that is worse than its base."""
        return ruined_fit(summary, "log_likelihood", sign=-1)

    def rows(self, summary: Summary, caveats: Sequence[Caveat]) -> Rows:
        """Return the rows of the table that a training ends with."""
        return rows.rows_of(summary, self.length, caveats)

    def verdict(self, summary: Summary, caveats: Sequence[Caveat]) -> Rows:
        """Return the log-likelihood of the test rows, and that of a Gaussian."""
        return rows.verdict_of(summary, caveats)

    def evaluate(
        self, trained: Any, data: Any, samples: int | None, seed: int, recorded: Summary
    ) -> Judgement:
        """Judge a fit by its test rows, or by others."""
        from nflow_cli.data.table_rows import TableRows
        from nflow_cli.evaluation.truth import gap_to_the_truth

        flow = self.config.flow
        lines = [("data", self.config.subject), ("flow", f"{flow.text}, K = {flow.k}")]
        if isinstance(data, TableRows):
            gap = gap_to_the_truth(trained.log_prob, data.name, seed, data.columns)
            scores = self.scores_of(trained, data) | gap
            facts = {**data.sizes, **scores}
            caveats = self.caveats({**recorded, **facts})
            return Judgement(scores, lines + rows.held_out_rows(facts, caveats), caveats)
        caveats = self.caveats({**recorded, "n_effective": None})  # of its test rows
        scores, others = self.judged(trained, data, caveats)
        return Judgement(scores, lines + others, caveats)

    @abstractmethod
    def judged(self, trained: Any, data: Any, caveats: list[Caveat]) -> tuple[dict[str, Any], Rows]:
        """Judge a fit by data of the user's own: return scores, and rows of a table.

        What the scores cannot vouch for is added to ``caveats``.
        """

    def identity(self, summary: Summary) -> Identity:
        """Return the name of the data, the flow and K."""
        return self.identity_of(summary["data"]["name"])

    def expect_comparable(self, run: RunDirectory, summary: Summary) -> None:
        """See that the summary names the data."""
        expect_named_data(run, summary)

    def draw(self, *arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Return the pictures by name."""
        from nflow_cli import plotting

        draw = plotting.points_figures if self.is_in_the_plane else plotting.table_figures
        return draw(*arrays)

    def checked(self, run: RunDirectory, trained: Any) -> "CheckedRun":
        """Return a run to be checked."""
        from nflow_cli.experiments.table.checks import CheckedTable

        return CheckedTable(run, trained, self)

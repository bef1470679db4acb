"""Predictions of columns of a table from the others, by a density of cells."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.config.kinds import ColumnKind
from nflow_cli.data.table_files import opened
from nflow_cli.data.tables import TableFile, listed, shown
from nflow_cli.data.writing import as_written, write_file
from nflow_cli.data.written import DIGITS
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.conditional import UNRESOLVED, CellPosterior
from nflow_cli.errors import DataError
from nflow_cli.evaluation.conformal import Calibration, calibrated, central_scores
from nflow_cli.evaluation.tallies import Moments, Tally
from nflow_cli.evaluation.warnings import ScoreWarning, Summary, grouped_rows, marked
from nflow_cli.evaluation.warnings import found as found_warnings
from nflow_cli.experiments.summary import (
    Answer,
    Judgement,
    Rows,
    Warnings,
    counted_rows,
    figure,
    mean_text,
)
from nflow_cli.experiments.table.given import Completions, completions, quantiles_of
from nflow_cli.experiments.table.losses import QUANTILES, scores_of, shares_of, tally_of
from nflow_cli.experiments.table.report import loss_rows
from nflow_cli.experiments.table.rows import COUNTED_CELLS, TableRows
from nflow_cli.experiments.table.tables import OWN, CellsRun, are_own, expect_room
from nflow_cli.experiments.table.unknown import DRAWS, conditional_of_known
from nflow_cli.random_streams import stream
from nflow_cli.registry import nearest
from nflow_cli.terminal.output import tell
from nflow_cli.terminal.progress import WAIT_SECONDS, duration, phase
from nflow_cli.text import printable

ROUNDING = 1e-12  # of a value, relative
ROUNDING_OF_SHARES = 1e-9
EFFECTIVE = "effective_draws"  # name of a written column
MISSING_GROUP = -2  # code of the rows without a level
GROUP_NAMES = {-1: "new", MISSING_GROUP: "missing"}
COUNTED = {
    **COUNTED_CELLS,
    "n_unknown": (
        "unknown",
        f"{{n_unknown:,}} rows have unknown cells: their predictions are means over {DRAWS} draws "
        "of these",
    ),
    "n_hidden": (
        "hidden",
        "{n_hidden:,} rows have empty given cells, and training had none there: intervals may be "
        "too narrow",
    ),
    "n_unresolved": (
        "unresolved",
        f"{{n_unresolved:,}} rows: quadrature error above {UNRESOLVED:g}",
    ),
}
Advance = Callable[[int], None]
OWN_ROWS = ScoreWarning(
    "trained on",
    ("log_p",),
    "these are the run's own rows, most of them training rows: scores of fresh rows are worse",
)


class CalibratedSets(NamedTuple):
    """Calibration of the sets of a column: of intervals, or of sets of levels.

    Attributes:
        coverage: Share of fresh values in their sets.
        by: Column of the groups; ``None``: all rows are one group.
        groups: Calibration of each group, by its code: of a level, -1 new, -2 missing.
    """

    coverage: float
    by: CellColumn | None
    groups: dict[int, Calibration]

    def group_name(self, code: int) -> str:
        """Name of a group."""
        if self.by is None:
            return "all"
        return GROUP_NAMES.get(code) or str(self.by.first[code])

    def thresholds(self, trained: CellsRun, rows: np.ndarray) -> np.ndarray:
        """Largest scores ``(n,)`` in the sets of rows ``(n, C)``."""
        codes = _group_codes(trained, self.by, rows)
        thresholds = np.full(len(rows), np.inf)
        for code, calibration in self.groups.items():
            thresholds[codes == code] = calibration.threshold
        return thresholds


def calibrated_sets(
    trained: CellsRun, column: CellColumn, coverage: float, by: str | None
) -> CalibratedSets:
    """Calibrate sets of a column on the test rows of a run, each group of ``by`` by itself."""
    if not isinstance(coverage, float | int) or not 0 < coverage < 1:
        raise DataError(f"coverage: expected a number between 0 and 1, received {coverage!r:.60}")
    group_column = None if by is None else _group_column(trained, by, column)
    scores = _held_out_scores(trained, column)
    codes = _group_codes(trained, group_column, trained.held_out)
    known = ~np.isnan(scores)
    groups = {
        int(code): calibrated(scores[known & (codes == code)], coverage)
        for code in np.unique(codes)
    }
    return CalibratedSets(coverage, group_column, groups)


def _held_out_scores(trained: CellsRun, column: CellColumn) -> np.ndarray:
    """Scores ``(n,)`` of the test rows' own values, computed once, whatever the coverage."""
    if column.name not in trained.held_out_scores:
        rows = TableRows(trained.density, trained.held_out)
        place = trained.columns.index(column.name)
        median = np.array([0.5])
        with phase(f"calibrating {printable(column.name)}: {len(rows):,} test rows"):
            posterior = conditional_of_known(rows, place, median, trained.config.seed)
        scores = own_scores(column, posterior, rows.cells[:, place])
        trained.held_out_scores[column.name] = scores
    return trained.held_out_scores[column.name]


def _group_column(trained: CellsRun, by: str, target: CellColumn) -> CellColumn:
    """Column of levels of that name, not the target (``DataError``)."""
    of_levels = {
        column.name: column
        for column in trained.density.row[: len(trained.density.cells)]
        if not column.has_numbers and column.name != target.name
    }
    if by not in of_levels:
        raise DataError(
            f"--by: expected a column of levels: one of {listed(list(of_levels)) or 'none here'}. "
            f"Received: {shown(by)}{nearest(by, list(of_levels))}"
        )
    return of_levels[by]


def _group_codes(trained: CellsRun, by: CellColumn | None, rows: np.ndarray) -> np.ndarray:
    """Codes ``(n,)`` of the groups of rows ``(n, C)``; 0 without a column of groups."""
    if by is None:
        return np.zeros(len(rows), int)
    levels = rows[:, trained.columns.index(by.name)]
    return np.nan_to_num(levels, nan=MISSING_GROUP).astype(int)


def own_scores(column: CellColumn, posterior: CellPosterior, values: np.ndarray) -> np.ndarray:
    """Scores ``(n,)`` of the rows' own values, NaN if missing: of a number how central an interval
    is that contains it, of a level 1 less its probability, both given not missing.
    """
    if column.has_numbers:
        return central_scores(posterior.below, posterior.at)
    shares = _at_own_levels(shares_of(posterior), values)
    return np.where(np.isnan(values), np.nan, 1 - shares)


def _at_own_levels(by_level: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Entries of ``(n, L)`` at the rows' own levels ``(n,)``; 0 at a new level."""
    at_new = np.zeros((len(levels), 1), by_level.dtype)
    by_outcome = np.append(by_level, at_new, axis=1)
    places = np.nan_to_num(levels, nan=-1.0).astype(int)
    return by_outcome[np.arange(len(levels)), places]


def central_ends(thresholds: np.ndarray) -> np.ndarray:
    """Probabilities ``(n, 2)`` of the ends of central intervals of scores up to thresholds.

    A value of the threshold's score, just above its interval, is in it.
    """
    share = np.minimum(thresholds + ROUNDING_OF_SHARES, 1.0)[:, None]
    return np.concatenate([(1 - share) / 2, (1 + share) / 2], axis=1)


class Question(NamedTuple):
    """A question for predictions, to a density: checked, with its calibration.

    Attributes:
        columns: The targets.
        by_draws: Whether they are several, or computed from others.
        p: Probabilities of the quantiles, in order.
        sets: Calibration of the sets; ``None`` without.
        group: Column by which rows of the run are grouped, if any.
    """

    columns: list[CellColumn]
    by_draws: bool
    p: np.ndarray
    sets: CalibratedSets | None
    group: str | None

    @property
    def names(self) -> list[str]:
        """Names of the targets."""
        return [column.name for column in self.columns]

    def expect_one_target(self, **options: float | str | Path | None) -> None:
        """Check that options of one target, not computed, are set for no others (``DataError``)."""
        for name, value in options.items():
            if self.by_draws and value is not None:
                expected = "expected one target, not computed from others"
                raise DataError(f"{name}: {expected}, received {listed(self.names)}")


def question_of(
    trained: CellsRun,
    target: Sequence[str] | None = None,
    quantiles: Sequence[float] = QUANTILES,
    coverage: float | None = None,
    by: str | None = None,
) -> Question:
    """Question for the columns ``target``, by default the only modelled one.

    Args:
        trained: The density.
        target: Names of columns.
        quantiles: Their probabilities.
        coverage: Share of fresh values in a set; ``None``: no sets.
        by: Column whose levels are calibrated by themselves.
    """
    columns = _targets(trained, target)
    p = probabilities(quantiles)
    computed = trained.columns[len(trained.density.cells) :]
    by_draws = len(columns) > 1 or columns[0].name in computed
    question = Question(columns, by_draws, p, None, trained.config.data.group)
    if by_draws:
        question.expect_one_target(coverage=coverage, by=by)
        _expect_different_names(columns, p)
    elif coverage is not None:
        return question._replace(sets=calibrated_sets(trained, columns[0], coverage, by))
    elif by is not None:
        raise DataError("--by: expected --coverage too")
    return question


def _targets(trained: CellsRun, names: Sequence[str] | None) -> list[CellColumn]:
    targets = {column.name: column for column in trained.density.scored}
    known = list(targets)
    modelled = known[: len(trained.density.cells) - trained.density.n_given]
    default = modelled if len(modelled) == 1 else ()
    names = list(names or trained.config.data.target or default)
    count = "some" if len(names) > 1 else "one"
    expected = f"--target: expected {count} of {listed(known)}"
    if not names:
        raise DataError(expected)
    for name in names:
        if name not in targets:
            hint = ", a given column" if name in trained.given else nearest(name, known)
            raise DataError(f"{expected}. Received: {shown(name)}{hint}")
    return [targets[name] for name in names]


def _expect_different_names(columns: Sequence[CellColumn], p: np.ndarray) -> None:
    """Check that the columns added for the targets differ in name (``DataError``)."""
    taken = {EFFECTIVE}
    for column in columns:
        added = set(_names_of_statistics(column, p))
        if repeated := sorted(added & taken):
            raise DataError(
                "--target: expected targets whose added columns differ in name. Received two "
                f"called {listed(repeated)}: predict {shown(column.name)} by itself"
            )
        taken |= added


def probabilities(quantiles: Sequence[float]) -> np.ndarray:
    """Probabilities of quantiles, checked and in order."""
    try:
        p = np.unique(np.round(np.asarray(quantiles, float), DIGITS))
    except (TypeError, ValueError):
        p = np.zeros(1)
    if not len(p) or not ((p > 0) & (p < 1)).all():
        raise DataError(f"quantiles: expected numbers between 0 and 1, received {quantiles!r:.60}")
    return p


class Predicted(NamedTuple):
    """Predictions of a column given all others, by quadrature.

    Attributes:
        question: What is to be predicted.
        rows: Of the table.
        values: Their own values ``(n,)`` of the column; ``None`` if the table lacks it.
        posterior: The distributions.
        thresholds: Largest scores ``(n,)`` in the sets.
        ends: Of intervals ``(n, 2)``, of numbers with sets; else ``(n, 0)``.
    """

    question: Question
    rows: TableRows
    values: np.ndarray | None
    posterior: CellPosterior
    thresholds: np.ndarray
    ends: np.ndarray

    @property
    def column(self) -> CellColumn:
        """The predicted column."""
        return self.question.columns[0]

    @property
    def columns(self) -> dict[str, Any]:
        """The columns to be written, by name."""
        column = self.column
        posterior = self.posterior
        statistics = posterior.levels
        if column.has_numbers:
            statistics = np.column_stack([posterior.mean, posterior.sd, posterior.quantiles])
        columns = _written_statistics(column, statistics, self.question.p)
        if column.has_numbers and _is_date(column.kind):
            columns[f"{column.name}_mean"] = written_number(column.kind, posterior.mean)
        for end, values in zip(("low", "high"), self.ends.T):
            columns[f"{column.name}_{end}"] = written_number(column.kind, values)
        if column.missing is not None:
            columns[f"{column.name}_missing"] = posterior.missing
        if not column.has_numbers:
            likeliest = posterior.levels.argmax(axis=1)
            columns[f"{column.name}_level"] = as_written(column.kind, likeliest)
            if self.question.sets:
                columns[f"{column.name}_set"] = self._written_sets()
        if self.values is not None:
            columns[f"{column.name}_log_p"] = posterior.log_prob
        if column.has_numbers:
            columns["quadrature_error"] = posterior.error
        return columns

    def _written_sets(self) -> np.ndarray:
        """Sets of levels of the rows ``(n,)``, as JSON."""
        levels = np.array([str(level) for level in self.column.first], object)
        sets = [list(levels[is_member]) for is_member in self.members]
        return np.array([json.dumps(texts, ensure_ascii=False) for texts in sets], object)

    @property
    def is_resolved(self) -> np.ndarray:
        """Whether the quadrature of rows ``(n,)`` is resolved."""
        return self.posterior.error <= UNRESOLVED

    @property
    def members(self) -> np.ndarray:
        """The levels ``(n, L)`` in the sets: of scores up to thresholds, the likeliest always."""
        shares = shares_of(self.posterior)
        likeliest = shares == shares.max(axis=1, keepdims=True)
        return (1 - shares <= self.thresholds[:, None]) | likeliest


class Drawn(NamedTuple):
    """Predictions of several columns, or of a computed one, given the others, by draws.

    Attributes:
        question: What is to be predicted.
        rows: Of the table.
        statistics: Of each target mean, sd and quantiles, or probabilities of levels ``(n, k)``.
        effective: Effective sample sizes ``(n,)`` of the draws; NaN without draws.
    """

    question: Question
    rows: TableRows
    statistics: list[np.ndarray]
    effective: np.ndarray

    @property
    def columns(self) -> dict[str, Any]:
        """The columns to be written, by name."""
        columns: dict[str, Any] = {}
        for column, statistics in zip(self.question.columns, self.statistics):
            columns |= _written_statistics(column, statistics, self.question.p)
        return {**columns, EFFECTIVE: self.effective}


def _names_of_statistics(column: CellColumn, p: np.ndarray) -> list[str]:
    """Names of the written mean, sd and quantiles of numbers, or probabilities of levels."""
    if column.has_numbers:
        quantiles = [f"q{share:.{DIGITS}g}" for share in p]
        statistics = ["mean", "sd", *quantiles]
    else:
        statistics = [f"p_{level}" for level in column.first]
    return [f"{column.name}_{statistic}" for statistic in statistics]


def _written_statistics(
    column: CellColumn, statistics: np.ndarray, p: np.ndarray
) -> dict[str, Any]:
    """Statistics ``(n, k)`` as columns by name; quantiles are values of the column."""
    names = _names_of_statistics(column, p)
    columns = dict(zip(names, statistics.T))
    if column.has_numbers:
        for name in names[2:]:
            columns[name] = written_number(column.kind, columns[name])
    return columns


def _is_date(kind: ColumnKind) -> bool:
    return kind.type in ("date", "time") or kind.form is not None


def written_number(kind: ColumnKind, values: np.ndarray) -> Any:
    """Numbers ``(n,)`` in the column's decimals, and dates as in the table."""
    if _is_date(kind):
        values = np.where(np.isfinite(values), values, np.nan)
    if kind.decimals is not None:
        values = np.round(values, kind.decimals)
    return as_written(kind, values)


def predicted(trained: CellsRun, table: Any, question: Question) -> Predicted | Drawn:
    """Predict columns of a table, or of rows ``(n, C)``, from the others."""
    sources = _modelled_sources(trained, question)
    cells, has_target = _cells(trained, table, question, sources)
    rows = TableRows(trained.density, cells)
    text = f"predicting {printable(listed(question.names))}: {len(rows):,} rows"
    with phase(text, len(rows)) as advance:
        if question.by_draws:
            return _by_draws(trained, rows, question, sources, advance)
        return _by_quadrature(trained, rows, question, has_target, advance)


def _modelled_sources(trained: CellsRun, question: Question) -> list[str]:
    """Names of the modelled columns from which targets are computed."""
    places = set[int]()
    for computed in trained.density.computed:
        if computed.column.name in question.names:
            places |= {place for place, _ in computed.sources}
    return [trained.columns[place] for place in sorted(places) if place >= trained.density.n_given]


def _cells(
    trained: CellsRun, table: Any, question: Question, sources: Collection[str]
) -> tuple[np.ndarray, bool]:
    """Cells ``(n, C)``, computed columns and what is not read unknown, and whether they have the
    only target. A computed target's ``sources`` may be absent.
    """
    opened_table = opened(table)
    if opened_table is None:
        return trained.rows(table), True
    present = {column.name for column in opened_table.columns}
    has_target = not question.by_draws and present.issuperset(question.names)
    unread = set(sources) - present
    if not has_target:
        unread |= set(question.names)
    not_computed = trained.columns[: len(trained.density.cells)]
    names = [name for name in not_computed if name not in unread]
    if not names:
        raise DataError("--target: expected another column, from which to predict")
    cells = trained.rows_of(opened_table, names)
    return trained.rows_with(names, cells), has_target


def _by_quadrature(
    trained: CellsRun, rows: TableRows, question: Question, has_target: bool, advance: Advance
) -> Predicted:
    """Distributions of the target, with quantiles at the ends of intervals if there are sets."""
    place = trained.columns.index(question.names[0])
    thresholds = np.zeros(len(rows))
    of_ends = np.empty((len(rows), 0))
    if question.sets:
        thresholds = question.sets.thresholds(trained, rows.cells)
        if question.columns[0].has_numbers:
            of_ends = central_ends(thresholds)
    of_quantiles = np.tile(question.p, (len(rows), 1))
    p = np.append(of_quantiles, of_ends, axis=1)
    posterior = conditional_of_known(rows, place, p, trained.config.seed, advance)
    quantiles, ends = np.split(posterior.quantiles, [len(question.p)], axis=1)
    posterior = posterior._replace(quantiles=quantiles)
    if ends.size:
        widening = np.where(thresholds < 1, 0.0, np.inf)  # a set may contain all values
        ends = ends + widening[:, None] * [-1, 1]
    values = rows.cells[:, place] if has_target else None
    return Predicted(question, rows, values, posterior, thresholds, ends)


def _by_draws(
    trained: CellsRun,
    rows: TableRows,
    question: Question,
    sources: Collection[str],
    advance: Advance,
) -> Drawn:
    """Completions of the rows; a computed target is the function of its sources, which are drawn
    where they are unknown.
    """
    places = [trained.columns.index(name) for name in question.names]
    computed_targets = [target for target in trained.density.computed if target.place in places]
    source_places = [trained.columns.index(name) for name in sources]
    unknown = _unknown_cells(rows, places, source_places)
    statistics = [
        np.full((len(rows), len(_names_of_statistics(column, question.p))), np.nan)
        for column in question.columns
    ]
    effective = np.full(len(rows), np.nan)
    rng = stream(trained.config.seed, "computed targets")
    for completed in _completions(trained, rows, unknown):
        advance(len(completed.places))
        for target in computed_targets:
            flat = completed.draws.reshape(-1, rows.cells.shape[1])
            values = target.draw(flat, rng)
            completed.draws[:, :, target.place] = values.reshape(completed.weights.shape)
        if completed.draws.shape[1] > 1:
            effective[completed.places] = completed.effective
        for column, place, of_column in zip(question.columns, places, statistics):
            of_column[completed.places] = _statistics(column, completed, place, question.p)
    return Drawn(question, rows, statistics, effective)


def _unknown_cells(
    rows: TableRows, places: Sequence[int], source_places: Sequence[int]
) -> np.ndarray:
    """Which cells ``(n, C)`` are to be drawn, for targets at ``places``."""
    n_cells = len(rows.density.cells)
    unknown = np.zeros(rows.cells.shape, bool)
    unknown[:, places] = True
    unknown[:, source_places] |= np.isnan(rows.cells[:, source_places])
    unknown |= rows.unknown() & unknown.any(axis=1, keepdims=True)
    # One cell is completed by quadrature, which ignores computed columns.
    unknown[:, n_cells:] = unknown[:, :n_cells].sum(axis=1, keepdims=True) > 1
    return unknown


def _completions(trained: CellsRun, rows: TableRows, unknown: np.ndarray) -> Iterator[Completions]:
    """Completions of rows with unknown cells, and the others as they are."""
    complete = np.flatnonzero(~unknown.any(axis=1))
    if len(complete):
        draws = rows.cells[complete, None]
        weights = np.ones((len(complete), 1))
        yield Completions(draws, weights, complete, present=np.full(len(complete), np.nan))
    yield from completions(rows, unknown, trained.config.seed)


def _statistics(
    column: CellColumn, completed: Completions, place: int, p: np.ndarray
) -> np.ndarray:
    """Mean, sd and quantiles at ``p`` of numbers, or probabilities of levels, ``(b, k)``."""
    values = completed.draws[:, :, place]
    weights = completed.weights
    if not column.has_numbers:
        levels = range(len(column.first))
        shares = [(weights * (values == level)).sum(axis=1) for level in levels]
        return np.stack(shares, axis=1)
    mean = (weights * values).sum(axis=1)
    sd = np.sqrt((weights * np.square(values - mean[:, None])).sum(axis=1))
    p_of_rows = np.broadcast_to(p, (len(values), len(p)))
    return np.column_stack([mean, sd, quantiles_of(values, weights, p_of_rows)])


def answer(
    trained: CellsRun, table: TableFile, question: Question, plot: Path | None = None
) -> Answer:
    """Predictions of a table's rows, and their scores; ``plot``: a file for a picture of them."""
    question.expect_one_target(plot=plot)
    prediction = predicted(trained, table, question)
    columns = prediction.columns
    expect_room(trained, columns)
    if plot is not None and isinstance(prediction, Predicted):
        _write_picture(prediction, table.name, plot)
    return Answer(columns, judged(question, _tally(trained, prediction), table.name))


def note_quadrature(trained: CellsRun, question: Question, seconds: float) -> None:
    """Print a note on a long quadrature over columns that depend on the target, and the fit that
    needs none.
    """
    density = trained.density
    name = question.names[0]
    is_last = not density.unmixing and name == density.cells[-1].name
    if question.by_draws or is_last or seconds < WAIT_SECONDS:
        return
    name = printable(name)
    tell(
        f"predict: {duration(seconds)} of quadrature, as other modelled columns depend on {name}: "
        f"a fit of {name} given the others (nflow fit ... --target {name}) predicts 1,000 rows in "
        "seconds"
    )


def _write_picture(prediction: Predicted, subject: str, path: Path) -> None:
    from nflow_cli import plotting

    column = prediction.column
    values = prediction.values
    posterior = prediction.posterior
    if values is None:
        raise DataError(f"--plot: expected the target {shown(column.name)} in {subject}")
    if column.has_numbers:
        p = prediction.question.p
        sets = prediction.question.sets
        ends = posterior.quantiles[:, [0, -1]]
        share = p[-1] - p[0]
        if sets:
            ends = prediction.ends
            share = sets.coverage
        middle = posterior.quantiles[:, np.argmin(np.abs(p - 0.5))]
        intervals = plotting.Intervals(middle, ends[:, 0], ends[:, 1], float(share))
        figure = plotting.intervals_figure(
            column.name, column.kind, values, intervals, printable(subject)
        )
    else:
        levels = [str(level) for level in column.first]
        figure = plotting.levels_figure(
            column.name, levels, posterior.levels, values, printable(subject)
        )
    write_file(path, lambda file: plotting.save_figure(figure, file, path.suffix[1:].lower()))


def _tally(trained: CellsRun, prediction: Predicted | Drawn) -> Tally:
    rows = prediction.rows
    density = trained.density
    are_hidden = rows.are_empty[:, : density.n_given].any(axis=1)
    counts = {
        "n": len(rows),
        **rows.counts(prediction.question.names),
        "n_hidden": int(are_hidden.sum()),
    }
    if isinstance(prediction, Drawn):
        least = float(np.nanmin(prediction.effective, initial=np.inf))
        return Tally(counts=counts, least={EFFECTIVE: least})
    place = trained.columns.index(prediction.column.name)
    counts["n_unknown"] = int(rows.unknown(place).any(axis=1).sum())
    counts[OWN] = prediction.values is not None and are_own(trained, rows.cells)
    if prediction.column.has_numbers:
        counts["n_unresolved"] = int((~prediction.is_resolved).sum())
    if prediction.question.sets:
        counts["n_infinite"] = int((~np.isfinite(prediction.thresholds)).sum())
    means = {
        name: Moments.of(scores[~np.isnan(scores)])
        for name, scores in _row_scores(prediction).items()
    }
    if prediction.values is None:
        return Tally(means, counts)
    values = np.where(prediction.is_resolved, prediction.values, np.nan)
    losses = tally_of(density, place, prediction.question.p, prediction.posterior, values)
    return losses._replace(means={**means, **losses.means}, counts=counts)


def _row_scores(prediction: Predicted) -> dict[str, np.ndarray]:
    """Scores ``(n,)`` by name; NaN of rows that do not count: unresolved, or without a value."""
    sets = prediction.question.sets
    values = prediction.values
    if values is None:
        values = np.full(len(prediction.rows), np.nan)
    scores: dict[str, np.ndarray] = {}  # of the distribution
    coverages: dict[str, np.ndarray] = {}  # of the value by the distribution
    if prediction.column.has_numbers:
        low, high = prediction.posterior.quantiles[:, [0, -1]].T
        scores["width"] = high - low
        coverages["coverage"] = are_between(values, low, high)
        if sets:
            low, high = prediction.ends.T
            scores["set_width"] = np.where(prediction.thresholds < 1, high - low, np.nan)
            coverages["set_coverage"] = are_between(values, low, high)
    elif sets:
        scores["set_size"] = prediction.members.sum(axis=1)
        coverages["set_coverage"] = _at_own_levels(prediction.members, values)
    is_scored = prediction.is_resolved
    scores = {name: np.where(is_scored, sizes, np.nan) for name, sizes in scores.items()}
    if prediction.values is None:
        return scores
    is_scored = is_scored & ~np.isnan(values)
    for name, is_covered in coverages.items():
        scores[name] = np.where(is_scored, is_covered, np.nan)
    scores["log_p"] = prediction.posterior.log_prob
    return scores


def are_between(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether values are in intervals with their ends, to rounding: ends may lie on a grid."""
    close = ROUNDING * np.abs(values)
    return (low - close <= values) & (values <= high + close)


def judged(question: Question, tally: Tally, name: str) -> Judgement:
    """Judgement of the predictions of a table's rows by the sums over them."""
    counts = {key: count for key, count in tally.counts.items() if key != OWN}
    names = printable(listed(question.names))
    lines = [("data", f"{printable(name)}: {counts['n']:,} rows")]
    if question.by_draws:
        least = tally.least[EFFECTIVE]
        scores = {"target": question.names, **counts, "least_effective_draws": least}
        draws = f"by importance sampling; least effective sample size of a row {least:.1f}"
        if least == np.inf:
            draws = "none: all rows have the sources of the target"
        lines += [("targets", names), ("draws", draws), *_printed(question, scores, [])]
        return Judgement(scores, lines, [], tally)
    scores = {"target": question.names[0], **counts, **_scores(question.sets, tally)}
    own_rows = OWN_ROWS if tally.counts[OWN] else None
    warnings = found_warnings(own_rows, grouped_rows(scores, question.group))
    lines += [("target", names), *_printed(question, scores, warnings)]
    return Judgement(scores, lines, warnings, tally)


def _scores(sets: CalibratedSets | None, tally: Tally) -> Summary:
    scores: dict[str, Any] = {**scores_of(tally)}
    if sets:
        groups = [
            {
                "group": sets.group_name(code),
                "n": calibration.n,
                "coverage_low": calibration.band[0],
                "coverage_high": calibration.band[1],
            }
            for code, calibration in sets.groups.items()
        ]
        scores["calibration"] = {"coverage": sets.coverage, "groups": groups}
    return scores


def _printed(question: Question, scores: Summary, warnings: Warnings) -> Rows:
    low, high = question.p[[0, -1]]
    width = figure(scores, "width")
    means = {
        "width": ("mean width", f"{width}, from the {low:g} to the {high:g} quantile"),
        "log_p": ("mean log p", mean_text(scores, "log_p", "nats a row")),
        "coverage": ("coverage", mean_text(scores, "coverage", f"(nominal {high - low:.4g})")),
    }
    rows = [
        (label, marked(text, warnings, key))
        for key, (label, text) in means.items()
        if key in scores
    ]
    rows += loss_rows(scores)
    rows += counted_rows(COUNTED, scores)
    if question.sets:
        rows += _printed_sets(question.sets, scores)
    return rows


def _printed_sets(sets: CalibratedSets, scores: Summary) -> Rows:
    words = {"set_width": "width", "set_size": "size", "set_coverage": "coverage"}
    means = [f"{word} {figure(scores, key)}" for key, word in words.items() if key in scores]
    rows = [("sets", f"{sets.coverage:.4g} of fresh rows; mean {', '.join(means)}")]
    for code, calibration in sets.groups.items():
        label = "" if sets.by is None else printable(sets.group_name(code))
        text = f"{calibration.n:,} test rows: "
        if np.isinf(calibration.threshold):
            text += f"too few for {sets.coverage:.4g}, sets contain all values"
        else:
            low, high = calibration.band
            text += f"coverage of this calibration {low:.1%} to {high:.1%}"
        rows.append((label, text))
    if scores["n_infinite"]:
        rows.append(("infinite", f"{scores['n_infinite']:,} rows of groups with too few test rows"))
    return rows

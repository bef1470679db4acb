"""Predictions of columns of a table from the others, by a density of cells."""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.data.files.table_files import opened
from nflow_cli.data.files.tables import TableFile, listed, shown
from nflow_cli.data.files.writing import as_written
from nflow_cli.data.files.written import DIGITS
from nflow_cli.errors import DataError
from nflow_cli.evaluation.tallies import Moments, Tally
from nflow_cli.evaluation.warnings import (
    ScoreWarning,
    Summary,
    grouped_rows,
    marked,
    raised_warnings,
)
from nflow_cli.experiments.summary import (
    Answer,
    Judgement,
    Rows,
    Warnings,
    counted_rows,
    figure,
    mean_text,
)
from nflow_cli.random_streams import stream
from nflow_cli.registry import nearest
from nflow_cli.runs.directory import write_file
from nflow_cli.tables.cells.cell_columns import CellColumn
from nflow_cli.tables.cells.cell_conditional import UNRESOLVED, CellPosterior
from nflow_cli.tables.given import Completions, completions, weighted_quantiles
from nflow_cli.tables.loaded_tables import (
    OWN_TABLES,
    CellsRun,
    are_rows_of_run,
    expect_new_names,
)
from nflow_cli.tables.losses import QUANTILES, scores_of, shares_of, tally_of
from nflow_cli.tables.scores.conformal import Calibration, calibrated, central_scores
from nflow_cli.tables.table_report import loss_rows
from nflow_cli.tables.table_rows import COUNTED_CELLS, TableRows
from nflow_cli.tables.unknown import DRAWS, conditional_of_known
from nflow_cli.terminal.output import tell
from nflow_cli.terminal.progress import WAIT_SECONDS, duration, phase
from nflow_cli.text import printable

VALUE_ROUNDING = 1e-12  # of a number, relative
SHARE_ROUNDING = 1e-9  # of a calibrated threshold, a share
EFFECTIVE_DRAWS = "effective_draws"  # name of a written column
MISSING_GROUP = -2  # code of the rows without a level
GROUP_NAMES = {-1: "new", MISSING_GROUP: "missing"}
# Label and text of each count in the printed scores.
COUNT_TEXTS = {
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
Advance = Callable[[int], None]  # called with the number of rows done
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
        return GROUP_NAMES.get(code) or self.by.levels[code]

    def thresholds(self, trained: CellsRun, rows: np.ndarray) -> np.ndarray:
        """Largest nonconformity scores ``(n,)`` in the sets of rows ``(n, C)``, by their groups;
        ``inf`` if a group has too few test rows.
        """
        codes = _group_codes(trained, self.by, rows)
        thresholds = np.full(len(rows), np.inf)
        for code, calibration in self.groups.items():
            thresholds[codes == code] = calibration.threshold
        return thresholds


def calibrated_sets(
    trained: CellsRun, column: CellColumn, coverage: float, by: str | None
) -> CalibratedSets:
    """Calibrate sets of a column on the test rows of a run (split conformal prediction), each level
    of the column ``by`` by itself; if the run groups rows, for rows of fresh groups.
    """
    if not isinstance(coverage, float | int) or not 0 < coverage < 1:
        raise DataError(f"coverage: expected a number between 0 and 1, received {coverage!r:.60}")
    group_column = None if by is None else _group_column(trained, by, column)
    scores = _held_out_scores(trained, column)
    codes = _group_codes(trained, group_column, trained.held_out)
    known = ~np.isnan(scores)
    clusters = trained.held_out_groups
    groups = {}
    for code in np.unique(codes):
        rows = known & (codes == code)
        of_rows = None if clusters is None else clusters[rows]
        groups[int(code)] = calibrated(scores[rows], coverage, of_rows)
    return CalibratedSets(coverage, group_column, groups)


def _held_out_scores(trained: CellsRun, column: CellColumn) -> np.ndarray:
    """Nonconformity scores ``(n,)`` of a column's values in the test rows, NaN if missing; computed
    once for any coverage.
    """
    if column.name not in trained.held_out_scores:
        rows = TableRows(trained.density, trained.held_out)
        place = trained.columns.index(column.name)
        p = np.array([0.5])  # of quantiles, which the scores do not need
        with phase(f"calibrating {printable(column.name)}: {len(rows):,} test rows"):
            posterior = conditional_of_known(rows, place, p, trained.config.seed)
        scores = nonconformity_scores(column, posterior, rows.values[:, place])
        trained.held_out_scores[column.name] = scores
    return trained.held_out_scores[column.name]


def _group_column(trained: CellsRun, by: str, target: CellColumn) -> CellColumn:
    """Column named ``by``; raise a DataError unless it has levels and is not the target."""
    of_levels = {
        column.name: column
        for column in trained.density.row_columns[: len(trained.density.columns)]
        if column.has_levels and column.name != target.name
    }
    if by not in of_levels:
        raise DataError(
            f"--by: expected a column of levels: one of {listed(list(of_levels)) or 'none here'}. "
            f"Received: {shown(by)}{nearest(by, list(of_levels))}"
        )
    return of_levels[by]


def _group_codes(trained: CellsRun, by: CellColumn | None, rows: np.ndarray) -> np.ndarray:
    """Codes ``(n,)`` of the groups of rows ``(n, C)``: of their levels; 0 without such a column."""
    if by is None:
        return np.zeros(len(rows), int)
    levels = rows[:, trained.columns.index(by.name)]
    return np.nan_to_num(levels, nan=MISSING_GROUP).astype(int)


def nonconformity_scores(
    column: CellColumn, posterior: CellPosterior, values: np.ndarray
) -> np.ndarray:
    """Nonconformity scores ``(n,)`` of the rows' values ``(n,)``, NaN if missing.

    Of a number the share of the least central interval that contains it, of a level 1 less its
    probability, both given that the cell is not missing.
    """
    if column.has_numbers:
        return central_scores(posterior.below, posterior.at)
    shares = _entries_at_levels(shares_of(posterior), values)
    return np.where(np.isnan(values), np.nan, 1 - shares)


def _entries_at_levels(by_level: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Entry of each row of ``(n, L)`` at its level ``(n,)``; 0 at a new or a missing one."""
    at_new = np.zeros((len(levels), 1), by_level.dtype)
    by_outcome = np.append(by_level, at_new, axis=1)
    places = np.nan_to_num(levels, nan=-1.0).astype(int)
    return by_outcome[np.arange(len(levels)), places]


def central_ends(thresholds: np.ndarray) -> np.ndarray:
    """Probabilities ``(n, 2)`` at which quantiles are the ends of central intervals, by thresholds
    ``(n,)`` of scores, the shares of these intervals.

    To rounding, so that a value with the threshold's own score is in its interval.
    """
    share = np.minimum(thresholds + SHARE_ROUNDING, 1.0)[:, None]
    return np.concatenate([(1 - share) / 2, (1 + share) / 2], axis=1)


class Question(NamedTuple):
    """Question for predictions: the targets, the quantiles, and the calibration of sets.

    Attributes:
        columns: The targets.
        by_draws: Whether there are several targets, or one computed from other columns.
        p: Probabilities ``(k,)`` of the quantiles, in order.
        sets: Calibration of the sets; ``None``: no sets.
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
    """Question for predictions of the columns ``target``, by default the only modelled one.

    Args:
        trained: The density.
        target: Names of columns.
        quantiles: Their probabilities.
        coverage: Share of fresh values in a set; ``None``: no sets.
        by: Column whose levels are calibrated by themselves.
    """
    columns = _targets(trained, target)
    p = probabilities(quantiles)
    computed_names = trained.columns[len(trained.density.columns) :]
    by_draws = len(columns) > 1 or columns[0].name in computed_names
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
    """Columns to predict, by default the targets of the run, or its only modelled column.

    Raise a DataError if there are none, or if one is neither modelled nor computed.
    """
    targets = {column.name: column for column in trained.density.scored_columns}
    possible = list(targets)  # modelled columns, then computed ones
    modelled = possible[: len(trained.density.columns) - trained.density.n_given]
    default = modelled if len(modelled) == 1 else ()
    names = list(names or trained.config.data.target or default)
    count = "some" if len(names) > 1 else "one"
    expected = f"--target: expected {count} of {listed(possible)}"
    if not names:
        raise DataError(expected)
    for name in names:
        if name not in targets:
            hint = ", a given column" if name in trained.given else nearest(name, possible)
            raise DataError(f"{expected}. Received: {shown(name)}{hint}")
    return [targets[name] for name in names]


def _expect_different_names(columns: Sequence[CellColumn], p: np.ndarray) -> None:
    """Check that the columns added for the targets differ in name (``DataError``)."""
    taken = {EFFECTIVE_DRAWS}
    for column in columns:
        added = set(_names_of_statistics(column, p))
        if repeated := sorted(added & taken):
            raise DataError(
                "--target: expected targets whose added columns differ in name. Received two "
                f"called {listed(repeated)}: predict {shown(column.name)} by itself"
            )
        taken |= added


def probabilities(quantiles: Sequence[float]) -> np.ndarray:
    """Probabilities ``(k,)`` of quantiles in ascending order, each once; raise a DataError unless
    they are numbers between 0 and 1.
    """
    try:
        p = np.unique(np.round(np.asarray(quantiles, float), DIGITS))
    except (TypeError, ValueError):
        p = np.zeros(1)  # refused below
    if not len(p) or not ((p > 0) & (p < 1)).all():
        raise DataError(f"quantiles: expected numbers between 0 and 1, received {quantiles!r:.60}")
    return p


class Predicted(NamedTuple):
    """Predictions of a column given all others, by quadrature.

    Attributes:
        question: What is to be predicted.
        rows: The n rows of the table.
        observed: The column's values ``(n,)`` in the table; ``None`` if that lacks the column.
        posterior: Distribution of the column in each row.
        thresholds: Largest nonconformity scores ``(n,)`` in the sets; 0 without sets.
        set_ends: Lower and upper ends ``(n, 2)`` of the sets of numbers, or of levels in order;
            ``(n, 0)`` without.
    """

    question: Question
    rows: TableRows
    observed: np.ndarray | None
    posterior: CellPosterior
    thresholds: np.ndarray
    set_ends: np.ndarray

    @property
    def column(self) -> CellColumn:
        """The predicted column."""
        return self.question.columns[0]

    @property
    def columns(self) -> dict[str, Any]:
        """The columns to be written, by name."""
        column = self.column
        posterior = self.posterior
        statistics = [posterior.levels]
        if not column.has_levels:
            statistics = [posterior.mean, posterior.sd]
        if column.has_numbers:
            statistics.append(posterior.quantiles)
        columns = _written_statistics(column, np.column_stack(statistics), self.question.p)
        if not column.has_levels and _is_date(column.kind):
            columns[f"{column.name}_mean"] = written_number(column.kind, posterior.mean)
        for end, values in zip(("low", "high"), self.set_ends.T):
            columns[f"{column.name}_{end}"] = written_number(column.kind, values)
        if column.missing_code is not None:
            columns[f"{column.name}_missing"] = posterior.missing
        if column.has_levels:
            likeliest = posterior.levels.argmax(axis=1)
            columns[f"{column.name}_level"] = as_written(column.kind, likeliest)
            if self.question.sets and not column.has_numbers:
                columns[f"{column.name}_set"] = self._written_sets()
        if self.observed is not None:
            columns[f"{column.name}_log_p"] = posterior.log_prob
        if not column.has_levels:
            columns["quadrature_error"] = posterior.error
        return columns

    def _written_sets(self) -> np.ndarray:
        """Sets of levels of the rows ``(n,)``, as JSON."""
        levels = np.array(self.column.levels, object)
        sets = [list(levels[is_member]) for is_member in self.are_in_sets]
        return np.array([json.dumps(texts, ensure_ascii=False) for texts in sets], object)

    @property
    def is_resolved(self) -> np.ndarray:
        """Whether the quadrature of rows ``(n,)`` is resolved."""
        return self.posterior.error <= UNRESOLVED

    @property
    def are_in_sets(self) -> np.ndarray:
        """Whether the set of a row has each level, ``(n, L)``: one whose nonconformity score is at
        most the threshold, and the likeliest always.
        """
        shares = shares_of(self.posterior)
        likeliest = shares == shares.max(axis=1, keepdims=True)
        return (1 - shares <= self.thresholds[:, None]) | likeliest


class Drawn(NamedTuple):
    """Predictions of several columns, or of a computed one, given the others, by draws.

    Attributes:
        question: What is to be predicted.
        rows: The n rows of the table.
        statistics: Of each target ``(n, k)``: mean, sd and quantiles, or probabilities of levels.
        effective_sizes: Effective sample sizes ``(n,)`` of the draws; NaN without draws.
    """

    question: Question
    rows: TableRows
    statistics: list[np.ndarray]
    effective_sizes: np.ndarray

    @property
    def columns(self) -> dict[str, Any]:
        """The columns to be written, by name."""
        columns: dict[str, Any] = {}
        for column, statistics in zip(self.question.columns, self.statistics):
            columns |= _written_statistics(column, statistics, self.question.p)
        return {**columns, EFFECTIVE_DRAWS: self.effective_sizes}


def _names_of_statistics(column: CellColumn, p: np.ndarray) -> list[str]:
    """Names of a target's written columns: mean and sd of numbers, or the probabilities of levels;
    of numbers and of levels in order quantiles at ``p``.
    """
    statistics = ["mean", "sd"]
    if column.has_levels:
        statistics = [f"p_{level}" for level in column.levels]
    if column.has_numbers:
        statistics += [f"q{p_of_quantile:.{DIGITS}g}" for p_of_quantile in p]
    return [f"{column.name}_{statistic}" for statistic in statistics]


def _written_statistics(
    column: CellColumn, statistics: np.ndarray, p: np.ndarray
) -> dict[str, Any]:
    """Written columns of statistics ``(n, k)``, by name: see :func:`_names_of_statistics`.

    Quantiles are written as values of the column, such as dates.
    """
    names = _names_of_statistics(column, p)
    columns = dict(zip(names, statistics.T))
    if column.has_numbers:
        for name in names[-len(p) :]:
            columns[name] = written_number(column.kind, columns[name])
    return columns


def _is_date(kind: ColumnKind) -> bool:
    return kind.type in ("date", "time") or kind.form is not None


def written_number(kind: ColumnKind, values: np.ndarray) -> Any:
    """Numbers ``(n,)`` of a column as its table has them: with its decimals, or as dates."""
    if _is_date(kind):
        values = np.where(np.isfinite(values), values, np.nan)
    if kind.decimals is not None:
        values = np.round(values, kind.decimals)
    return as_written(kind, values)


def predicted(trained: CellsRun, table: Any, question: Question) -> Predicted | Drawn:
    """Predict columns of a table, or of rows ``(n, C)``, from the others."""
    sources = _modelled_sources(trained, question)
    cells, has_target = _read_cells(trained, table, question, sources)
    rows = TableRows(trained.density, cells)
    text = f"predicting {printable(listed(question.names))}: {len(rows):,} rows"
    with phase(text, len(rows)) as advance:
        if question.by_draws:
            return _by_draws(trained, rows, question, sources, advance)
        return _by_quadrature(trained, rows, question, has_target, advance)


def _modelled_sources(trained: CellsRun, question: Question) -> list[str]:
    """Names of the modelled columns from which targets are computed."""
    places = set[int]()
    for computed in trained.density.computed_columns:
        if computed.column.name in question.names:
            places |= {place for place, _ in computed.sources}
    return [trained.columns[place] for place in sorted(places) if place >= trained.density.n_given]


def _read_cells(
    trained: CellsRun, table: Any, question: Question, sources: Collection[str]
) -> tuple[np.ndarray, bool]:
    """Read a table as rows ``(n, C)``, and tell whether they have the values of a single target.

    NaN: computed columns; targets that are drawn, or absent; ``sources`` of a computed target that
    are absent. Other columns must be present (``DataError``). An array is taken as it is.
    """
    opened_table = opened(table)
    if opened_table is None:
        return trained.rows(table), True
    present = {column.name for column in opened_table.columns}
    has_target = not question.by_draws and present.issuperset(question.names)
    unread = set(sources) - present
    if not has_target:
        unread |= set(question.names)
    not_computed = trained.columns[: len(trained.density.columns)]
    names = [name for name in not_computed if name not in unread]
    if not names:
        raise DataError("--target: expected another column, from which to predict")
    cells = trained.rows_of(opened_table, names)
    return trained.rows_with(names, cells), has_target


def _by_quadrature(
    trained: CellsRun, rows: TableRows, question: Question, has_target: bool, advance: Advance
) -> Predicted:
    """Distributions of the target given the known cells of each row.

    The ends of a number's set are further quantiles, at probabilities that vary by row.
    """
    place = trained.columns.index(question.names[0])
    thresholds = np.zeros(len(rows))
    p_of_ends = np.empty((len(rows), 0))
    if question.sets:
        thresholds = question.sets.thresholds(trained, rows.values)
        if question.columns[0].has_numbers:
            p_of_ends = central_ends(thresholds)
    p_of_quantiles = np.tile(question.p, (len(rows), 1))
    p = np.append(p_of_quantiles, p_of_ends, axis=1)
    posterior = conditional_of_known(rows, place, p, trained.config.seed, advance)
    quantiles, ends = np.split(posterior.quantiles, [len(question.p)], axis=1)
    posterior = posterior._replace(quantiles=quantiles)
    if ends.size:
        widening = np.where(thresholds < 1, 0.0, np.inf)  # a set may contain all values
        ends = ends + widening[:, None] * [-1, 1]
        if question.columns[0].has_levels:
            ends = np.clip(ends, 0, len(question.columns[0].levels) - 1)
    values = rows.values[:, place] if has_target else None
    return Predicted(question, rows, values, posterior, thresholds, ends)


def _by_draws(
    trained: CellsRun,
    rows: TableRows,
    question: Question,
    sources: Collection[str],
    advance: Advance,
) -> Drawn:
    """Statistics of the targets over weighted draws of the unknown cells of each row.

    A computed target is a function of its ``sources``, which are drawn where they are unknown.
    """
    places = [trained.columns.index(name) for name in question.names]
    computed_targets = [
        target for target in trained.density.computed_columns if target.place in places
    ]
    source_places = [trained.columns.index(name) for name in sources]
    unknown = _cells_to_draw(rows, places, source_places)
    statistics = [
        np.full((len(rows), len(_names_of_statistics(column, question.p))), np.nan)
        for column in question.columns
    ]
    effective = np.full(len(rows), np.nan)
    rng = stream(trained.config.seed, "computed targets")
    for completed in _completions(trained, rows, unknown):
        advance(len(completed.places))
        for target in computed_targets:
            draws = completed.draws.reshape(-1, rows.values.shape[1])
            values = target.draw(draws, rng)
            completed.draws[:, :, target.place] = values.reshape(completed.weights.shape)
        if completed.draws.shape[1] > 1:  # a complete row is its only draw
            effective[completed.places] = completed.effective
        for column, place, of_target in zip(question.columns, places, statistics):
            of_target[completed.places] = _statistics(column, completed, place, question.p)
    return Drawn(question, rows, statistics, effective)


def _cells_to_draw(
    rows: TableRows, places: Sequence[int], source_places: Sequence[int]
) -> np.ndarray:
    """Whether each cell ``(n, C)`` is to be drawn: targets at ``places``, missing cells of their
    sources, and all other unknown cells of a row that has such a cell.
    """
    n_cells = len(rows.density.columns)
    unknown = np.zeros(rows.values.shape, bool)
    unknown[:, places] = True
    unknown[:, source_places] |= np.isnan(rows.values[:, source_places])
    unknown |= rows.unknown_cells() & unknown.any(axis=1, keepdims=True)
    # One cell is completed by quadrature, which ignores computed columns.
    unknown[:, n_cells:] = unknown[:, :n_cells].sum(axis=1, keepdims=True) > 1
    return unknown


def _completions(trained: CellsRun, rows: TableRows, unknown: np.ndarray) -> Iterator[Completions]:
    """Weighted draws of the ``unknown`` cells ``(n, C)``, for some rows at a time; a row without
    any is its own single draw.
    """
    complete = np.flatnonzero(~unknown.any(axis=1))
    if len(complete):
        draws = rows.values[complete, None]
        weights = np.ones((len(complete), 1))
        yield Completions(draws, weights, complete, present=np.full(len(complete), np.nan))
    yield from completions(rows, unknown, trained.config.seed)


def _statistics(
    column: CellColumn, completed: Completions, place: int, p: np.ndarray
) -> np.ndarray:
    """Statistics ``(b, k)`` of the column at ``place``, over the weighted draws of b rows, as
    :func:`_names_of_statistics` names them.
    """
    values = completed.draws[:, :, place]
    weights = completed.weights
    if column.has_levels:
        levels = range(len(column.levels))
        statistics = [(weights * (values == level)).sum(axis=1) for level in levels]
    else:
        mean = (weights * values).sum(axis=1)
        sd = np.sqrt((weights * np.square(values - mean[:, None])).sum(axis=1))
        statistics = [mean, sd]
    if column.has_numbers:
        p_of_rows = np.broadcast_to(p, (len(values), len(p)))
        statistics.append(weighted_quantiles(values, weights, p_of_rows))
    return np.column_stack(statistics)


def answer(
    trained: CellsRun, table: TableFile, question: Question, plot: Path | None = None
) -> Answer:
    """Predictions of a table's rows, and their scores; ``plot``: a file for a picture of them."""
    question.expect_one_target(plot=plot)
    prediction = predicted(trained, table, question)
    columns = prediction.columns
    expect_new_names(trained, columns)
    if plot is not None and isinstance(prediction, Predicted):
        _write_picture(prediction, table.name, plot)
    return Answer(columns, judged(question, _tally(trained, prediction), table.name))


def note_quadrature(trained: CellsRun, question: Question, seconds: float) -> None:
    """Print a note on a long quadrature over columns that depend on the target, and the fit that
    needs none.
    """
    density = trained.density
    name = question.names[0]
    is_last = not density.unmixing and name == density.columns[-1].name
    if question.by_draws or is_last or seconds < WAIT_SECONDS:
        return
    name = printable(name)
    tell(
        f"predict: {duration(seconds)} of quadrature, as other modelled columns depend on {name}: "
        f"a fit of {name} given the others (nflow fit ... --target {name}) predicts 1,000 rows in "
        "seconds"
    )


def _write_picture(prediction: Predicted, subject: str, path: Path) -> None:
    """Draw predictions against true values, of the table ``subject``, which must have them
    (``DataError``).
    """
    from nflow_cli.plotting.style import save_figure
    from nflow_cli.tables.pictures.prediction_figures import (
        Intervals,
        intervals_figure,
        levels_figure,
    )

    column = prediction.column
    values = prediction.observed  # true numbers, or indices of levels
    posterior = prediction.posterior
    if values is None:
        raise DataError(f"--plot: expected the target {shown(column.name)} in {subject}")
    if not column.has_levels:
        p = prediction.question.p
        sets = prediction.question.sets
        ends = posterior.quantiles[:, [0, -1]]
        share = p[-1] - p[0]
        if sets:
            ends = prediction.set_ends
            share = sets.coverage
        middle = posterior.quantiles[:, np.argmin(np.abs(p - 0.5))]
        intervals = Intervals(middle, ends[:, 0], ends[:, 1], float(share))
        figure = intervals_figure(column.name, column.kind, values, intervals, printable(subject))
    else:
        figure = levels_figure(
            column.name, [*column.levels], posterior.levels, values, printable(subject)
        )
    write_file(path, lambda file: save_figure(figure, file, path.suffix[1:].lower()))


def _tally(trained: CellsRun, prediction: Predicted | Drawn) -> Tally:
    """Sums of the scores of predictions over rows, by name, and numbers of rows and cells.

    By draws there are no scores, but the least effective sample size of a row.
    """
    rows = prediction.rows
    density = trained.density
    are_hidden = rows.are_empty[:, : density.n_given].any(axis=1)
    counts = {
        "n": len(rows),
        **rows.counts(prediction.question.names),
        "n_hidden": int(are_hidden.sum()),
    }
    if isinstance(prediction, Drawn):
        least = float(np.nanmin(prediction.effective_sizes, initial=np.inf))
        return Tally(counts=counts, least={EFFECTIVE_DRAWS: least})
    place = trained.columns.index(prediction.column.name)
    counts["n_unknown"] = int(rows.unknown_cells(place).any(axis=1).sum())
    # 1 if the rows are the run's own, as counts of parts of a table are summed
    counts[OWN_TABLES] = prediction.observed is not None and are_rows_of_run(trained, rows.values)
    if not prediction.column.has_levels:
        counts["n_unresolved"] = int((~prediction.is_resolved).sum())
    if prediction.question.sets:
        counts["n_infinite"] = int((~np.isfinite(prediction.thresholds)).sum())
    means = {
        name: Moments.of(scores[~np.isnan(scores)])
        for name, scores in _row_scores(prediction).items()
    }
    if prediction.observed is None:
        return Tally(means, counts)
    values = np.where(prediction.is_resolved, prediction.observed, np.nan)
    losses = tally_of(density, place, prediction.question.p, prediction.posterior, values)
    return losses._replace(means={**means, **losses.means}, counts=counts)


def _row_scores(prediction: Predicted) -> dict[str, np.ndarray]:
    """Scores ``(n,)`` by name: sizes of intervals and sets, whether they have the row's value, and
    its log-probability in nats. NaN: not resolved, or without a value.
    """
    sets = prediction.question.sets
    values = prediction.observed
    if values is None:
        values = np.full(len(prediction.rows), np.nan)
    sizes: dict[str, np.ndarray] = {}
    coverages: dict[str, np.ndarray] = {}  # whether the value is in the interval or set
    if not prediction.column.has_levels:
        low, high = prediction.posterior.quantiles[:, [0, -1]].T
        sizes["width"] = high - low
        coverages["coverage"] = are_between(values, low, high)
        if sets:
            low, high = prediction.set_ends.T
            sizes["set_width"] = np.where(prediction.thresholds < 1, high - low, np.nan)
            coverages["set_coverage"] = are_between(values, low, high)
    elif sets and prediction.column.has_numbers:  # levels in order, from one to another
        low, high = prediction.set_ends.T
        sizes["set_size"] = high - low + 1
        coverages["set_coverage"] = are_between(values, low, high)
    elif sets:
        sizes["set_size"] = prediction.are_in_sets.sum(axis=1)
        coverages["set_coverage"] = _entries_at_levels(prediction.are_in_sets, values)
    is_scored = prediction.is_resolved
    scores = {name: np.where(is_scored, size, np.nan) for name, size in sizes.items()}
    if prediction.observed is None:
        return scores
    is_scored = is_scored & ~np.isnan(values)
    for name, is_covered in coverages.items():
        scores[name] = np.where(is_scored, is_covered, np.nan)
    scores["log_p"] = prediction.posterior.log_prob
    return scores


def are_between(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether values are in closed intervals, all ``(n,)``, to rounding: ends may lie on a grid."""
    error = VALUE_ROUNDING * np.abs(values)
    return (low - error <= values) & (values <= high + error)


def judged(question: Question, tally: Tally, name: str) -> Judgement:
    """Scores, printed lines and warnings of predictions of the table ``name``, by their sums."""
    counts = {key: count for key, count in tally.counts.items() if key != OWN_TABLES}
    names = printable(listed(question.names))
    lines = [("data", f"{printable(name)}: {counts['n']:,} rows")]
    if question.by_draws:
        least = tally.least[EFFECTIVE_DRAWS]
        scores = {"target": question.names, **counts, "least_effective_draws": least}
        draws = f"by importance sampling; least effective sample size of a row {least:.1f}"
        if least == np.inf:
            draws = "none: all rows have the sources of the target"
        lines += [("targets", names), ("draws", draws), *_printed_scores(question, scores, [])]
        return Judgement(scores, lines, [], tally)
    scores = {"target": question.names[0], **counts, **_scores_by_quadrature(question.sets, tally)}
    own_rows = OWN_ROWS if tally.counts[OWN_TABLES] else None
    warnings = raised_warnings(own_rows, grouped_rows(scores, question.group))
    lines += [("target", names), *_printed_scores(question, scores, warnings)]
    return Judgement(scores, lines, warnings, tally)


def _scores_by_quadrature(sets: CalibratedSets | None, tally: Tally) -> Summary:
    """Scores of a target by name: means over rows, and the calibration of its sets."""
    scores: dict[str, Any] = {**scores_of(tally)}
    if sets:
        groups = [
            {
                "group": sets.group_name(code),
                "n": calibration.n,
                **({} if calibration.n_clusters is None else {"n_groups": calibration.n_clusters}),
                "coverage_low": calibration.band[0],
                "coverage_high": calibration.band[1],
            }
            for code, calibration in sets.groups.items()
        ]
        scores["calibration"] = {"coverage": sets.coverage, "groups": groups}
    return scores


def _printed_scores(question: Question, scores: Summary, warnings: Warnings) -> Rows:
    """Labels and texts of the scores of predictions, those that there are."""
    low_p, high_p = question.p[[0, -1]]
    width = figure(scores, "width")
    means = {
        "width": ("mean width", f"{width}, from the {low_p:g} to the {high_p:g} quantile"),
        "log_p": ("mean log p", mean_text(scores, "log_p", "nats a row")),
        "coverage": ("coverage", mean_text(scores, "coverage", f"(nominal {high_p - low_p:.4g})")),
    }
    rows = [
        (label, marked(text, warnings, key))
        for key, (label, text) in means.items()
        if key in scores
    ]
    rows += loss_rows(scores)
    rows += counted_rows(COUNT_TEXTS, scores)
    if question.sets:
        rows += _printed_sets(question.sets, scores)
    return rows


def _printed_sets(sets: CalibratedSets, scores: Summary) -> Rows:
    """Labels and texts of sets: their means, and the calibration of each group."""
    words = {"set_width": "width", "set_size": "size", "set_coverage": "coverage"}
    means = [f"{word} {figure(scores, key)}" for key, word in words.items() if key in scores]
    rows = [("sets", f"{sets.coverage:.4g} of fresh rows; mean {', '.join(means)}")]
    for code, calibration in sets.groups.items():
        label = "" if sets.by is None else printable(sets.group_name(code))
        of_clusters = ""
        if calibration.n_clusters is not None:
            of_clusters = f" of {calibration.n_clusters:,} groups"
        text = f"{calibration.n:,} test rows{of_clusters}: "
        if np.isinf(calibration.threshold):
            text += f"too few for {sets.coverage:.4g}, sets contain all values"
        else:
            low, high = calibration.band
            text += f"coverage of this calibration {low:.1%} to {high:.1%}"
        rows.append((label, text))
    if scores["n_infinite"]:
        rows.append(("infinite", f"{scores['n_infinite']:,} rows of groups with too few test rows"))
    return rows

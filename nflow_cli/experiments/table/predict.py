"""Predictions of columns of a table from the others, by a density of cells."""

import itertools
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
from nflow_cli.evaluation.warnings import ScoreWarning, grouped_rows, marked
from nflow_cli.evaluation.warnings import raised_warnings as told
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
from nflow_cli.experiments.table.unknown import DRAWN, conditional_of_known
from nflow_cli.random_streams import stream
from nflow_cli.registry import nearest
from nflow_cli.terminal.output import tell
from nflow_cli.terminal.progress import WAIT_SECONDS, duration, phase
from nflow_cli.text import printable

ROUNDING = 1e-12  # of a value, relative
ROUNDING_OF_SHARES = 1e-9
EFFECTIVE = "effective_draws"
COUNTED = {
    **COUNTED_CELLS,
    "n_unknown": (
        "unknown",
        f"{{n_unknown:,}} rows have unknown cells: their predictions are means over {DRAWN} draws "
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


class Calibrated(NamedTuple):
    """Calibration of the sets of a column.

    Attributes:
        coverage: Share of fresh values in their sets.
        by: Column of the groups.
        groups: Calibration of each group, by its code: of a level, -1 new, -2 missing.
    """

    coverage: float
    by: CellColumn | None
    groups: dict[int, Calibration]

    def name(self, code: int) -> str:
        """Name of a group."""
        if self.by is None:
            return "all"
        return {-1: "new", -2: "missing"}.get(code) or str(self.by.first[code])

    def thresholds(self, trained: CellsRun, rows: np.ndarray) -> np.ndarray:
        """Largest scores ``(n,)`` in the sets of rows ``(n, C)``."""
        codes = _codes(trained, self.by, rows)
        found = np.full(len(rows), np.inf)
        for code, one in self.groups.items():
            found[codes == code] = one.threshold
        return found


def calibration(
    trained: CellsRun, column: CellColumn, coverage: float, by: str | None
) -> Calibrated:
    """Calibrate sets of a column on the test rows of a run, each group of ``by`` by itself."""
    if not isinstance(coverage, float | int) or not 0 < coverage < 1:
        raise DataError(f"coverage: expected a number between 0 and 1, received {coverage!r:.60}")
    of_groups = None if by is None else _groups(trained, by, column)
    scores = _held_out_scores(trained, column)
    codes, known = _codes(trained, of_groups, trained.held_out), ~np.isnan(scores)
    groups = {
        int(code): calibrated(scores[known & (codes == code)], coverage)
        for code in np.unique(codes)
    }
    return Calibrated(coverage, of_groups, groups)


def _held_out_scores(trained: CellsRun, column: CellColumn) -> np.ndarray:
    """Scores ``(n,)`` of the test rows' own values, computed once, whatever the coverage."""
    if column.name not in trained.held_out_scores:
        rows = TableRows(trained.density, trained.held_out)
        place = trained.columns.index(column.name)
        with phase(f"calibrating {printable(column.name)}: {len(rows):,} test rows"):
            found = conditional_of_known(rows, place, np.array([0.5]), trained.config.seed)
        trained.held_out_scores[column.name] = own_scores(column, found, rows.cells[:, place])
    return trained.held_out_scores[column.name]


def _groups(trained: CellsRun, by: str, target: CellColumn) -> CellColumn:
    columns = trained.density.row[: len(trained.density.cells)]
    levels = {c.name: c for c in columns if not c.has_numbers and c.name != target.name}
    if by not in levels:
        raise DataError(
            f"--by: expected a column of levels: one of {listed([*levels]) or 'none here'}. "
            f"Received: {shown(by)}{nearest(by, [*levels])}"
        )
    return levels[by]


def _codes(trained: CellsRun, by: CellColumn | None, rows: np.ndarray) -> np.ndarray:
    if by is None:
        return np.zeros(len(rows), int)
    return np.nan_to_num(rows[:, trained.columns.index(by.name)], nan=-2.0).astype(int)


def own_scores(column: CellColumn, found: CellPosterior, values: np.ndarray) -> np.ndarray:
    """Scores ``(n,)`` of the rows' own values, NaN if missing: of a number how central an interval
    is that contains it, of a level 1 less its probability, both given not missing.
    """
    if column.has_numbers:
        return central_scores(found.below, found.at)
    return np.where(np.isnan(values), np.nan, 1 - _at(shares_of(found), values))


def _at(every: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What levels ``(n, L)`` have at the rows' own ``(n,)``: 0 at a new one."""
    every = np.append(every, np.zeros((len(values), 1), every.dtype), axis=1)
    return every[np.arange(len(values)), np.nan_to_num(values, nan=-1.0).astype(int)]


def central(thresholds: np.ndarray) -> np.ndarray:
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
    sets: Calibrated | None
    group: str | None

    @property
    def names(self) -> list[str]:
        """Names of the targets."""
        return [column.name for column in self.columns]

    def expect_one(self, **options: Any) -> None:
        """Refuse options of one target that is not computed."""
        for name, value in options.items():
            if self.by_draws and value is not None:
                expected = "expected one target, not computed from others"
                raise DataError(f"{name}: {expected}, received {listed(self.names)}")


def asked(
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
    columns, p = _targets(trained, target), probabilities(quantiles)
    by_draws = len(columns) > 1 or columns[0].name in trained.columns[len(trained.density.cells) :]
    found = Question(columns, by_draws, p, None, trained.config.data.group)
    if by_draws:
        found.expect_one(coverage=coverage, by=by)
        _expect_different(columns, p)
    elif coverage is not None:
        return found._replace(sets=calibration(trained, columns[0], coverage, by))
    elif by is not None:
        raise DataError("--by: expected --coverage too")
    return found


def _targets(trained: CellsRun, names: Sequence[str] | None) -> list[CellColumn]:
    targets = {column.name: column for column in trained.density.scored}
    modelled = [*targets][: len(trained.density.cells) - trained.density.n_given]
    only = modelled if len(modelled) == 1 else list[str]()
    names = [*(names or trained.config.data.target or only)]
    expected = f"--target: expected {'some' if len(names) > 1 else 'one'} of {listed([*targets])}"
    if not names:
        raise DataError(expected)
    for name in names:
        if name not in targets:
            why = ", a given column" if name in trained.given else nearest(name, [*targets])
            raise DataError(f"{expected}. Received: {shown(name)}{why}")
    return [targets[name] for name in names]


def _expect_different(columns: Sequence[CellColumn], p: np.ndarray) -> None:
    """Refuse targets whose added columns have equal names."""
    seen = {EFFECTIVE}
    for column in columns:
        added = {*_names(column, p)}
        if twice := sorted(added & seen):
            raise DataError(
                "--target: expected targets whose added columns differ in name. Received two "
                f"called {listed(twice)}: predict {shown(column.name)} by itself"
            )
        seen |= added


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
        asked: The question.
        rows: Of the table.
        values: Their own values ``(n,)`` of the column; ``None`` if the table lacks it.
        posterior: The distributions.
        thresholds: Largest scores ``(n,)`` in the sets.
        ends: Of intervals ``(n, 2)``, of numbers with sets; else ``(n, 0)``.
    """

    asked: Question
    rows: TableRows
    values: np.ndarray | None
    posterior: CellPosterior
    thresholds: np.ndarray
    ends: np.ndarray

    @property
    def column(self) -> CellColumn:
        """The predicted column."""
        return self.asked.columns[0]

    @property
    def columns(self) -> dict[str, Any]:
        """The columns to be written, by name."""
        column, found, sets = self.column, self.posterior, self.asked.sets
        kind, name, numbers = column.kind, column.name, (found.mean, found.sd, found.quantiles)
        values = np.column_stack(numbers) if column.has_numbers else found.levels
        columns = _written(column, values, self.asked.p)
        if column.has_numbers and _is_date(kind):
            columns[f"{name}_mean"] = written_number(kind, found.mean)
        for end, values in zip(("low", "high"), self.ends.T if column.has_numbers else ()):
            columns[f"{name}_{end}"] = written_number(kind, values)
        if column.missing is not None:
            columns[f"{name}_missing"] = found.missing
        if not column.has_numbers:
            columns[f"{name}_level"] = as_written(kind, found.levels.argmax(axis=1))
            if sets:
                levels = [str(level) for level in column.first]
                chosen = ([*itertools.compress(levels, row)] for row in self.members)
                texts = [json.dumps(some, ensure_ascii=False) for some in chosen]
                columns[f"{name}_set"] = np.array(texts, object)
        if self.values is not None:
            columns[f"{name}_log_p"] = found.log_prob
        return {**columns, "quadrature_error": found.error} if column.has_numbers else columns

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
        asked: The question.
        rows: Of the table.
        found: Of each target mean, sd and quantiles, or probabilities of levels ``(n, k)``.
        effective: Effective sample sizes ``(n,)`` of the draws; NaN without draws.
    """

    asked: Question
    rows: TableRows
    found: list[np.ndarray]
    effective: np.ndarray

    @property
    def columns(self) -> dict[str, Any]:
        """The columns to be written, by name."""
        columns: dict[str, Any] = {}
        for column, values in zip(self.asked.columns, self.found):
            columns |= _written(column, values, self.asked.p)
        return {**columns, EFFECTIVE: self.effective}


def _names(column: CellColumn, p: np.ndarray) -> list[str]:
    """Names of the written mean, sd and quantiles of numbers, or probabilities of levels."""
    names = [f"p_{level}" for level in column.first]
    if column.has_numbers:
        names = ["mean", "sd", *(f"q{share:.{DIGITS}g}" for share in p)]
    return [f"{column.name}_{name}" for name in names]


def _written(column: CellColumn, found: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    """Columns ``(n, k)`` of :func:`_names`."""
    columns: list[Any] = [*found.T]
    if column.has_numbers:
        columns[2:] = [written_number(column.kind, values) for values in columns[2:]]
    return dict(zip(_names(column, p), columns))


def _is_date(kind: ColumnKind) -> bool:
    return kind.type in ("date", "time") or kind.form is not None


def written_number(kind: ColumnKind, values: np.ndarray) -> Any:
    """Numbers ``(n,)`` in the column's decimals, and dates as in the table."""
    if _is_date(kind):
        values = np.where(np.isfinite(values), values, np.nan)
    return as_written(kind, values if kind.decimals is None else np.round(values, kind.decimals))


def predicted(trained: CellsRun, table: Any, wanted: Question) -> Predicted | Drawn:
    """Predict columns of a table, or of rows ``(n, C)``, from the others."""
    computed = [one for one in trained.density.computed if one.column.name in wanted.names]
    places = {i for one in computed for i, _ in one.sources if i >= trained.density.n_given}
    sources = [trained.columns[place] for place in sorted(places)]
    cells, has_own = _cells(trained, table, wanted, sources)
    rows = TableRows(trained.density, cells)
    text = f"predicting {printable(listed(wanted.names))}: {len(rows):,} rows"
    with phase(text, len(rows)) as advance:
        if wanted.by_draws:
            return _by_draws(trained, rows, wanted, sources, advance)
        return _by_quadrature(trained, rows, wanted, has_own, advance)


def _cells(
    trained: CellsRun, table: Any, wanted: Question, sources: Collection[str]
) -> tuple[np.ndarray, bool]:
    """Cells ``(n, C)``, computed columns and what is not read unknown, and whether they have the
    only target. A computed target's ``sources`` may be absent.
    """
    if (found := opened(table)) is None:
        return trained.rows(table), True
    present = {column.name for column in found.columns}
    has_own = not wanted.by_draws and present >= {*wanted.names}
    left_out = {*sources} - present | {*(() if has_own else wanted.names)}
    names = [name for name in trained.columns[: len(trained.density.cells)] if name not in left_out]
    if not names:
        raise DataError("--target: expected another column, from which to predict")
    return trained.rows_with(names, trained.rows_of(found, names)), has_own


def _by_quadrature(
    trained: CellsRun, rows: TableRows, wanted: Question, has_own: bool, advance: Advance
) -> Predicted:
    p, sets, place = wanted.p, wanted.sets, trained.columns.index(wanted.names[0])
    thresholds = sets.thresholds(trained, rows.cells) if sets else np.zeros(len(rows))
    of_sets = central(thresholds) if sets else np.empty((len(rows), 0))
    every = np.append(np.tile(p, (len(rows), 1)), of_sets, axis=1)
    found = conditional_of_known(rows, place, every, trained.config.seed, advance)
    quantiles, ends = np.split(found.quantiles, [len(p)], axis=1)
    if sets:
        ends = ends + np.where(thresholds < 1, 0.0, np.inf)[:, None] * [-1, 1]
    values = rows.cells[:, place] if has_own else None
    return Predicted(wanted, rows, values, found._replace(quantiles=quantiles), thresholds, ends)


def _by_draws(
    trained: CellsRun,
    rows: TableRows,
    wanted: Question,
    sources: Collection[str],
    advance: Advance,
) -> Drawn:
    """Completions of the rows; a computed target is the function of its sources, which are drawn
    where they are unknown.
    """
    places, at = (
        [trained.columns.index(name) for name in some] for some in (wanted.names, sources)
    )
    computed = [one for one in trained.density.computed if one.place in places]
    n_cells = len(trained.density.cells)
    unknown = np.zeros(rows.cells.shape, bool)
    unknown[:, places] = True
    unknown[:, at] |= np.isnan(rows.cells[:, at])
    unknown |= rows.unknown() & unknown.any(axis=1, keepdims=True)
    # One cell is completed by quadrature, which ignores computed columns.
    unknown[:, n_cells:] = unknown[:, :n_cells].sum(axis=1, keepdims=True) > 1
    found = [np.full((len(rows), len(_names(c, wanted.p))), np.nan) for c in wanted.columns]
    effective, rng = np.full(len(rows), np.nan), stream(trained.config.seed, "computed targets")
    for some in _completions(trained, rows, unknown):
        advance(len(some.places))
        for one in computed:
            drawn = one.draw(some.draws.reshape(-1, rows.cells.shape[1]), rng)
            some.draws[:, :, one.place] = drawn.reshape(some.weights.shape)
        effective[some.places] = some.effective if some.draws.shape[1] > 1 else np.nan
        for column, j, values in zip(wanted.columns, places, found):
            values[some.places] = _statistics(column, some, j, wanted.p)
    return Drawn(wanted, rows, found, effective)


def _completions(trained: CellsRun, rows: TableRows, unknown: np.ndarray) -> Iterator[Completions]:
    """Completions of rows with unknown cells, and the others as they are."""
    whole = np.flatnonzero(~unknown.any(axis=1))
    if len(whole):
        known = rows.cells[whole, None], np.ones((len(whole), 1))
        yield Completions(*known, whole, np.full(len(whole), np.nan))
    yield from completions(rows, unknown, trained.config.seed)


def _statistics(column: CellColumn, some: Completions, j: int, p: np.ndarray) -> np.ndarray:
    draws = some.draws[:, :, j]
    if not column.has_numbers:
        shares = [(some.weights * (draws == i)).sum(axis=1) for i in range(len(column.first))]
        return np.stack(shares, axis=1)
    mean = (some.weights * draws).sum(axis=1)
    sd = np.sqrt((some.weights * np.square(draws - mean[:, None])).sum(axis=1))
    every = np.broadcast_to(p, (len(draws), len(p)))
    return np.column_stack([mean, sd, quantiles_of(draws, some.weights, every)])


def answer(
    trained: CellsRun, table: TableFile, wanted: Question, plot: Path | None = None
) -> Answer:
    """Predictions of a table's rows, and their scores; ``plot``: a file for a picture of them."""
    wanted.expect_one(plot=plot)
    found = predicted(trained, table, wanted)
    columns = found.columns
    expect_room(trained, columns)
    if plot is not None and isinstance(found, Predicted):
        _write_picture(found, table.name, plot)
    return Answer(columns, judged(wanted, _tally(trained, found), table.name))


def note_quadrature(trained: CellsRun, wanted: Question, seconds: float) -> None:
    """Print a note on a long quadrature over columns that depend on the target, and the fit that
    needs none.
    """
    density, name = trained.density, wanted.names[0]
    is_last = not density.unmixing and name == density.cells[-1].name
    if wanted.by_draws or is_last or seconds < WAIT_SECONDS:
        return
    name = printable(name)
    tell(
        f"predict: {duration(seconds)} of quadrature, as other modelled columns depend on {name}: "
        f"a fit of {name} given the others (nflow fit ... --target {name}) predicts 1,000 rows in "
        "seconds"
    )


def _write_picture(predicted: Predicted, subject: str, path: Path) -> None:
    from nflow_cli import plotting

    column, values, found = predicted.column, predicted.values, predicted.posterior
    p, sets = predicted.asked.p, predicted.asked.sets
    if values is None:
        raise DataError(f"--plot: expected the target {shown(column.name)} in {subject}")
    if column.has_numbers:
        low, high = (predicted.ends if sets else found.quantiles[:, [0, -1]]).T
        middle = found.quantiles[:, np.argmin(np.abs(p - 0.5))]
        share = sets.coverage if sets else p[-1] - p[0]
        intervals = plotting.Intervals(middle, low, high, float(share))
        figure = plotting.intervals_figure(
            column.name, column.kind, values, intervals, printable(subject)
        )
    else:
        levels = [str(level) for level in column.first]
        figure = plotting.levels_figure(
            column.name, levels, found.levels, values, printable(subject)
        )
    write_file(path, lambda file: plotting.save_figure(figure, file, path.suffix[1:].lower()))


def _tally(trained: CellsRun, predicted: Predicted | Drawn) -> Tally:
    rows, density = predicted.rows, trained.density
    counts = {
        "n": len(rows),
        **rows.counts(predicted.asked.names),
        "n_hidden": int(rows.are_empty[:, : density.n_given].any(axis=1).sum()),
    }
    if isinstance(predicted, Drawn):
        least = {EFFECTIVE: float(np.nanmin(predicted.effective, initial=np.inf))}
        return Tally(counts=counts, least=least)
    place = trained.columns.index(predicted.column.name)
    counts["n_unknown"] = int(rows.unknown(place).any(axis=1).sum())
    counts[OWN] = predicted.values is not None and are_own(trained, rows.cells)
    if predicted.column.has_numbers:
        counts["n_unresolved"] = int((~predicted.is_resolved).sum())
    if predicted.asked.sets:
        counts["n_infinite"] = int((~np.isfinite(predicted.thresholds)).sum())
    every = _scored(predicted)
    means = {name: Moments.of(x[~np.isnan(x)]) for name, x in every.items()}
    if predicted.values is None:
        return Tally(means, counts)
    values = np.where(predicted.is_resolved, predicted.values, np.nan)
    losses = tally_of(density, place, predicted.asked.p, predicted.posterior, values)
    return losses._replace(means={**means, **losses.means}, counts=counts)


def _scored(predicted: Predicted) -> dict[str, np.ndarray]:
    """Scores ``(n,)`` by name; NaN of rows that do not count: unresolved, or without a value."""
    sets, values, found = predicted.asked.sets, predicted.values, predicted.posterior
    own = np.full(len(predicted.rows), np.nan) if values is None else values
    (low, high), ends = found.quantiles[:, [0, -1]].T, predicted.ends.T
    every: dict[str, np.ndarray] = {}
    of_own: dict[str, np.ndarray] = {}
    if predicted.column.has_numbers:
        every["width"] = high - low
        of_own["coverage"] = are_between(own, low, high)
        if sets:
            every["set_width"] = np.where(predicted.thresholds < 1, ends[1] - ends[0], np.nan)
            of_own["set_coverage"] = are_between(own, *ends)
    elif sets:
        every["set_size"] = predicted.members.sum(axis=1)
        of_own["set_coverage"] = _at(predicted.members, own)
    known = predicted.is_resolved
    every = {name: np.where(known, x, np.nan) for name, x in every.items()}
    if values is None:
        return every
    known = known & ~np.isnan(own)
    every |= {name: np.where(known, x, np.nan) for name, x in of_own.items()}
    return {**every, "log_p": found.log_prob}


def are_between(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Whether values are in intervals with their ends, to rounding: ends may lie on a grid."""
    close = ROUNDING * np.abs(values)
    return (low - close <= values) & (values <= high + close)


def judged(asked: Question, found: Tally, name: str) -> Judgement:
    """Judgement of the predictions of a table's rows by the sums over them."""
    counts = {key: n for key, n in found.counts.items() if key != OWN}
    names, label = printable(listed(asked.names)), "targets" if asked.by_draws else "target"
    lines = [("data", f"{printable(name)}: {counts['n']:,} rows"), (label, names)]
    if asked.by_draws:
        least = found.least[EFFECTIVE]
        scores = {"target": asked.names, **counts, "least_effective_draws": least}
        text = f"by importance sampling; least effective sample size of a row {least:.1f}"
        if least == np.inf:
            text = "none: all rows have the sources of the target"
        return Judgement(scores, [*lines, ("draws", text), *_printed(asked, scores, [])], [], found)
    scores = {"target": asked.names[0], **counts, **_means(asked.sets, found)}
    warnings = told(OWN_ROWS if found.counts[OWN] else None, grouped_rows(scores, asked.group))
    return Judgement(scores, [*lines, *_printed(asked, scores, warnings)], warnings, found)


def _means(sets: Calibrated | None, found: Tally) -> dict[str, Any]:
    scores = scores_of(found)
    if sets:
        records = [
            {"group": sets.name(code), "n": one.n}
            | {"coverage_low": one.band[0], "coverage_high": one.band[1]}
            for code, one in sets.groups.items()
        ]
        scores["calibration"] = {"coverage": sets.coverage, "groups": records}
    return scores


def _printed(asked: Question, scores: dict[str, Any], warnings: Warnings) -> Rows:
    low, high = asked.p[[0, -1]]
    means = {
        "width": (
            "mean width",
            f"{figure(scores, 'width')}, from the {low:g} to the {high:g} quantile",
        ),
        "log_p": ("mean log p", mean_text(scores, "log_p", "nats a row")),
        "coverage": ("coverage", mean_text(scores, "coverage", f"(nominal {high - low:.4g})")),
    }
    rows = [
        (label, marked(text, warnings, key))
        for key, (label, text) in means.items()
        if key in scores
    ]
    rows += loss_rows(scores) + counted_rows(COUNTED, scores)
    return rows + (_printed_sets(asked.sets, scores) if asked.sets else [])


def _printed_sets(sets: Calibrated, scores: dict[str, Any]) -> Rows:
    named = {"set_width": "width", "set_size": "size", "set_coverage": "coverage"}
    facts = [f"{name} {figure(scores, key)}" for key, name in named.items() if key in scores]
    rows = [("sets", f"{sets.coverage:.4g} of fresh rows; mean {', '.join(facts)}")]
    for code, one in sets.groups.items():
        low, high = one.band
        text = f"{one.n:,} test rows: "
        if np.isinf(one.threshold):
            text += f"too few for {sets.coverage:.4g}, sets contain all values"
        else:
            text += f"coverage of this calibration {low:.1%} to {high:.1%}"
        rows.append(("" if sets.by is None else printable(sets.name(code)), text))
    if n := scores["n_infinite"]:
        rows.append(("infinite", f"{n:,} rows of groups with too few test rows"))
    return rows

"""Audit of synthetic rows: their likeness to real rows, and what they tell of training rows."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.declared_rules import Rule, plain_rules
from nflow_cli.config.strict import Strict
from nflow_cli.config.table import TableData
from nflow_cli.data.files.columns import read_columns
from nflow_cli.data.files.table_files import open_table
from nflow_cli.data.files.tables import listed
from nflow_cli.data.kinds.dataset import ALIKE, Dataset, load_undivided, rows_of
from nflow_cli.data.kinds.found_rules import are_broken, rounding_slack, rules_of
from nflow_cli.errors import DataError
from nflow_cli.evaluation.association import LostRelation, lost_relations
from nflow_cli.evaluation.estimates import with_error
from nflow_cli.evaluation.warnings import ScoreWarning
from nflow_cli.experiments.summary import Judgement, Rows
from nflow_cli.random_streams import stream
from nflow_cli.tables.cells_scoring import gains_of, memorised
from nflow_cli.tables.loaded_tables import CellsRun
from nflow_cli.tables.scores.audit.fidelity import Score, Tables, outside, score_of, tables_of
from nflow_cli.tables.scores.audit.leaks import (
    Rate,
    copies,
    inferred,
    linkability,
    metric_of,
    near_copies,
    nearness,
    pool_of,
    singling_out,
)
from nflow_cli.tables.scores.memorisation import Memorisation
from nflow_cli.tables.table_data import reopen
from nflow_cli.tables.table_report import memorisation_text
from nflow_cli.terminal.progress import phase
from nflow_cli.text import printable

MOST_COMPARED = 50_000  # rows of tables of counts
MOST_ATTACKED = 5_000  # training rows, as many holdout rows, and draws
MOST_JUDGED = 5_000  # rows of boosted trees
MOST_PREDICTED = 20  # columns
LEAST_ROWS = 20
FEW_ROWS = 200
MOST_EXPOSED = 10
# Attack, and what its rate is of.
ATTACKS = {
    "copies": "of the rows are in the draws",
    "near_copies": "have a draw nearer than 99 % of holdout rows have a training row",
    "nearness": "of the draws have their nearest row there",
    "singling_out": "of the predicates of one draw are met by one row",
    "linkability": "of the rows have halves of one nearest draw",
    "inference": "of the cells are as in the draw nearest by the others",
}


class Judges(NamedTuple):
    """Boosted trees: functions of :mod:`nflow_cli.sklearn.judges`."""

    told_apart: Callable[[np.ndarray, np.ndarray, np.ndarray, int], float]
    skill: Callable[[np.ndarray, np.ndarray, int, np.ndarray, int], float | None]


class Audited(NamedTuple):
    """Tables of an audit, in the kinds of the training rows.

    Attributes:
        names: Of the draws' files.
        kinds: Of the C columns.
        train: Rows ``(N, C)`` that the draws are made from.
        holdout: Rows ``(M, C)`` that they are not made from.
        draws: Sets of draws, each ``(n, C)``.
        rules: Rules between two columns of the training rows.
        left_out: Columns without a kind.
        groups: Group of each training row ``(N,)``, and of each holdout row ``(M,)``, if rows of a
            group have one label.
    """

    names: Sequence[str]
    kinds: Mapping[str, ColumnKind]
    train: np.ndarray
    holdout: np.ndarray
    draws: Sequence[np.ndarray]
    rules: Sequence[Rule]
    left_out: Sequence[str]
    groups: tuple[np.ndarray, np.ndarray] | None = None


class Exposed(Strict):
    """What someone who holds the run can learn: memorisation, and the training rows that the
    density favours most over independent columns, by number in their table, from 1.
    """

    memorisation: Memorisation | None
    rows: Sequence[int]
    nats: Sequence[float]


class Audit(Strict):
    """Figures of an audit.

    Attributes:
        n_train: Training rows.
        n_holdout: Holdout rows.
        n_draws: Draws of each set.
        n_judged: Draws of a set, and as many holdout rows, of trees and tables.
        n_attacked: Training rows, and as many holdout rows, of each attack.
        tables: Likeness of tables of one and two columns.
        lost_relations: Relations of training rows that draws lose.
        auc: Of boosted trees between draws and holdout rows; beside it, between training and
            holdout rows.
        skills: By column the skill of boosted trees trained on draws, in holdout rows; beside it,
            trained on training rows.
        outside: Share of cells beyond the training rows.
        broken: Share of rows that break each rule of the training rows.
        leaks: Rate of each attack.
        inference: Of each column.
        run: What someone who holds the run can learn.
        seconds: Of the audit.
    """

    n_train: int
    n_holdout: int
    n_draws: Sequence[int]
    n_judged: int
    n_attacked: int
    tables: Tables
    lost_relations: Sequence[LostRelation]
    auc: Score | None
    skills: Mapping[str, Score]
    outside: Score
    broken: Mapping[str, Score]
    leaks: Mapping[str, Rate]
    inference: Mapping[str, Rate]
    run: Exposed | None
    seconds: float


def read(draws: Sequence[str], train: str, holdout: str, group: str | None = None) -> Audited:
    """Tables of files, in the kinds of the training rows; rows equal in the column ``group`` are
    one group.
    """
    settings = TableData(name=train, missing="model")
    data = load_undivided(settings, open_table(train))
    held_out = rows_of(open_table(holdout), data.kinds, data.columns, settings)
    tables = _audited(draws, data.train, held_out, data, settings)
    if group is None:
        return tables
    return tables._replace(groups=(_groups(train, group), _groups(holdout, group)))


def _groups(path: str, name: str) -> np.ndarray:
    """Group ``(n,)`` of each row of a table, by a column."""
    (column,), _ = read_columns(open_table(path), names=[name])
    for cells in (column.numbers, column.codes):
        if cells is not None:
            return np.unique(cells, return_inverse=True)[1]
    raise DataError(f"{path}: column {name!r}: expected numbers or text")


def read_of_run(trained: CellsRun, draws: Sequence[str], holdout: str | None) -> Audited:
    """Tables of a run: its training and validation rows, and by default its test rows."""
    data = reopen(trained.run)
    settings = trained.config.data
    held_out = data.test
    if holdout is not None:
        held_out = rows_of(open_table(holdout), data.kinds, data.columns, settings)
    rows = np.concatenate([data.train, data.validation])
    return _audited(draws, rows, held_out, data, settings)


def _audited(
    draws: Sequence[str],
    train: np.ndarray,
    holdout: np.ndarray,
    data: Dataset,
    settings: TableData,
) -> Audited:
    """Tables of an audit, with the draws read in the kinds of the training rows."""
    sets = [rows_of(open_table(path), data.kinds, data.columns, settings) for path in draws]
    for name, rows in [*zip(draws, sets), ("training rows", train), ("holdout rows", holdout)]:
        if len(rows) < LEAST_ROWS:
            raise DataError(f"{name}: expected {LEAST_ROWS} rows or more, received {len(rows)}")
    left_out = [name for name, kind in data.kinds.items() if kind.kind == "left out"]
    kinds = {name: data.kinds[name].alone for name in data.columns}
    return Audited(draws, kinds, train, holdout, sets, plain_rules(rules_of(data)), left_out)


def audited(tables: Audited, judges: Judges, seed: int, trained: CellsRun | None = None) -> Audit:
    """Audit synthetic rows; ``trained``: the run that draws are of, if it is there."""
    start = time.monotonic()
    kinds = tables.kinds
    rng = stream(seed, "audit")
    train_order = rng.permutation(len(tables.train))
    holdout_order = rng.permutation(len(tables.holdout))
    train = tables.train[train_order]
    holdout = tables.holdout[holdout_order]
    sets = [rng.permutation(draws) for draws in tables.draws]
    n = min(len(holdout), *map(len, sets), MOST_COMPARED)
    with phase("comparing tables"):
        same_size = [draws[:n] for draws in sets]
        of_tables = tables_of(kinds, train[:MOST_COMPARED], same_size, holdout[:n])
        lost = lost_relations(kinds, train[:MOST_COMPARED], sets[0][:MOST_COMPARED], rng)
        of_outside = [outside(kinds, train, draws) for draws in sets]
        broken = {
            rule.text: score_of(
                [_share_broken(rule, kinds, draws) for draws in sets],
                _share_broken(rule, kinds, holdout),
            )
            for rule in tables.rules
        }
    auc, skills = _judged(judges, kinds, train, sets, holdout, seed)
    m = min(len(train), len(holdout), MOST_ATTACKED)
    groups = None
    if tables.groups:
        of_train, of_holdout = tables.groups
        apart = 1 + of_train.max(initial=0)
        groups = np.append(of_train[train_order[:m]], apart + of_holdout[holdout_order[:m]])
    pool = pool_of(train[:m], holdout[:m], rng, groups)
    metric = metric_of(kinds, train)
    attacking = sets[0][:MOST_ATTACKED]
    with phase(f"attacking {m:,} training and {m:,} holdout rows"):
        are_inferred = inferred(pool, metric, attacking)
        leaks = {
            "copies": copies(pool, sets[0]),
            "near_copies": near_copies(pool, metric, attacking),
            "nearness": nearness(pool, metric, attacking),
            "singling_out": singling_out(pool, metric, attacking, rng),
            "linkability": linkability(pool, metric, attacking),
            "inference": pool.rate(are_inferred.mean(axis=1)),
        }
    return Audit(
        n_train=len(train),
        n_holdout=len(holdout),
        n_draws=[len(draws) for draws in sets],
        n_judged=n,
        n_attacked=m,
        tables=of_tables,
        lost_relations=lost,
        auc=auc,
        skills=skills,
        outside=score_of(of_outside, outside(kinds, train, holdout)),
        broken=broken,
        leaks={name: rate for name, rate in leaks.items() if rate},
        inference={name: pool.rate(are_inferred[:, j]) for j, name in enumerate(kinds)},
        run=_exposed(trained, tables.holdout, seed) if trained else None,
        seconds=time.monotonic() - start,
    )


def _share_broken(rule: Rule, kinds: Mapping[str, ColumnKind], rows: np.ndarray) -> float:
    """Share of rows ``(n, C)`` that break a rule."""
    first, second = rule.columns
    names = list(kinds)
    slack = rounding_slack(kinds[first], kinds[second])
    cells = rows[:, [names.index(first), names.index(second)]].T
    return float(are_broken(rule.rule, *cells, slack=slack).mean())


def _judged(
    judges: Judges,
    kinds: Mapping[str, ColumnKind],
    train: np.ndarray,
    sets: Sequence[np.ndarray],
    holdout: np.ndarray,
    seed: int,
) -> tuple[Score, dict[str, Score]]:
    """Judgement of boosted trees: AUC between draws and holdout rows, and skills by column."""
    are_levels = np.array([kind.kind == "levels" for kind in kinds.values()])
    n = min(len(train), len(holdout), *map(len, sets), MOST_JUDGED)
    test = holdout[:MOST_JUDGED]
    with phase("telling draws and rows apart"):
        aucs = [judges.told_apart(holdout[:n], draws[:n], are_levels, seed) for draws in sets]
        ceiling = judges.told_apart(holdout[:n], train[:n], are_levels, seed)
    skills = {}
    names = list(kinds)[:MOST_PREDICTED]
    with phase(f"predicting {len(names)} columns", len(names)) as advance:
        for place, name in enumerate(names):
            of_rows = judges.skill(train[:n], test, place, are_levels, seed)
            of_draws = [judges.skill(draws[:n], test, place, are_levels, seed) for draws in sets]
            known = [skill for skill in of_draws if skill is not None]
            if of_rows is not None and known:
                skills[name] = score_of(known, of_rows)
            advance(1)
    return score_of(aucs, ceiling), skills


def _exposed(trained: CellsRun, holdout: np.ndarray, seed: int) -> Exposed:
    """What someone who holds a run can learn of its training rows, beside holdout rows."""
    data = reopen(trained.run)
    data = replace(data, test=holdout, weights=ALIKE)  # of holdout rows they may not be known
    gains = gains_of(trained.density, data.train)
    places = np.argsort(-gains)[:MOST_EXPOSED]
    return Exposed(
        memorisation=memorised(trained.density, data, seed),
        rows=(data.row_numbers.train[places] + 1).tolist(),
        nats=gains[places].tolist(),
    )


def answer(tables: Audited, audit: Audit, data: TableData | None = None) -> Judgement:
    """Figures, printed lines and warnings of an audit; ``data``: that of a run's config."""
    warnings = []
    if data is not None and data.group is not None:
        reason = (
            f"rows with equal {printable(data.group)} depend on each other, but are permuted one "
            "by one: intervals and p-values are too small; with --real, --group permutes them "
            "together"
        )
        warnings.append(ScoreWarning("grouped rows", ("leaks",), reason))
    if data is not None and data.weights is not None:
        reason = (
            f"draws follow the rows as {printable(data.weights)} weights them, but are compared "
            "with rows that count alike: they may be less like them than like the weighted rows"
        )
        figures = ("tables", "lost_relations", "auc", "skills", "outside", "broken")
        warnings.append(ScoreWarning("weighted rows", figures, reason))
    if audit.n_judged < FEW_ROWS:
        reason = (
            f"{audit.n_judged:,} rows of each kind are compared: below {FEW_ROWS} trees learn "
            "little and leaks are not found"
        )
        warnings.append(ScoreWarning("few rows", ("auc", "skills", "leaks"), reason))
    return Judgement(audit.model_dump(), printed_rows(tables, audit), warnings)


def printed_rows(tables: Audited, audit: Audit) -> Rows:
    """Labels and texts of an audit."""
    sizes = ", ".join(f"{n:,}" for n in audit.n_draws)
    rows = [
        (
            "data",
            f"{sizes} draws, {audit.n_train:,} training and {audit.n_holdout:,} holdout rows",
        ),
        *likeness_rows(audit),
        *leak_rows(audit),
    ]
    if tables.left_out:
        rows.append(("not judged", f"{listed(tables.left_out)}: of no kind"))
    return rows


def likeness_rows(audit: Audit) -> Rows:
    """Labels and texts of the likeness of draws, beside that of holdout rows."""
    tables = audit.tables
    worst = ", ".join(
        f"{printable(name)} {x:.3f}" for name, x in [*tables.worst_columns.items()][:3]
    )
    pairs = ", ".join(
        f"{printable(first)} and {printable(second)} {x:.3f}"
        for first, second, x in tables.worst_pairs[:2]
    )
    rows = [
        ("columns", f"{_beside(tables.columns)}; least {worst}"),
        ("pairs", f"{_beside(tables.pairs)}; least {pairs}"),
    ]
    if audit.lost_relations:
        texts = [
            f"{printable(' and '.join(lost.columns))} {lost.rows:.2f} to {lost.draws:.2f}"
            for lost in audit.lost_relations[:3]
        ]
        rows.append(("relations", f"{len(audit.lost_relations)} lost: {', '.join(texts)}"))
    if audit.auc:
        rows.append(("told apart", f"AUC {_beside(audit.auc)}"))
    if audit.skills:
        ratios = {name: score.draws - score.holdout for name, score in audit.skills.items()}
        name = min(ratios, key=lambda name: ratios[name])
        median = float(np.median(list(ratios.values())))
        score = audit.skills[name]
        rows.append(
            (
                "predictions",
                f"skill of trees trained on draws, less of those trained on rows: median "
                f"{median:+.3f}; least {printable(name)} {score.draws:.3f} of {score.holdout:.3f}",
            )
        )
    rows.append(("outside", f"{_beside(audit.outside, 100, ' %')} of the cells"))
    for text, score in audit.broken.items():
        rows.append(("rule", f"{printable(text)} broken in {_beside(score, 100, ' %')}"))
    return rows


def leak_rows(audit: Audit) -> Rows:
    """Labels and texts of what draws tell of training rows, beside holdout rows."""
    rows = [
        (attack.replace("_", " "), f"{_rate_text(rate)}: {ATTACKS[attack]}")
        for attack, rate in audit.leaks.items()
    ]
    name = max(audit.inference, key=lambda name: audit.inference[name].difference)
    rate = audit.inference[name]
    p_value = min(1.0, rate.p_value * len(audit.inference))
    rows.append(("", f"most of {printable(name)}: {_rate_text(rate, p_value)}"))
    if audit.run:
        if text := memorisation_text(audit.run.memorisation):
            rows.append(("of the run", f"training rows likelier than holdout rows by {text}"))
        rows.append(("exposed", f"rows {', '.join(f'{row:,}' for row in audit.run.rows)}"))
    return rows


def _beside(score: Score, times: float = 1.0, unit: str = "") -> str:
    """Score of draws in words, beside that of holdout rows."""
    draws = f"{times * score.draws:.3f}"
    if score.standard_error is not None:
        draws = with_error(times * score.draws, times * score.standard_error)
    return f"{draws}{unit}, holdout {times * score.holdout:.3f}{unit}"


def _rate_text(rate: Rate, p_value: float | None = None) -> str:
    """Rate in words: ``training 12.10 %, holdout 3.40 %, difference +8.70 (+7.90 to +9.50), p``."""
    ends = f"{100 * rate.low:+.2f} to {100 * rate.high:+.2f}"
    return (
        f"training {100 * rate.training:.2f} %, holdout {100 * rate.holdout:.2f} %, difference "
        f"{100 * rate.difference:+.2f} ({ends}), p {p_value or rate.p_value:.2g}"
    )

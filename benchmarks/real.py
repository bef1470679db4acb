"""Fits to real tables of R packages, ``PACKAGE__NAME.csv``: draws, predictions, coverage, gaps."""

import importlib
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.detection import FOLDS, at_least_half, auc, encoded
from benchmarks.runner import Benchmark, Options, Row, groups, markdown, pivot, pm


def read(path: Path, *without: str) -> Any:
    """Return a table; names of rows are no column."""
    import pandas

    table = pandas.read_csv(path)
    return table.drop(columns=["rownames", "Unnamed: 0", *without], errors="ignore")


def shuffled(table: Any, rows: int) -> Any:
    return table.sample(frac=1, random_state=0).reset_index(drop=True)[:rows]


def parted(table: Any, train: float, validation: float) -> Any:
    """Return a shuffled table with a column `part`, which ``data.split`` names."""
    place = np.arange(len(table)) / len(table)
    ends = [place < train, place < train + validation]
    return table.assign(part=np.select(ends, ["train", "validation"], "test"))


# Draws beside held-out rows

SEED, HELD_OUT, LEAST_HELD_OUT, DRAWS = 2, 0.2, 400, 5
SECONDS = 600  # of another synthesizer's fit, at most
LEAST_IN_LEAF = 5  # rows of a tree
SYNTHETIC = (  # drawn at random from those with 2,000 rows or more
    *("AER__HMDA", "DAAG__psid1", "Ecdat__Wages", "heplots__AddHealth", "Ecdat__OFP"),
    *("AER__ResumeNames", "AER__DoctorVisits", "AER__SmokeBan", "asaur__prostateSurvival"),
)


class Halves:
    """The training rows and the held-out rows of a table, which a classifier sees.

    Gaps are the words that nflow takes as such; constants are no columns to judge.
    """

    def __init__(self, path: Path, folder: str) -> None:
        import pandas

        from nflow_cli.data.files.tables import MISSING

        gaps = {form(word) for word in MISSING for form in (str, str.upper, str.title)} | {"NaN"}
        rows = pandas.read_csv(path, keep_default_na=False, na_values=sorted(gaps))
        rows = rows.drop(columns="rownames", errors="ignore")
        rows = rows.loc[:, rows.nunique(dropna=False) > 1]
        places = np.random.default_rng(SEED).permutation(len(rows))[:20_000]
        held = max(LEAST_HELD_OUT, round(HELD_OUT * len(places)))
        self.held, self.train = (rows.iloc[part] for part in np.split(places, [held]))
        self.folder, self.gaps = folder, gaps
        self.held.to_csv(f"{folder}/held.csv", index=False)
        self.train.to_csv(f"{folder}/train.csv", index=False)

    def again(self, files: list[str]) -> list[Any]:
        import pandas

        options = {"keep_default_na": False, "na_values": sorted(self.gaps)}
        return [pandas.read_csv(file, **options) for file in files]


def by_nflow(halves: Halves, files: list[str]) -> None:
    """Write draws of the default fit, which holds out no further rows of its own."""
    import nflow_cli

    folder = halves.folder
    test = {"data.test": f"{folder}/held.csv"}
    q = nflow_cli.fit(f"{folder}/train.csv", settings=test, output=f"{folder}/run")
    for seed, file in enumerate(files):
        drawn = q.sample_table(len(halves.held), seed).to_pandas()
        drawn.drop(columns="log_q").to_csv(file, index=False)


def real(halves: Halves, files: list[str]) -> None:
    """Write training rows: the baseline of real rows against real rows."""
    for draw, file in enumerate(files):
        places = np.random.default_rng([SEED, draw]).permutation(len(halves.train))
        halves.train.iloc[places[: len(halves.held)]].to_csv(file, index=False)


def bootstrap(halves: Halves, files: list[str]) -> None:
    """Write training rows at random, some of them twice."""
    for draw, file in enumerate(files):
        rows = halves.train.sample(len(halves.held), replace=True, random_state=draw)
        rows.to_csv(file, index=False)


def independent(halves: Halves, files: list[str]) -> None:
    """Write training rows whose columns are each permuted on their own."""
    for draw, file in enumerate(files):
        permuted = np.random.default_rng([SEED, draw]).permutation
        columns = {name: permuted(column.to_numpy()) for name, column in halves.train.items()}
        halves.train.assign(**columns).iloc[: len(halves.held)].to_csv(file, index=False)


def by_trees(halves: Halves, files: list[str]) -> None:
    """Write draws of trees in turn: a cell of the leaf to which the cells before lead.

    Each column has a classification or regression tree (CART) given the columns before it, with
    leaves of five rows or more; cells of the first column are training cells (Reiter 2005, "Using
    CART to generate partially synthetic public use microdata").
    """
    train, n = halves.train.reset_index(drop=True), len(halves.held)
    names = list(train)
    inputs = [inputs_of(train[name]) for name in names]
    trees = [tree_of(np.hstack(inputs[:j]), train[name]) for j, name in enumerate(names) if j]
    leaves = [tree.apply(np.hstack(inputs[:j])) for j, tree in enumerate(trees, 1)]
    for draw, file in enumerate(files):
        rng = np.random.default_rng([SEED, draw])
        places = [rng.integers(len(train), size=n)]  # training rows whose cells are drawn
        for tree, of_rows in zip(trees, leaves):
            before = [of_column[place] for of_column, place in zip(inputs, places)]
            drawn = tree.apply(np.hstack(before))
            order = np.argsort(of_rows, kind="stable")
            first = np.searchsorted(of_rows[order], drawn)
            last = np.searchsorted(of_rows[order], drawn, side="right")
            places.append(order[rng.integers(first, last)])
        cells = {name: train[name].to_numpy()[place] for name, place in zip(names, places)}
        train.iloc[places[0]].reset_index(drop=True).assign(**cells).to_csv(file, index=False)


def inputs_of(column: Any) -> np.ndarray:
    """Return numbers ``(n, 1)``, or indicators of levels."""
    import pandas

    if pandas.api.types.is_numeric_dtype(column):
        return column.to_numpy(float)[:, None]
    return pandas.get_dummies(column, dtype=float).to_numpy()


def tree_of(x: np.ndarray, column: Any) -> Any:
    """Return a tree of a column, in which a gap of numbers is their mean and of levels a level."""
    import pandas
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    options: dict[str, Any] = {"min_samples_leaf": LEAST_IN_LEAF, "random_state": 0}
    if pandas.api.types.is_numeric_dtype(column):
        y = column.fillna(column.mean()).to_numpy(float)
        return DecisionTreeRegressor(**options).fit(x, y)
    codes, _ = pandas.factorize(column, use_na_sentinel=False)
    return DecisionTreeClassifier(**options).fit(x, codes)


OWN = {
    "real": real,
    "nflow": by_nflow,
    "trees": by_trees,
    "bootstrap": bootstrap,
    "independent": independent,
}


def synthetic(case: Row, options: Options) -> Row:
    """Return the AUC of a classifier of held-out rows and draws, or why there are no draws."""
    name = case["contender"]
    with tempfile.TemporaryDirectory() as folder:
        halves = Halves(options.file(f"{case['table']}.csv"), folder)
        sizes = {"train": len(halves.train), "held_out": len(halves.held)}
        files = [f"{folder}/{draw}.csv" for draw in range(DRAWS)]
        if name in OWN:
            OWN[name](halves, files)
        else:
            arguments = {"path": f"{folder}/train.csv", "n": len(halves.held), "files": files}
            try:
                options.peer("synthesizers:draw", SECONDS, name=name, **arguments)
            except subprocess.TimeoutExpired:
                return {**sizes, "failed": f"none in {SECONDS} s"}
        codes = [encoded(halves.held, drawn) for drawn in halves.again(files)]
    area = at_least_half([auc(code.rows, code.draws, i) for i, code in enumerate(codes)])
    return {**sizes, "auc": area.value, "auc_standard_error": area.error}


def synthetic_table(rows: list[Row]) -> str:
    floors = {row["table"]: row for row in rows if row["contender"] == "real"}

    def excess(some: list[Row]) -> str:
        (row,) = some
        if "failed" in row:
            return row["failed"]
        floor = floors[row["table"]]
        errors = row["auc_standard_error"], floor["auc_standard_error"]
        return pm(row["auc"] - floor["auc"], math.hypot(*errors), 3)

    others = [row for row in rows if row["contender"] != "real"]
    head = "table, training rows"
    return pivot(
        head,
        others,
        lambda row: f"{table_of(row)}, {row['train']:,}",
        lambda row: row["contender"],
        excess,
    )


# One column given the others

QUANTILES = tuple(np.round(np.arange(0.05, 0.96, 0.05), 2))


class Task(NamedTuple):
    """A table with a column to predict.

    ``nll`` are nats of the scored variable by log-masses and values of the column.
    """

    table: str
    target: str
    test: float
    validation: float
    nll: Callable[[np.ndarray, np.ndarray], np.ndarray]


TASKS = {
    "concrete": Task(
        *("modeldata__concrete", "compressive_strength", 0.1, 0.1),
        lambda log_p, y: -log_p + math.log(0.01),
    ),
    "diamonds": Task(
        *("ggplot2__diamonds", "price", 0.2, 0.2),
        lambda log_p, y: -log_p - np.log(y * math.log(10)),
    ),
}


def predictions(case: Row, options: Options) -> Row:
    """Return the scores of nflow on a split, and of other libraries if they are there."""
    from sklearn.model_selection import train_test_split

    import nflow_cli

    task, split = TASKS[case["task"]], case["split"]
    table = read(options.file(f"{task.table}.csv"))
    rest, test = train_test_split(table.index, test_size=task.test, random_state=split)
    _, validation = train_test_split(rest, test_size=task.validation, random_state=split)
    table["part"] = "train"
    table.loc[validation, "part"], table.loc[test, "part"] = "validation", "test"
    given = [name for name in table if name not in (task.target, "part")]
    with tempfile.TemporaryDirectory() as folder:
        table.to_csv(f"{folder}/rows.csv", index=False)
        start = time.perf_counter()
        settings = {"data.split": "part"}
        columns: dict[str, Any] = {"columns": [task.target], "given": given}
        q = nflow_cli.fit(table, **columns, settings=settings, output=f"{folder}/run")
        seconds = time.perf_counter() - start
        held = table[table.part == "test"]
        found, y = q.predict(held, quantiles=QUANTILES), held[task.target].to_numpy(float)
        peers = {}
        if options.peers:
            rows = f"{folder}/rows.csv"
            peers = options.peer(
                "predictions:scores", task=case["task"], path=rows, target=task.target
            )
    nll = task.nll(found[f"{task.target}_log_p"].to_numpy(), y)
    ends = np.column_stack([found[f"{task.target}_q{p:g}"] for p in QUANTILES])
    off, levels = y[:, None] - ends, np.array(QUANTILES)
    scores = {
        "nll": nll.mean(),
        "nll_standard_error": nll.std(ddof=1) / math.sqrt(len(nll)),
        "pinball": np.maximum(levels * off, (levels - 1) * off).mean(),
        "seconds": round(seconds, 1),
    }
    return {"nflow": scores, **peers}


def predictions_table(rows: list[Row]) -> str:
    lines = []
    for (task,), some in groups(rows, "task").items():
        for name in ("nflow", "ngboost", "quantile_forest"):
            found = [row[name] for row in some if name in row]
            scores = [of_splits([one.get(key) for one in found]) for key in ("nll", "pinball")]
            seconds = f"{np.median([one['seconds'] for one in found]):.1f}" if found else ""
            lines.append([task, name, len(found), *scores, seconds])
        both = [row["nflow"]["nll"] - row["ngboost"]["nll"] for row in some if "ngboost" in row]
        lines.append([task, "nflow less ngboost, paired", len(both), of_splits(both), "", ""])
    head = ["", "", "splits", "negative log-likelihood", "pinball loss", "seconds (median)"]
    return markdown(head, lines)


def of_splits(values: Sequence[float | None]) -> str:
    """Return the mean over splits with its standard error."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    error = float(np.std(known, ddof=1)) / math.sqrt(len(known)) if len(known) > 1 else None
    return pm(float(np.mean(known)), error, 2)


# Coverage of conformal sets

COVERAGE_OF = {
    "Ecdat__Wages": ("lwage", "exp", "ind"),
    "AER__SmokeBan": ("age", "smoker", "education"),
    "Ecdat__OFP": ("ofp", "age", "privins"),
    "DAAG__psid1": ("re78", "educ", "marr"),
    "asaur__prostateSurvival": ("survTime", "stage", "status"),
}
SPLITS, COVERAGE = 20, 0.9
CALIBRATION, OF_GROUP, LEAST_GROUP = 500, 200, 500  # rows


def coverage(case: Row, options: Options) -> list[Row]:
    """Return the coverage of the sets of some columns, over splits of the held-out rows."""
    import nflow_cli

    table = read(options.file(f"{case['table']}.csv"))
    table = parted(shuffled(table, 6_000), 0.4, 0.1)
    with tempfile.TemporaryDirectory() as folder:
        q = nflow_cli.fit(table, settings={"data.split": "part"}, output=f"{folder}/run")
        rows = q.rows(table[table.part == "test"])
        targets = COVERAGE_OF[case["table"]]
        return [{"column": target, **of_column(q, rows, target)} for target in targets]


def of_column(q: Any, rows: np.ndarray, target: str) -> Row:
    """Return the coverage of a column's sets, in all and by groups."""
    from nflow_cli.tables.answers.predict import nonconformity_scores
    from nflow_cli.tables.cells.cell_conditional import conditional
    from nflow_cli.tables.table_rows import TableRows

    place = q.columns.index(target)
    column = q.density.row_columns[place]
    others = np.where(TableRows(q.density, rows).unknown_cells(place), np.nan, rows)
    found = conditional(q.density, others, place, np.array([0.5]))
    scores = nonconformity_scores(column, found, rows[:, place])
    known = ~np.isnan(scores)
    facts: Row = {"n": int(known.sum()), "mean": covered(scores[known], CALIBRATION)}
    if column.has_numbers:
        facts["without"] = float((scores[known] <= COVERAGE).mean())
    for j, by in enumerate(q.density.row_columns[: len(q.density.columns)]):
        if by.has_numbers or j == place:
            continue
        codes = np.nan_to_num(rows[:, j], nan=-2.0)
        some = [scores[known & (codes == code)] for code in np.unique(codes)]
        large = [covered(one, OF_GROUP) for one in some if len(one) >= LEAST_GROUP]
        if len(large) > 1:
            return {**facts, "by": by.name, "groups": large}
    return facts


def covered(scores: np.ndarray, n: int) -> float:
    """Return the mean coverage by sets that n scores calibrate, over random splits."""
    from nflow_cli.tables.scores.conformal import calibrated

    shares = []
    for split in range(SPLITS):
        order = np.random.default_rng(split).permutation(len(scores))
        threshold = calibrated(scores[order[:n]], COVERAGE).threshold
        shares.append((scores[order[n:]] <= threshold).mean())
    return float(np.mean(shares))


def coverage_table(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        groups_of = row.get("groups", ())
        least = f"{min(groups_of):.3f}, {max(groups_of):.3f}" if groups_of else ""
        scores = [f"{row[key]:.3f}" if key in row else "" for key in ("mean", "without")]
        lines.append([table_of(row), row["column"], *scores, least])
    central = "central 90 % interval without calibration"
    return markdown(["table", "column", "coverage", central, "groups: least, greatest"], lines)


# Gaps

GAPS_OF = {
    "palmerpenguins__penguins": ["year"],  # left out
    "ggplot2__diamonds": [],
    "AER__CPS1985": [],
    "ISLR__Auto": ["name"],
    "MASS__Boston": [],
    "modeldata__concrete": [],
}
EMPTY, GAP_DRAWS, FOREST_DRAWS = 0.2, 100, 20


def imputation(case: Row, options: Options) -> Row:
    """Return the errors of a method that fills a fifth of the cells, emptied at random."""
    name = case["table"]
    table = read(options.file(f"{name}.csv"), *GAPS_OF[name]).dropna()
    table = shuffled(table, 4_000)
    empty = np.random.default_rng(1).random(table.shape) < EMPTY
    empty[empty.all(axis=1)] = False
    start = time.perf_counter()
    filled, *more = METHODS[case["method"]](table.astype(object).mask(empty), options)
    facts = errors(table, filled, empty)
    facts["seconds"] = round(time.perf_counter() - start, 1)
    if not more:
        return facts
    (draws,) = more
    return facts | {"coverage": inside(table, draws, empty), "crps": crps(table, draws, empty)}


def filled_by_nflow(gaps: Any, options: Options) -> tuple[Any, Any]:
    """Fill gaps; also 100 times by draws."""
    import nflow_cli

    gaps = gaps.infer_objects()
    with tempfile.TemporaryDirectory() as output:
        q = nflow_cli.fit(gaps, output=f"{output}/run")
        return q.impute(gaps), q.impute(gaps, draws=GAP_DRAWS)


def by_regressions(gaps: Any, options: Options) -> tuple[Any]:
    """Fill gaps by chained ridge regressions of standardised columns and indicators of levels."""
    import pandas

    importlib.import_module("sklearn.experimental.enable_iterative_imputer")
    from sklearn.impute import IterativeImputer

    parts, levels = [], {}
    for name in gaps:
        if is_number(gaps[name]):
            parts.append(gaps[[name]].astype(float))
        else:
            indicators = pandas.get_dummies(gaps[name], dtype=float)
            indicators[gaps[name].isna()] = np.nan
            levels[name] = list(indicators.columns)
            parts.append(indicators.add_prefix(f"{name}="))
    x = pandas.concat(parts, axis=1)
    mean, sd = x.mean(), x.std()
    filled = IterativeImputer(max_iter=20, random_state=0).fit_transform((x - mean) / sd)
    filled, found = pandas.DataFrame(filled, columns=x.columns) * sd + mean, gaps.copy()
    for name in gaps:
        if name in levels:
            columns = [f"{name}={level}" for level in levels[name]]
            found[name] = np.array(levels[name])[filled[columns].to_numpy().argmax(axis=1)]
        else:
            found[name] = filled[name]
    return (found,)


def by_forests(gaps: Any, options: Options) -> tuple[Any]:
    """Fill gaps by missForest."""
    import pandas

    numbers = [name for name in gaps if is_number(gaps[name])]
    found, levels = gaps.copy(), {}
    for name in gaps:
        if name in numbers:
            found[name] = gaps[name].astype(float).fillna(gaps[name].astype(float).mean())
        else:
            codes, levels[name] = pandas.factorize(gaps[name])
            found[name] = np.where(codes < 0, np.bincount(codes[codes >= 0]).argmax(), codes)
    order, last = sorted(gaps, key=lambda name: gaps[name].isna().sum()), np.inf
    for _ in range(10):
        before = found.copy()
        for name in order:
            refill(found, name, gaps[name].isna().to_numpy(), [*levels])
        changes = [((found[n] - before[n]) ** 2).sum() / (found[n] ** 2).sum() for n in numbers]
        change = sum(changes) + sum((found[n] != before[n]).mean() for n in levels)
        if change > last:
            found = before
            break
        last = change
    for name in levels:
        found[name] = np.array(levels[name])[found[name].astype(int)]
    return (found,)


def by_miceforest(gaps: Any, options: Options) -> tuple[Any, Any]:
    """Fill gaps by chained boosting with predictive mean matching, 20 times: the means of numbers
    and the most frequent levels.
    """
    import pandas

    numbers = [name for name in gaps if is_number(gaps[name])]
    with tempfile.TemporaryDirectory() as folder:
        gaps.to_csv(f"{folder}/gaps.csv", index=False)
        levels = [name for name in gaps if name not in numbers]
        options.peer(
            "imputations:by_miceforest", folder=folder, levels=levels, datasets=FOREST_DRAWS
        )
        draws = pandas.read_csv(f"{folder}/filled.csv", keep_default_na=False)
    rows = np.tile(np.arange(len(gaps)), FOREST_DRAWS)
    found = pandas.DataFrame(index=gaps.index)
    for name in gaps:
        groups = draws[name].groupby(rows)
        found[name] = groups.mean() if name in numbers else groups.agg(lambda x: x.mode().iloc[0])
    return found, draws


def refill(found: Any, name: str, missing: np.ndarray, levels: list[str]) -> None:
    """Predict the missing cells of a column from all others by a forest."""
    import pandas
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    if not missing.any():
        return
    others = pandas.get_dummies(
        found.drop(columns=name), columns=[n for n in levels if n != name], dtype=float
    )
    model: Any = RandomForestClassifier if name in levels else RandomForestRegressor
    model = model(n_estimators=100, n_jobs=-1, random_state=0)
    model.fit(others[~missing], found[name][~missing])
    found.loc[missing, name] = model.predict(others[missing])


def is_number(column: Any) -> bool:
    """Whether a column with gaps holds numbers of more than two values."""
    known = column.dropna()
    return all(isinstance(x, int | float) for x in known) and known.nunique() > 2


def errors(table: Any, filled: Any, empty: np.ndarray) -> Row:
    """Root mean squared error in standard deviations, and error rate, means over columns."""
    squares, rates = [], []
    for name, missing in zip(table, empty.T):
        truth, found = table[name][missing], filled[name][missing]
        if is_number(table[name]):
            error = (found.astype(float) - truth).to_numpy()
            squares.append(np.sqrt(np.mean(error**2)) / table[name].std(ddof=0))
        else:
            rates.append(np.mean([text(x) != text(y) for x, y in zip(found, truth)]))
    mean = {"rmse": squares, "error_rate": rates}
    return {key: float(np.mean(values)) if values else None for key, values in mean.items()}


def text(level: Any) -> str:
    """Level as text: 1 and 1.0 are one."""
    return f"{float(level):g}" if isinstance(level, int | float | np.number) else str(level)


def inside(table: Any, draws: Any, empty: np.ndarray) -> dict[str, float]:
    """Share of the numbers within the central 90 % of their draws, and the number of these.

    By ranks, at random among equal draws: an interval of a grid, ends included, has more than 90 %.
    """
    found, rng = [], np.random.default_rng(2)
    for name, missing in zip(table, empty.T):
        if is_number(table[name]):
            every = draws[name].to_numpy(float).reshape(-1, len(table))[:, missing]
            truth = table[name][missing].to_numpy(float)
            below, ties = (every < truth).sum(axis=0), (every == truth).sum(axis=0)
            rank = (below + rng.random(len(truth)) * (ties + 1)) / (len(every) + 1)
            found += [*((rank > 0.05) & (rank < 0.95))]
    return {"share": float(np.mean(found)), "n": len(found)}


def crps(table: Any, draws: Any, empty: np.ndarray) -> float:
    """Continuous ranked probability score of numbers by m draws, in standard deviations, mean over
    columns: ``mean |X - x| - mean |X - X'|/2``, of different draws (Ferro 2014).
    """
    found = []
    for name, missing in zip(table, empty.T):
        if is_number(table[name]):
            every = draws[name].to_numpy(float).reshape(-1, len(table))[:, missing]
            truth = table[name][missing].to_numpy(float)
            m = len(every)
            weights = 2 * np.arange(1, m + 1) - m - 1
            spread = (weights[:, None] * np.sort(every, axis=0)).sum(axis=0) / (m * (m - 1))
            score = np.abs(every - truth).mean(axis=0) - spread
            found.append(score.mean() / table[name].std(ddof=0))
    return float(np.mean(found))


METHODS: dict[str, Callable[[Any, Options], tuple[Any, ...]]] = {
    "by_nflow": filled_by_nflow,
    "by_regressions": by_regressions,
    "by_forests": by_forests,
    "by_miceforest": by_miceforest,
}


def imputation_table(rows: list[Row]) -> str:
    def cell(some: list[Row]) -> str:
        (row,) = some
        levels = "" if row["error_rate"] is None else f", {100 * row['error_rate']:.1f} %"
        score = f"; CRPS {row['crps']:.3f}" if "crps" in row else ""
        inside = within(row["coverage"]) if "coverage" in row else ""
        return f"{row['rmse']:.3f}{levels}{score}{inside}"

    return pivot("table", rows, table_of, lambda row: row["method"].replace("_", " "), cell)


def within(coverage: Row) -> str:
    share, n = coverage["share"], coverage["n"]
    return f"; {pm(100 * share, 100 * math.sqrt(share * (1 - share) / n), 1)} % inside"


def table_of(row: Row) -> str:
    return row["table"].partition("__")[2]


# Draws given late columns

GIVEN_OF = {  # behind others: draws of the joint run have unequal weights
    "modeldata__concrete": ["compressive_strength"],
    "Ecdat__Wages": ["black", "lwage"],
    "ggplot2__diamonds": ["price"],
}
CONDITIONS = 1_000


def conditional_draws(case: Row, options: Options) -> Row:
    """Return accuracies of classifiers of draws by a joint and a `--given` run, and of the rows."""
    import nflow_cli

    table = shuffled(read(options.file(f"{case['table']}.csv")), 6_000)
    split = parted(table, 0.7, 0.1)
    rows = table[split.part == "test"][:CONDITIONS]
    settings: dict[str, Any] = {"settings": {"data.split": "part"}}
    with tempfile.TemporaryDirectory() as folder:
        joint = nflow_cli.fit(split, output=f"{folder}/joint", **settings)
        given = nflow_cli.fit(split, given=case["given"], output=f"{folder}/given", **settings)
        start = time.perf_counter()
        first = joint.sample_table(1, 1, rows[case["given"]]).to_pandas()[table.columns]
        seconds = time.perf_counter() - start
        second = given.sample_table(1, 2, rows[case["given"]]).to_pandas()[table.columns]
    pairs = {"c2st": (first, second), "joint": (rows, first), "given_run": (rows, second)}
    found: Row = {"n": len(rows), "seconds": round(seconds, 2)}
    for key, pair in pairs.items():
        found[key], found[f"{key}_error"] = accuracy(*pair)
    return found


def accuracy(rows: Any, draws: Any) -> tuple[float, float]:
    """Return the cross-validated accuracy of a classifier, and its standard error over folds."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    both = encoded(rows, draws)
    x = np.concatenate([both.rows, both.draws])
    y = np.repeat([0, 1], [len(both.rows), len(both.draws)])
    model = HistGradientBoostingClassifier(categorical_features=both.levels, random_state=0)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    scores = cross_val_score(model, x, y, cv=folds)
    return float(scores.mean()), float(scores.std(ddof=1) / np.sqrt(FOLDS))


def conditional_draws_table(rows: list[Row]) -> str:
    keys = ("c2st", "joint", "given_run")
    lines = [
        [table_of(row), ", ".join(row["given"])]
        + [pm(row[key], row[f"{key}_error"], 3) for key in keys]
        for row in rows
    ]
    runs = ["joint and `--given` run", "joint run and rows", "`--given` run and rows"]
    return markdown(["table", "given", *runs], lines)


BENCHMARKS = [
    Benchmark(
        "synthetic",
        [
            {"table": table, "contender": name}
            for table in SYNTHETIC
            for name in (*OWN, "gaussian-copula", "arf")
        ],
        synthetic,
        synthetic_table,
    ),
    Benchmark(
        "predictions",
        [
            *[{"task": "concrete", "split": split} for split in range(20)],
            *[{"task": "diamonds", "split": split} for split in range(1, 6)],
        ],
        predictions,
        predictions_table,
    ),
    Benchmark("coverage", [{"table": name} for name in COVERAGE_OF], coverage, coverage_table),
    Benchmark(
        "imputation",
        [{"table": table, "method": name} for table in GAPS_OF for name in METHODS],
        imputation,
        imputation_table,
    ),
    Benchmark(
        "conditional_draws",
        [{"table": table, "given": given} for table, given in GIVEN_OF.items()],
        conditional_draws,
        conditional_draws_table,
    ),
]

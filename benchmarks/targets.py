"""Predictions of one column: ``--target``, joint fits, boosting and linear models, on equal rows.

Tables of R packages, ``PACKAGE__NAME.csv``, and halves of two of UCI's, ``UCI__NAME.csv``: twelve
columns of numbers and ten of levels.
"""

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from benchmarks.real import read, shuffled
from benchmarks.runner import Benchmark, Options, Row, groups, markdown, pm

ROWS, SPLITS, JOINT_SPLITS = 3_000, 5, 3
TEST, MOST_TESTED = 0.2, 0.1  # share of the rows, and of the most rows
BINS = 10  # of a calibration error
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LEAST = 1e-15  # probability of a level, whose logarithm is finite


class Task(NamedTuple):
    """A column to predict; ``without`` are columns that give it away."""

    target: str
    is_number: bool
    without: tuple[str, ...] = ()
    most_rows: int = ROWS


TASKS = {
    "mosaicData__SaratogaHouses": Task("price", True),
    "AER__HousePrices": Task("price", True),
    "ISLR__Wage": Task("wage", True, ("logwage", "region")),
    "Ecdat__Computers": Task("price", True),
    "modeldata__concrete": Task("compressive_strength", True),
    "ggplot2__diamonds": Task("price", True),
    "MASS__Boston": Task("medv", True),
    "ISLR__Auto": Task("mpg", True, ("name",)),
    "ISLR__Carseats": Task("Sales", True),
    "ISLR__Hitters": Task("Salary", True),
    "AER__CPS1988": Task("wage", True),
    "Ecdat__Wages": Task("lwage", True),
    "ISLR__OJ": Task("Purchase", False),
    "Ecdat__Hmda": Task("deny", False),
    "modeldata__mlc_churn": Task("churn", False),
    "palmerpenguins__penguins": Task("species", False),
    "ISLR__Wage: jobclass": Task("jobclass", False, ("logwage", "region")),
    "MASS__Pima.te": Task("type", False),
    "MASS__Pima.tr2": Task("type", False),
    "modeldata__credit_data": Task("Status", False, most_rows=5_000),
    "UCI__online-shoppers": Task("Revenue", False, most_rows=10_000),
    "UCI__adult": Task("income", False, most_rows=20_000),
}


class Halves(NamedTuple):
    """Rows to fit and held-out rows of a table, whose last column is the target."""

    task: Task
    train: Any
    test: Any

    @property
    def truth(self) -> Any:
        return self.test[self.task.target].to_numpy()

    @property
    def inputs(self) -> list[str]:
        return [name for name in self.train if name != self.task.target]

    @property
    def levels(self) -> list[str]:
        """Names of the inputs that are no numbers."""
        return list(self.train[self.inputs].select_dtypes(exclude="number"))


class Predicted(NamedTuple):
    """Predictions of the held-out rows, and the seconds of the fit and of the predictions.

    Attributes:
        numbers: Means ``(n,)`` and quantiles ``(n, 5)``, the latter where there are some.
        levels: Probabilities of levels by name.
    """

    seconds: tuple[float, float]
    numbers: tuple[np.ndarray, np.ndarray | None] | None = None
    levels: Mapping[str, np.ndarray] = {}


def halves(case: Row, options: Options) -> Halves:
    task = TASKS[case["table"]]
    file_name = case["table"].partition(":")[0]
    table = read(options.file(f"{file_name}.csv"), *task.without)
    table = shuffled(table.dropna(subset=[task.target]), task.most_rows)
    table = table[[name for name in table if name != task.target] + [task.target]]
    table = table.sample(frac=1, random_state=case["split"] + 1)
    tested = min(int(MOST_TESTED * task.most_rows), int(TEST * len(table)))
    return Halves(task, table[tested:], table[:tested])


# Ways to predict


def by_target(rows: Halves, options: Options) -> Predicted:
    return by_nflow(rows, rows.train, rows.task.target)


def jointly(rows: Halves, options: Options) -> Predicted:
    return by_nflow(rows, rows.train, None)


def by_nflow(rows: Halves, train: Any, target: str | None) -> Predicted:
    import nflow_cli

    name = rows.task.target
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        q = nflow_cli.fit(train, output=f"{folder}/run", target=target)
        fitted = time.perf_counter()
        held = rows.test[list(train)].drop(columns=[name] if target else [])
        found = q.predict(held, name, quantiles=QUANTILES)
        seconds = fitted - start, time.perf_counter() - fitted
    if rows.task.is_number:
        quantiles = [found[f"{name}_q{p:g}"] for p in QUANTILES]
        mean = found[f"{name}_mean"].to_numpy(float)
        return Predicted(seconds, numbers=(mean, np.column_stack(quantiles).astype(float)))
    levels = {}
    for level in map(str, train[name].unique()):
        written = level.lower() if train[name].dtype == bool else level
        levels[level] = found[f"{name}_p_{written}"].to_numpy(float)
    return Predicted(seconds, levels=levels)


def by_boosting(rows: Halves, options: Options) -> Predicted:
    """Histogram gradient boosting by its defaults; of levels with early stopping."""
    return boosted(rows, {} if rows.task.is_number else {"early_stopping": True})


def by_slow_boosting(rows: Halves, options: Options) -> Predicted:
    """Histogram gradient boosting of half the learning rate with early stopping."""
    return boosted(rows, {"early_stopping": True, "learning_rate": 0.05, "max_iter": 1_000})


def boosted(rows: Halves, settings: Mapping[str, Any]) -> Predicted:
    """Histogram gradient boosting of scikit-learn, of each quantile by itself."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    train, test = (coded(rows, part) for part in (rows.train, rows.test))
    options = {"categorical_features": rows.levels, "random_state": 0, **settings}
    y = rows.train[rows.task.target]
    start = time.perf_counter()
    if not rows.task.is_number:
        return classified(HistGradientBoostingClassifier(**options).fit(train, y), test, start)
    mean = HistGradientBoostingRegressor(**options).fit(train, y)
    models = [
        HistGradientBoostingRegressor(loss="quantile", quantile=p, **options).fit(train, y)
        for p in QUANTILES
    ]
    fitted = time.perf_counter()
    quantiles = np.column_stack([model.predict(test) for model in models])
    numbers = mean.predict(test), quantiles
    return Predicted((fitted - start, time.perf_counter() - fitted), numbers=numbers)


def coded(rows: Halves, part: Any) -> Any:
    """Inputs with levels as categories of the rows to fit; others are gaps."""
    import pandas

    inputs = part[rows.inputs].copy()
    for name in rows.levels:
        levels = sorted(rows.train[name].dropna().astype(str).unique())
        texts = part[name].astype(object).where(part[name].isna(), part[name].astype(str))
        inputs[name] = pandas.Categorical(texts, categories=levels)
    return inputs


def by_linear_model(rows: Halves, options: Options) -> Predicted:
    """Ridge or logistic regression of standardised numbers and indicators of levels."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegressionCV, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in rows.inputs if name not in rows.levels]
    indicators = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="gap"), OneHotEncoder(handle_unknown="ignore")
    )
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    inputs = make_column_transformer((indicators, rows.levels), (scaled, numbers))
    model: Any = RidgeCV(np.logspace(-3, 3, 13))
    if not rows.task.is_number:
        model = LogisticRegressionCV(Cs=8, max_iter=2_000, scoring="neg_log_loss")
    train, test = (
        part[rows.inputs].astype(dict.fromkeys(rows.levels, object))
        for part in (rows.train, rows.test)
    )
    start = time.perf_counter()
    model = make_pipeline(inputs, model).fit(train, rows.train[rows.task.target])
    if not rows.task.is_number:
        return classified(model, test, start)
    fitted = time.perf_counter()
    numbers_of = model.predict(test), None
    return Predicted((fitted - start, time.perf_counter() - fitted), numbers=numbers_of)


def by_catboost(rows: Halves, options: Options) -> Predicted:
    """CatBoost by its defaults, of levels; gaps of inputs of levels are a level."""
    with tempfile.TemporaryDirectory() as folder:
        for name, part in (("train", rows.train), ("test", rows.test)):
            part.to_csv(f"{folder}/{name}.csv", index=False)
        found = options.peer(
            "classes:probabilities", folder=folder, target=rows.task.target, levels=rows.levels
        )
    return Predicted(
        tuple(found["seconds"]),
        levels={level: np.array(p) for level, p in found["probabilities"].items()},
    )


def classified(model: Any, test: Any, start: float) -> Predicted:
    fitted = time.perf_counter()
    shares = model.predict_proba(test)
    seconds = fitted - start, time.perf_counter() - fitted
    return Predicted(seconds, levels=dict(zip(map(str, model.classes_), shares.T)))


def by_itself(rows: Halves, options: Options) -> Predicted:
    """Mean and quantiles, or shares, of the rows to fit."""
    y, n = rows.train[rows.task.target], len(rows.test)
    if rows.task.is_number:
        quantiles = np.tile(np.quantile(y, QUANTILES), (n, 1))
        return Predicted((0.0, 0.0), numbers=(np.full(n, y.mean()), quantiles))
    shares = y.astype(str).value_counts(normalize=True)
    return Predicted((0.0, 0.0), levels={level: np.full(n, p) for level, p in shares.items()})


TARGET, JOINT, CATBOOST = "--target", "joint fit", "CatBoost"
JOINTLY_FITTED = (  # four columns of numbers and four of levels
    *("mosaicData__SaratogaHouses", "AER__HousePrices", "ISLR__Wage", "Ecdat__Computers"),
    *("ISLR__OJ", "Ecdat__Hmda", "modeldata__mlc_churn", "palmerpenguins__penguins"),
)
WAYS: dict[str, Callable[[Halves, Options], Predicted]] = {
    TARGET: by_target,
    JOINT: jointly,
    "boosting": by_boosting,
    "boosting, stopped early": by_slow_boosting,
    CATBOOST: by_catboost,
    "linear model": by_linear_model,
    "alone": by_itself,
}


# Scores


def targets(case: Row, options: Options) -> Row:
    """Return the losses of a way on held-out rows, with standard errors, and its seconds."""
    rows = halves(case, options)
    found = WAYS[case["way"]](rows, options)
    fit, predict = found.seconds
    facts = {
        "tested": len(rows.test),
        "fit_seconds": round(fit, 1),
        "predict_seconds": round(1_000 * predict / len(rows.test), 2),
    }
    if found.numbers is not None:
        return facts | losses_of_numbers(rows.truth.astype(float), *found.numbers)
    return facts | losses_of_levels(rows.truth.astype(str), found.levels)


def losses_of_numbers(truth: np.ndarray, mean: np.ndarray, quantiles: np.ndarray | None) -> Row:
    """Root mean square error and pinball loss of the rows with a prediction."""
    known = np.isfinite(mean)
    squares = np.square(mean[known] - truth[known])
    rmse = math.sqrt(squares.mean())
    losses = {
        "unresolved": int((~known).sum()),
        "rmse": rmse,
        "rmse_standard_error": error_of(squares) / (2 * rmse),
    }
    if quantiles is None:
        return losses
    off, p = truth[known, None] - quantiles[known], np.array(QUANTILES)
    pinball = np.maximum(p * off, (p - 1) * off).mean(axis=1)
    return losses | {"pinball": pinball.mean(), "pinball_standard_error": error_of(pinball)}


def losses_of_levels(truth: np.ndarray, shares: Mapping[str, np.ndarray]) -> Row:
    """Log loss, error rate, area under the ROC curve, of several levels against the rest, and
    expected calibration error.
    """
    from nflow_cli.evaluation.ranks import area, ranked

    levels = sorted(shares)
    p = np.column_stack([shares[level] for level in levels])
    p = np.clip(p / p.sum(axis=1, keepdims=True), LEAST, 1.0)
    place = np.searchsorted(levels, truth)
    log_loss = -np.log(p[np.arange(len(truth)), place])
    wrong = p.argmax(axis=1) != place
    areas = area(ranked(p, place))
    return {
        "log_loss": log_loss.mean(),
        "log_loss_standard_error": error_of(log_loss),
        "error_rate": wrong.mean(),
        "error_rate_standard_error": error_of(wrong),
        "calibration_error": calibration_error(p.max(axis=1), ~wrong),
        **{key: value for key, value in areas.items() if value is not None},
    }


def calibration_error(p: np.ndarray, is_right: np.ndarray) -> float:
    """Expected calibration error: mean distance of the probability of the likeliest level and the
    share of rows that have it, in ten bins of equal numbers of rows; not 0 by chance either.
    """
    bins = np.array_split(np.argsort(p, kind="stable"), BINS)
    distances = [len(rows) * abs(p[rows].mean() - is_right[rows].mean()) for rows in bins]
    return float(np.sum(distances) / len(p))


def error_of(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


# The tables of the page


def table(rows: list[Row]) -> str:
    """Losses, means over splits, and seconds; then those of joint fits, on splits of their own."""
    joint_cases = {(row["table"], row["split"]) for row in rows if row["way"] == JOINT}
    some = [row for row in rows if (row["table"], row["split"]) in joint_cases]
    beside_joint = [row for row in some if row["way"] in (TARGET, JOINT)]
    alone = [row for row in rows if row["way"] != JOINT]
    return "\n\n".join([*tables_of_losses(alone), *tables_of_losses(beside_joint)])


def tables_of_losses(rows: list[Row]) -> list[str]:
    numbers = [row for row in rows if TASKS[row["table"]].is_number]
    levels = [row for row in rows if not TASKS[row["table"]].is_number]
    timed = [row for row in rows if row["way"] != "alone"]
    tables = [
        ("root mean square error", numbers, "rmse"),
        ("pinball loss", numbers, "pinball"),
        ("log loss", levels, "log_loss"),
        ("area under the ROC curve", levels, "auc"),
        ("calibration error", levels, "calibration_error"),
        ("seconds of a fit", timed, "fit_seconds"),
        ("seconds of 1,000 predictions", timed, "predict_seconds"),
    ]
    return [
        of_losses(name, of_table, key)
        for name, of_table, key in tables
        if any(key in row for row in of_table)
    ]


def of_losses(name: str, rows: Iterable[Row], key: str) -> str:
    """A line for each table, a column for each way."""
    some = [row for row in rows if key in row]
    ways = [way for way in WAYS if any(row["way"] == way for row in some)]
    lines = []
    for (table_name,), of_table in groups(some, "table").items():
        cells = []
        for way in ways:
            found = [row for row in of_table if row["way"] == way]
            cells.append(mean_of(found, key) if found else "")
        lines.append([table_name.partition("__")[2], *cells])
    head = [f"`{way}`" if way.startswith("--") else way for way in ways]
    return markdown([name, *head], lines)


def mean_of(rows: list[Row], key: str) -> str:
    """Mean over splits with the standard error of its rows, or the median of seconds."""
    values = [row[key] for row in rows]
    if key.endswith("seconds"):
        return f"{np.median(values):.2g}"
    errors = [row.get(f"{key}_standard_error", 0.0) for row in rows]
    error = math.sqrt(np.square(errors).sum()) / len(rows)
    value = float(np.mean(values))
    digits = 3 if value < 10 else 0
    return pm(value, error, digits) if error else f"{value:.{digits}f}"


BENCHMARKS = [
    Benchmark(
        "targets",
        [
            *[
                {"table": name, "split": split, "way": way}
                for split in range(SPLITS)
                for name in TASKS
                for way in WAYS
                if way != JOINT and not (way == CATBOOST and TASKS[name].is_number)
            ],
            *[
                {"table": name, "split": split, "way": JOINT}
                for split in range(JOINT_SPLITS)
                for name in JOINTLY_FITTED
            ],
        ],
        targets,
        table,
    )
]

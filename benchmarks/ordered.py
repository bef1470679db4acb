"""Levels in order beside levels without: held-out nats of surveys, paired, and conformal sets."""

import json
import tempfile
from typing import Any, NamedTuple

import numpy as np

from benchmarks.real import read
from benchmarks.runner import Benchmark, Options, Row, groups, markdown, pm

SPLITS, MOST_ROWS, TEST, COVERAGE = 2, 3_000, 0.2, 0.9
GRADES = ("1", "2", "3", "4", "5")


class Survey(NamedTuple):
    """Levels of columns in order, a column to predict, and columns that are left out."""

    target: str
    ordered: dict[str, tuple[str, ...]]
    without: tuple[str, ...] = ()


SURVEYS = {
    "carData__WVS": Survey("poverty", {"poverty": ("Too Little", "About Right", "Too Much")}),
    "carData__CES11": Survey(
        "importance",
        {
            "importance": ("not", "notvery", "somewhat", "very"),
            "education": ("lessHS", "HS", "college", "somePS", "bachelors", "higher"),
        },
        ("id", "weight", "population"),
    ),
    "AER__SmokeBan": Survey(
        "education", {"education": ("hs drop out", "hs", "some college", "college", "master")}
    ),
    "pscl__politicalInformation": Survey(
        "y", {"y": ("Very Low", "Fairly Low", "Average", "Fairly High", "Very High")}, ("id",)
    ),
    "carData__Chile": Survey("education", {"education": ("P", "S", "PS")}),
    "ISLR__Wage": Survey(
        "education",
        {
            "education": (
                *("1. < HS Grad", "2. HS Grad", "3. Some College"),
                *("4. College Grad", "5. Advanced Degree"),
            )
        },
        ("logwage", "region"),
    ),
    "carData__BEPS": Survey(
        "Blair",
        {
            **dict.fromkeys(("economic.cond.national", "economic.cond.household"), GRADES),
            **dict.fromkeys(("Blair", "Hague", "Kennedy"), GRADES),
            "political.knowledge": ("0", "1", "2", "3"),
        },
    ),
}


def ordered(case: Row, options: Options) -> Row:
    """Return held-out nats a row in order less those without, and coverage and size of sets of the
    target in both ways.
    """
    import nflow_cli

    survey = SURVEYS[case["table"]]
    table = read(options.file(f"{case['table']}.csv"), *survey.without)
    table = table.sample(frac=1, random_state=case["split"]).reset_index(drop=True)[:MOST_ROWS]
    tested = int(TEST * len(table))
    test, train = table[:tested], table[tested:]
    log_q = []
    facts: Row = {"n": tested}
    in_order = {name: list(levels) for name, levels in survey.ordered.items()}
    ways: list[dict[str, Any]] = [{"ordered": in_order}, {"categorical": list(in_order)}]
    for settings in ways:
        with tempfile.TemporaryDirectory() as folder:
            q = nflow_cli.fit(train, missing="model", output=f"{folder}/run", **settings)
            log_q.append(q.log_prob(test))
            others = test.drop(columns=survey.target)
            found = q.predict(others, survey.target, coverage=COVERAGE)
        sets = sets_in(found, survey)
        way = next(iter(settings))
        facts |= {f"{way}_{key}": value for key, value in of_sets(sets, test, survey).items()}
    gains = log_q[0] - log_q[1]
    error = gains.std(ddof=1) / np.sqrt(tested)
    return facts | {"gain": float(gains.mean()), "gain_standard_error": float(error)}


def sets_in(found: Any, survey: Survey) -> list[list[int]]:
    """Places of the levels in the set of each row."""
    levels = survey.ordered[survey.target]
    if f"{survey.target}_set" in found:
        texts = [json.loads(text) for text in found[f"{survey.target}_set"]]
        return [sorted(levels.index(level) for level in members) for members in texts]
    ends = [
        [levels.index(str(level)) for level in found[f"{survey.target}_{end}"]]
        for end in ("low", "high")
    ]
    return [list(range(low, high + 1)) for low, high in zip(*ends)]


def of_sets(sets: list[list[int]], test: Any, survey: Survey) -> Row:
    """Coverage and mean size of sets, and the share that has no level missing between others."""
    levels = survey.ordered[survey.target]
    truth = test[survey.target]
    known = truth.notna().to_numpy()
    texts = [f"{x:g}" if isinstance(x, int | float | np.number) else x for x in truth[known]]
    members = [one for one, is_known in zip(sets, known) if is_known]
    covered = [levels.index(text) in one for text, one in zip(texts, members)]
    contiguous = [one[-1] - one[0] + 1 == len(one) for one in sets]
    return {
        "coverage": float(np.mean(covered)),
        "size": float(np.mean([len(one) for one in members])),
        "contiguous": float(np.mean(contiguous)),
    }


def table(rows: list[Row]) -> str:
    """A line for each survey, means over splits."""
    lines = []
    for (name,), some in groups(rows, "table").items():
        errors = [row["gain_standard_error"] for row in some]
        error = float(np.sqrt(np.square(errors).sum())) / len(some)
        line = [
            name.partition("__")[2],
            pm(float(np.mean([row["gain"] for row in some])), error, 4),
        ]
        for way in ("ordered", "categorical"):
            means = {
                key: np.mean([row[f"{way}_{key}"] for row in some])
                for key in ("coverage", "size", "contiguous")
            }
            line.append(f"{means['coverage']:.3f}, {means['size']:.2f}, {means['contiguous']:.2f}")
        lines.append(line)
    head = ["table", "nats a row, in order less not", "sets in order", "sets without order"]
    return markdown(head, lines)


BENCHMARKS = [
    Benchmark(
        "ordered",
        [{"table": name, "split": split} for split in range(SPLITS) for name in SURVEYS],
        ordered,
        table,
    )
]

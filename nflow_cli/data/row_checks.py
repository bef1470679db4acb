"""The rows that no density can be fitted to, each refused in one line. No Keras here."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nflow_cli.config.column_schema import too_many_levels
from nflow_cli.config.table_schema import TableData
from nflow_cli.constants import FAR
from nflow_cli.data.categories import UNKNOWN
from nflow_cli.data.chosen_rows import Chosen, listed
from nflow_cli.data.dequantisation import MOST_STEPS, are_multiples
from nflow_cli.data.points import LEAST, atoms_of, no_spread
from nflow_cli.data.split import Parts
from nflow_cli.data.units import ColumnUnits
from nflow_cli.errors import ColumnError, DataError

CHUNK = 100_000  # rows at a time, and as many show that columns depend on each other
# Least eigenvalue of the correlations of columns none of which follows from the others.
LEAST_EIGENVALUE = 1e-10
SHARE_OF_SUM = 0.05  # of the squares of a combination, of a column that is part of it


def expect_rows(chosen: Chosen) -> None:
    """Refuse too few rows, and values that are not finite."""
    if len(chosen.values) < LEAST:
        raise DataError(
            f"{chosen.name}: expected at least {LEAST} rows, received {len(chosen.values)}"
        )
    finite = np.isfinite(chosen.values)
    if not finite.all():
        row, column = divmod(int(np.argmin(finite)), len(chosen.roles.columns))
        name = chosen.roles.columns[column]
        raise ColumnError(
            f"{chosen.name}: {chosen.at(row)}: column {name!r}: expected a finite number, "
            f"received {chosen.values[row, column]}",
            name,
        )


def expect_inside(chosen: Chosen, settings: TableData) -> None:
    """Refuse values outside the bounds of their column, or on one."""
    for name in chosen.roles.numbers:
        low, high = settings.interval(name)
        values = chosen.column(name)
        for where, wrong in (
            ("outside", (values < low) | (values > high)),
            ("on", (values == low) | (values == high)),
        ):
            if wrong.any():
                row = int(np.argmax(wrong))
                count = int(wrong.sum())
                raise ColumnError(
                    f"{chosen.name}: {chosen.at(row)}: column {name!r}: expected values between "
                    f"{low:.15g} and {high:.15g}, received {values[row]:.15g} ({count:,} "
                    f"{'row is' if count == 1 else 'rows are'} {where} a bound)",
                    name,
                )


def expect_multiples(chosen: Chosen) -> None:
    """Refuse values of a discrete column that are no multiples of its step."""
    for name, step in chosen.roles.steps.items():
        values = chosen.column(name)
        where = f"column {name!r}: expected"
        if (largest := float(np.abs(values).max())) > MOST_STEPS * step:
            raise ColumnError(
                f"{chosen.name}: {where} a step of {1 / MOST_STEPS:.0e} of the values or more in "
                f"data.discrete, received {step:.15g} beside {largest:.15g}",
                name,
            )
        wrong = ~are_multiples(values, step)
        if wrong.any():
            row, count = int(np.argmax(wrong)), int(wrong.sum())
            raise ColumnError(
                f"{chosen.name}: {chosen.at(row)}: {where} multiples of {step:.15g}, as "
                f"data.discrete says, received {values[row]:.15g} ({count:,} "
                f"{'row is' if count == 1 else 'rows are'} none)",
                name,
            )


def expect_weights(chosen: Chosen) -> None:
    """Refuse weights that are negative or not finite."""
    if chosen.weights is None:
        return
    wrong = ~(np.isfinite(chosen.weights) & (chosen.weights >= 0))
    if wrong.any():
        row, count = int(np.argmax(wrong)), int(wrong.sum())
        raise DataError(
            f"{chosen.name}: {chosen.at(row)}: column {chosen.weighted!r}: expected finite weights "
            f"of 0 or more, received {chosen.weights[row]:.15g} ({count:,} "
            f"{'row has' if count == 1 else 'rows have'} another)"
        )
    if not chosen.weights.any():
        raise DataError(
            f"{chosen.name}: column {chosen.weighted!r}: expected weights, received 0 in all rows"
        )


def expect_weighted_parts(chosen: Chosen, parts: Parts) -> None:
    """Refuse parts of the rows that count for nothing."""
    for part, rows in parts._asdict().items():
        if chosen.weights is not None and len(rows) and not chosen.weights[rows].any():
            raise DataError(
                f"{chosen.name}: column {chosen.weighted!r}: expected weights, received 0 in all "
                f"{len(rows):,} {part} rows"
            )


def expect_judges(part: str, chosen: Chosen) -> None:
    """Refuse a part of the rows of which fewer than two can be judged, and count."""
    are_judged = chosen.roles.are_known(chosen.values)
    if chosen.weights is not None:
        are_judged &= chosen.weights > 0
    if (n := int(are_judged.sum())) < 2:
        conditions = [
            *(["levels that training rows have"] if chosen.roles.levels else []),
            *(["weights above 0"] if chosen.weights is not None else []),
        ]
        raise ColumnError(
            f"{chosen.name}: expected two {part} rows or more with {' and '.join(conditions)}, "
            f"received {n} of {len(chosen.values):,}",
            *_with_most_levels(chosen),
        )


def expect_spread_in_levels(chosen: Chosen, numbers: np.ndarray, values: np.ndarray) -> None:
    """Refuse modelled ``numbers`` ``(n, D)`` that a category of the rows ``(n, C)`` decides."""
    z = _standardised(numbers[:CHUNK])
    for name in chosen.roles.levels:
        level = values[:CHUNK, chosen.roles.columns.index(name)].astype(int)
        counts = np.maximum(np.bincount(level), 1)
        for column, number in zip(z.T, chosen.roles.numbers):
            mean = np.bincount(level, column) / counts
            if (column - mean[level]).var() <= LEAST_EIGENVALUE:
                raise ColumnError(
                    f"{chosen.name}: column {number!r} follows from {name!r}, each of whose levels "
                    "has one value of it; the likelihood of a density rises without bound there; "
                    f"--exclude {number} leaves it out",
                    number,
                )


def expect_levels(chosen: Chosen, train: np.ndarray) -> None:
    """Refuse categories of one level, or of too many, and training rows of unknown levels."""
    for name, levels in chosen.roles.levels.items():
        where = f"{chosen.name}: column {name!r}"
        way_on = _left_out(chosen, name)
        numbers = chosen.column(name)
        unknown = train[numbers[train] == UNKNOWN]
        if len(unknown):
            raise DataError(
                f"{chosen.name}: {chosen.at(int(unknown.min()))}: column {name!r}: expected a "
                "level that data.categorical names; null takes those of the rows"
            )
        if len(levels) < 2:
            among = " among the rows to train on" if (numbers == UNKNOWN).any() else ""
            raise ColumnError(f"{where} has one level{among}, {levels[0]!r}; {way_on}", name)
        present = len(np.unique(numbers))
        if present > len(numbers) / 2:
            raise ColumnError(
                f"{where}: expected levels that repeat, received {present:,} in {len(numbers):,} "
                f"rows; {way_on}",
                name,
            )
    if problem := too_many_levels(chosen.roles.levels):
        raise ColumnError(f"{chosen.name}: expected {problem}", *_with_most_levels(chosen))


def _with_most_levels(chosen: Chosen) -> list[str]:
    """Return the names of the categories, that of most levels last."""
    levels = chosen.roles.levels
    return sorted(levels, key=lambda name: len(levels[name]))


def expect_density(chosen: Chosen, values: np.ndarray, where: str = "") -> None:
    """Refuse columns that are constant, or have a spread that no density has."""
    roles = chosen.roles
    for name in (*roles.numbers, *roles.given_numbers):
        if problem := no_spread(values[:, roles.columns.index(name)]):
            way_on = _left_out(chosen, name)
            message = f"{chosen.name}: column {name!r} {problem}{where}; {way_on}"
            raise ColumnError(message, name)


def _left_out(chosen: Chosen, name: str) -> str:
    """Return how a column is left out."""
    return "--given goes without it" if name in chosen.roles.given else "--exclude leaves it out"


def expect_no_atoms(chosen: Chosen) -> None:
    """Refuse modelled columns whose values repeat, but discrete ones."""
    names = [name for name in chosen.roles.numbers if name not in chosen.roles.steps]
    for atom in atoms_of(chosen.values[:, chosen.roles.places(names)]):
        name = names[atom["column"] - 1]
        text = atom_text(atom)
        raise ColumnError(
            f"{chosen.name}: column {name!r} {text}: the likelihood of a density rises without "
            f"bound there; {_as_discrete(name, chosen.column(name))}--given {name} takes it as "
            f"known, --exclude {name} leaves it out",
            name,
        )


def atom_text(atom: Mapping[str, Any]) -> str:
    """Say what :func:`~nflow_cli.data.points.atoms_of` found of a column."""
    if "value" in atom:
        return f"is {atom['value']:g} in {atom['share']:.1%} of the rows"
    return f"goes in steps of {atom['step']:g}, {atom['repeated']:.0%} of its rows repeat"


def _as_discrete(name: str, values: np.ndarray) -> str:
    """Return which option spreads out the steps of a column, if it has regular ones."""
    step = regular_step(values)
    if step is None:
        return ""
    option = name if step == 1 else f"{name}:{step:.12g}"
    return f"--discrete {option} spreads out its steps, "


def regular_step(values: np.ndarray) -> float | None:
    """Return the step whose multiples repeating values ``(n,)`` are, if there is one.

    That of whole numbers is their greatest common divisor; else it is the least gap, to 12 digits.
    """
    known = np.unique(values)
    if not 2 <= len(known) <= len(values) / 2:
        return None
    largest = np.abs(known).max()
    if largest <= MOST_STEPS and (known == np.rint(known)).all():
        return float(np.gcd.reduce(known.astype(np.int64)))
    step = float(f"{np.diff(known).min():.12g}")
    return step if largest <= MOST_STEPS * step and are_multiples(known, step).all() else None


def expect_within(chosen: Chosen, units: ColumnUnits, given_units: ColumnUnits) -> None:
    """Refuse a row so far from the others that float32 does not hold it."""
    for start in range(0, len(chosen.values), CHUNK):
        numbers, given = chosen.numbers(chosen.values[start : start + CHUNK])
        inside = np.concatenate([units.inside(numbers), given_units.inside(given)], axis=1)
        away = np.abs(inside).max(axis=1)
        row = int(np.argmax(away))
        if not away[row] < FAR:
            received = [*numbers[row].tolist(), *given[row].tolist()]
            names = [*chosen.roles.numbers, *chosen.roles.given_numbers]
            raise ColumnError(
                f"{chosen.name}: {chosen.at(start + row)}: expected values within {FAR:.0e} robust "
                f"standard deviations of the training rows; received {received}",
                names[int(np.argmax(np.abs(inside[row])))],
            )


def expect_independent(chosen: Chosen, numbers: np.ndarray, given: np.ndarray) -> None:
    """Refuse modelled columns ``(n, D)`` one of which follows from the others, or what is given.

    A total beside its parts does. Of the given numbers ``(n, G)`` any may follow from the others:
    they are taken out of the modelled ones by least squares.
    """
    rows, width = len(numbers), numbers.shape[1] + given.shape[1]
    if rows <= width:
        raise DataError(
            f"{chosen.name}: expected more rows to train on than columns, received {rows:,} "
            f"rows of {width:,}"
        )
    z = _standardised(numbers)
    if given.shape[1]:
        z = _residuals(chosen, z, _standardised(given))
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    if values[0] > LEAST_EIGENVALUE:
        return
    parts = vectors[:, 0] ** 2 > SHARE_OF_SUM * np.max(vectors[:, 0] ** 2)
    names = _where(chosen.roles.numbers, parts)
    what = " and from what is given" if given.shape[1] else ""
    raise ColumnError(
        f"{chosen.name}: each of these columns follows from the others{what}: {listed(names)}; "
        "the likelihood of a density rises without bound there; --exclude leaves one out",
        *names,
    )


def _standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / x.std(axis=0)


def _residuals(chosen: Chosen, z: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return what of standardised columns is not linear in the given ones, standardised."""
    basis = np.linalg.qr(given)[0]
    rest = z - basis @ (basis.T @ z)
    spread = rest.std(axis=0)
    worst = int(np.argmin(spread))
    if spread[worst] ** 2 > LEAST_EIGENVALUE:
        return rest / spread
    slopes = np.linalg.lstsq(given, z[:, worst])[0] ** 2
    names = _where(chosen.roles.given_numbers, slopes > SHARE_OF_SUM * slopes.max())
    raise ColumnError(
        f"{chosen.name}: column {chosen.roles.numbers[worst]!r} follows from what is given: "
        f"{listed(names)}; the likelihood of a density rises without bound there; --exclude "
        "leaves it out",
        chosen.roles.numbers[worst],
    )


def _where(names: Sequence[str], chosen: np.ndarray) -> list[str]:
    return [name for name, is_chosen in zip(names, chosen) if is_chosen]

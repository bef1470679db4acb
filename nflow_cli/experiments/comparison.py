"""Comparison of recomputed scores and arrays with the files of a run, by tolerances."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from nflow_cli.constants import RUN
from nflow_cli.runs.directory import ESTIMATES, EVALUATION, SUMMARY


class Outcome(StrEnum):
    """Outcome of a check; only ``FAIL`` makes ``nflow check`` fail."""

    OK = "OK"
    FAIL = "FAIL"
    UNCHANGED = "unchanged"  # not recomputed: same bytes as at the end of the run
    UNKNOWN = "unknown"  # data not kept, or hidden by rounding


Verdict = tuple[Outcome, str]
Numbers = float | np.ndarray
Scale = Callable[[Any, Mapping[str, Any], Sequence[Any]], Numbers | None]


def passed(condition: bool | np.bool) -> Outcome:
    """``OK`` or ``FAIL``."""
    return Outcome.OK if condition else Outcome.FAIL


class Tolerance(NamedTuple):
    """Allowed difference of a number x: ``max(absolute, relative |x|) + scaled * scale``.

    ``scale`` is a function of x or its array, all values by key, and the keys down to x. A share
    ``few`` of an array may differ by more, where flows amplify rounding.
    """

    absolute: float = 0.0
    relative: float = 0.0
    scaled: float = 0.0
    scale: Scale = lambda *_: None
    few: float = 0.0

    def allows(
        self, x: Numbers, received: Numbers, values: Mapping[str, Any], keys: Sequence[Any]
    ) -> np.ndarray:
        """Whether numbers, or arrays of them, differ by no more."""
        scale = self.scale(x, values, keys)
        with np.errstate(invalid="ignore"):  # of infinities
            off = np.where(x == received, 0.0, np.abs(x - received))
            allowed = np.maximum(self.absolute, self.relative * np.abs(x))
        if scale is not None:
            allowed = allowed + self.scaled * scale
        is_near = off <= allowed
        return is_near | (np.isnan(x) & np.isnan(received))


def std(array: np.ndarray, *_: Any) -> np.ndarray:
    """Standard deviation of an array, by column; 0 where nothing is known."""
    columns = -2 if array.ndim > 1 and array.shape[-1] == 2 else None
    return np.ma.masked_invalid(array).std(axis=columns, keepdims=True).filled(0.0)


def error_of(key: str) -> Scale:
    """Scale that is the value of a key, if there is one."""
    return lambda _, values, keys: values.get(key)


EXACT = Tolerance()
NATS = Tolerance(1e-4, 1e-4, few=1e-3)  # of an array of log-densities
SPREAD = Tolerance(scaled=1e-3, scale=std, few=1e-3)
AXIS = Tolerance(scaled=1e-4, scale=std)
MEAN = Tolerance(2e-6, 2e-6)  # below the last printed digit, above float32 rounding of a mean
SUM = Tolerance(1e-6, 1e-6)  # of many rows in float64
# A mass is a sum over cells, divided by differences that rounding may move.
MASS = Tolerance(3e-6, 3e-6, 0.05, error_of("mass_error"))
MOMENT = Tolerance(1e-12, 1e-3, 1e-3, lambda _, values, keys: values["moments"][keys[1]][1])
OTHERS = "*"  # keys of a file that are not in its table
TOLERANCES: Mapping[str, Mapping[str, Tolerance]] = {
    RUN: {
        OTHERS: EXACT,
        "units": Tolerance(relative=1e-6),
        "straight_units": Tolerance(relative=1e-6),
    },
    SUMMARY: {
        OTHERS: MEAN,
        "restarts": EXACT,
        **dict.fromkeys(("mass", "mass_error"), MASS),
        **dict.fromkeys(("moments", "missed_mode"), MOMENT),
        "moments_standard_error": Tolerance(1e-12, 1e-3),
        **dict.fromkeys(("column_gains", "pit", "memorisation", "shares"), SUM),
        "baseline_log_likelihood": SUM,
        "baseline_log_likelihood_standard_error": SUM,
    },
    EVALUATION: {
        OTHERS: SPREAD,
        **dict.fromkeys(("log_q", "log_base", "log_target", "log_deformation", "test_log_q"), NATS),
        **dict.fromkeys(("axis_1", "axis_2", "manifold_axis"), AXIS),
        **dict.fromkeys(("deformation_axis_1", "deformation_axis_2"), AXIS),
        **dict.fromkeys(("columns_shown", "deformation_k", "latent_axes", "originals"), EXACT),
    },
    ESTIMATES: {
        OTHERS: SPREAD,
        **dict.fromkeys(("reconstruction", "kl", "log_evidence"), NATS),
    },
}


def differences(
    file: str,
    expected: Mapping[str, Any],
    received: Mapping[str, Any],
    tolerances: Mapping[str, Tolerance] = {},
) -> list[str]:
    """A line for each ``expected`` key whose value differs, with the first differing number.

    ``received`` are values of ``file``; ``tolerances`` replace some of its :data:`TOLERANCES`.
    """
    table = {**TOLERANCES[file], **tolerances}
    lines = []
    for key, value in expected.items():
        tolerance = table.get(key, table[OTHERS])
        unlike = _unlike(value, received.get(key), tolerance, expected, (key,))
        lines += [f"{file}: {difference}" for difference in itertools.islice(unlike, 1)]
    return lines


def _unlike(
    expected: Any,
    received: Any,
    tolerance: Tolerance,
    values: Mapping[str, Any],
    keys: tuple[Any, ...],
) -> Iterator[str]:
    parts = _parts(expected)
    received_parts = _parts(received)
    if parts is not None and received_parts is not None and parts.keys() == received_parts.keys():
        for key, part in parts.items():
            yield from _unlike(part, received_parts[key], tolerance, values, (*keys, key))
        return
    name = ": ".join(map(str, keys))
    if isinstance(expected, np.ndarray) and isinstance(received, np.ndarray):
        yield from (f"{name}: {text}" for text in _unlike_arrays(expected, received, tolerance))
        return
    if isinstance(expected, float) and type(received) in (int, float):
        is_near = tolerance.allows(expected, received, values, keys)
    else:
        is_near = expected == received and isinstance(expected, bool) == isinstance(received, bool)
    if not is_near:
        yield f"{name}: expected {expected!r:.80}, received {received!r:.80}"


def _parts(value: Any) -> dict[Any, Any] | None:
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    return dict(value) if isinstance(value, Mapping) else None


def _unlike_arrays(
    expected: np.ndarray, received: np.ndarray, tolerance: Tolerance
) -> Iterator[str]:
    if expected.shape != received.shape:
        yield f"expected shape {expected.shape}, received {received.shape}"
        return
    wrong = ~tolerance.allows(expected.astype(np.float64), received.astype(np.float64), {}, ())
    if wrong.sum() > tolerance.few * wrong.size:
        yield f"{wrong.mean():.0%} of its numbers are others"


def agreement(wrong: Sequence[str], text: str) -> Verdict:
    """Verdict: the differences, or if there are none a text."""
    return passed(not wrong), "; ".join(wrong) or text

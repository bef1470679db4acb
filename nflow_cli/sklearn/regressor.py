"""A number given the columns of a table, as a regressor of scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from nflow_cli.experiments.table.loading import TrainedCells
from nflow_cli.experiments.table.predict import Predicted, asked, predicted
from nflow_cli.sklearn.table_estimator import FitValueError, TableEstimator

TARGET = "y"


class TableRegressor(RegressorMixin, TableEstimator):
    """Density of a number given the columns of a table: its mean, quantiles and intervals.

    ``score`` is R². A pickle holds the run.

    Args:
        bounds: Bounds ``(low, high)`` of columns by name, None for no bound.
        categorical: Names of columns that are categories.
        discrete: Names of columns that are multiples of 1, or their steps by name.
        missing: ``"drop"`` or ``"refuse"`` rows with gaps; default: gaps are modelled.
        steps: Number of updates; default: by the number of rows, as are the next two.
        learning_rate: Peak learning rate of Adam.
        ensemble: Number of networks, whose mixture is the density.
        preset: Name or path of a preset for all other settings.
        settings: Other keys of a preset, dotted, and their values.
        random_state: Seed; None is the preset's, so that a fit is repeated bit for bit.
        verbose: Print notes and progress on stderr.

    Attributes:
        density_: Trained density ``q(y | X)``, as :func:`nflow_cli.load` returns it.
        target_: Name of its column of y.
    """

    def fit(self, X: Any, y: Any) -> "TableRegressor":
        """Fit ``q(y | X)``; a tenth of the rows chooses the number of updates, and another tenth
        calibrates intervals.

        Args:
            X: A DataFrame with columns of any kind, or an array ``(n, D)`` of numbers.
            y: Numbers ``(n,)``.
        """
        if y is None:
            name = type(self).__name__
            raise ValueError(f"This {name} requires y to be passed, but the target y is None")
        columns = self._columns(X, reset=True)
        y = column_or_1d(
            check_array(y, ensure_2d=False, dtype="numeric", input_name="y"), warn=True
        )
        check_consistent_length(next(iter(columns.values())), y)
        target = TARGET
        while target in columns:
            target += "_"
        self.target_ = target
        self._train({**columns, target: y}, columns=[target], given=list(columns))
        if not isinstance(self.density_, TrainedCells):
            raise FitValueError("expected a preset of cells, received one of flows")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Conditional means ``(n,)``."""
        found = self._predicted(X)
        if found.column.has_numbers:
            return found.found.mean
        values, shares = _levels(found)
        return shares @ values

    def predict_quantiles(
        self,
        X: Any,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    ) -> np.ndarray:
        """Conditional quantiles ``(n, k)`` at k probabilities between 0 and 1."""
        found = self._predicted(X, quantiles=quantiles)
        places = np.searchsorted(found.asked.p, quantiles)  # found are in order
        if found.column.has_numbers:
            return found.found.quantiles[:, places]
        values, shares = _levels(found)
        below = np.cumsum(shares, axis=1)[:, :-1, None] < found.asked.p[places] - 1e-12
        return values[below.sum(axis=1)]

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Intervals ``(n, 2)`` that contain a share ``coverage`` of fresh values.

        By split conformal prediction on the tenth of the rows that training has not used; infinite
        where these are fewer than c/(1 - c): for 0.9 below about 90 rows in all.
        """
        found = self._predicted(X, coverage=coverage)
        if found.column.has_numbers:
            return found.ends
        values = _levels(found)[0]
        ends = [np.where(found.members, values, end) for end in (np.inf, -np.inf)]
        return np.stack([ends[0].min(axis=1), ends[1].max(axis=1)], axis=1)

    def _predicted(self, X: Any, **question: Any) -> Any:
        density, columns = self.density_, self._columns(X)
        with self._as_configured():
            wanted = asked(density, [self.target_], **question)
            return predicted(density, columns, wanted)


def _levels(found: Predicted) -> tuple[np.ndarray, np.ndarray]:
    """Values ``(L,)``, in order, of a y of few numbers, and their probabilities ``(n, L)``."""
    shares = found.found.levels
    values = np.array([float(level) for level in found.column.first])
    return values, shares / shares.sum(axis=1, keepdims=True)

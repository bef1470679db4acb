"""Density of a number given the columns of a table, as an estimator of scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from nflow_cli.experiments.table.loading import TrainedCells
from nflow_cli.experiments.table.predict import Predicted, predicted, question_of
from nflow_cli.sklearn.base import FitValueError, TableEstimator

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
        prediction = self._predicted(X)
        if prediction.column.has_numbers:
            return prediction.posterior.mean
        values, shares = _levels(prediction)
        return shares @ values

    def predict_quantiles(
        self,
        X: Any,
        quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    ) -> np.ndarray:
        """Conditional quantiles ``(n, k)`` at k probabilities between 0 and 1."""
        prediction = self._predicted(X, quantiles=quantiles)
        places = np.searchsorted(prediction.question.p, quantiles)  # those predicted are in order
        if prediction.column.has_numbers:
            return prediction.posterior.quantiles[:, places]
        values, shares = _levels(prediction)
        below = np.cumsum(shares, axis=1)[:, :-1, None] < prediction.question.p[places] - 1e-12
        return values[below.sum(axis=1)]

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Intervals ``(n, 2)`` that contain a share ``coverage`` of fresh values.

        By split conformal prediction on the tenth of the rows that training has not used; infinite
        where these are fewer than c/(1 - c): for 0.9 below about 90 rows in all. Intervals may be
        too narrow in rows with a gap in a column that had none in the fit.
        """
        prediction = self._predicted(X, coverage=coverage)
        if prediction.column.has_numbers:
            return prediction.set_ends
        values, _ = _levels(prediction)
        low = np.where(prediction.are_in_sets, values, np.inf).min(axis=1)
        high = np.where(prediction.are_in_sets, values, -np.inf).max(axis=1)
        return np.stack([low, high], axis=1)

    def _predicted(self, X: Any, **question: Any) -> Any:
        """Prediction of y at rows; ``question``: arguments of :func:`question_of`."""
        density = self.density_
        columns = self._columns(X)
        with self._as_configured():
            wanted = question_of(density, [self.target_], **question)
            return predicted(density, columns, wanted)


def _levels(prediction: Predicted) -> tuple[np.ndarray, np.ndarray]:
    """Values ``(L,)``, in order, of a y of few numbers, and their probabilities ``(n, L)``."""
    shares = prediction.posterior.levels
    values = np.array([float(level) for level in prediction.column.coded_values])
    return values, shares / shares.sum(axis=1, keepdims=True)

"""Density of a number given the columns of a table, as an estimator of scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from nflow_cli.sklearn.base import FitValueError
from nflow_cli.sklearn.conditional_estimator import ConditionalEstimator, levels_and_shares


class TableRegressor(RegressorMixin, ConditionalEstimator):
    """Density of a number given the columns of a table: its mean, quantiles and intervals.

    ``score`` is R². A pickle holds the run.

    Args:
        bounds: Bounds ``(low, high)`` of columns by name, None for no bound.
        categorical: Names of columns that are categories.
        discrete: Names of columns that are multiples of 1, or their steps by name.
        ordered: Levels of columns in order, lowest first; ordered categories of a DataFrame have
            theirs.
        group: Name of a column whose equal rows are held out together, such as those of a person,
            and for fresh ones of which intervals are calibrated; it is no input.
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "TableRegressor":
        """Fit ``q(y | X)``; a tenth of the rows chooses the number of updates, and another tenth
        calibrates intervals.

        Args:
            X: A DataFrame with columns of any kind, or an array ``(n, D)`` of numbers.
            y: Numbers ``(n,)``.
            sample_weight: Weights ``(n,)`` of the rows; those of weight 0 are left out.
        """
        if any(isinstance(value, str) for value in np.ravel(np.asarray(y, object))):
            raise FitValueError("y: expected numbers, received text: TableClassifier has classes")
        columns, y, weights = self._read(X, y, sample_weight, dtype="numeric")
        self._fit_target(columns, y, weights)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Conditional means ``(n,)``."""
        prediction = self._predicted(X)
        if prediction.column.has_numbers:
            return prediction.posterior.mean
        values, shares = levels_and_shares(prediction)
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
        values, shares = levels_and_shares(prediction)
        below = np.cumsum(shares, axis=1)[:, :-1, None] < prediction.question.p[places] - 1e-12
        return values[below.sum(axis=1)]

    def predict_interval(self, X: Any, coverage: float = 0.9, by: str | None = None) -> np.ndarray:
        """Intervals ``(n, 2)`` that contain a share ``coverage`` of fresh values, and of those of
        each level of the column ``by``.

        By split conformal prediction on the tenth of the rows that training has not used; infinite
        where these, or their groups, are fewer than c/(1 - c): for 0.9 below about 90 rows, or
        groups, in all. Intervals may be
        too narrow in rows with a gap in a column that had none in the fit.
        """
        prediction = self._predicted(X, coverage=coverage, by=by)
        if prediction.column.has_numbers:
            return prediction.set_ends
        values, _ = levels_and_shares(prediction)
        low = np.where(prediction.are_in_sets, values, np.inf).min(axis=1)
        high = np.where(prediction.are_in_sets, values, -np.inf).max(axis=1)
        return np.stack([low, high], axis=1)

"""Density of a target given the columns of a table: the fit, and the prediction it gives."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from nflow_cli.sklearn.base import TableEstimator, new_name, rows_with_weight
from nflow_cli.tables.answers.predict import Predicted, predicted, question_of

TARGET = "y"


class ConditionalEstimator(TableEstimator):
    """Estimator of a target ``y`` given the columns of a table.

    Attributes:
        target_: Name of the column of y.
    """

    def _read(
        self, X: Any, y: Any, sample_weight: Any, dtype: Any
    ) -> tuple[dict[str, Any], np.ndarray, np.ndarray | None]:
        """Columns of X by name, y of a ``dtype`` ``(n,)``, and weights ``(n,)`` unless all are
        equal, of the rows that have a weight.
        """
        if y is None:
            name = type(self).__name__
            raise ValueError(f"This {name} requires y to be passed, but the target y is None")
        columns = self._columns(X, reset=True)
        y = column_or_1d(check_array(y, ensure_2d=False, dtype=dtype, input_name="y"), warn=True)
        check_consistent_length(next(iter(columns.values())), y)
        rows, weights = rows_with_weight(sample_weight, len(y))
        columns = {name: values.take(rows) for name, values in columns.items()}
        return columns, y[rows], weights

    def _fit_target(
        self,
        columns: Mapping[str, Any],
        y: np.ndarray,
        weights: np.ndarray | None,
        categorical: bool = False,
    ) -> None:
        """Fit ``q(y | columns)`` to rows with ``weights``; ``categorical``: y are levels."""
        self.target_ = new_name(TARGET, columns)
        roles = {
            "columns": [self.target_],
            "given": [name for name in columns if name != self.group],
        }
        if categorical:
            roles["categorical"] = [*(self.categorical or ()), self.target_]
        self._train({**columns, self.target_: y}, weights, **roles)
        self._expect_cells()

    def _predicted(self, X: Any, **question: Any) -> Predicted:
        """Prediction of y at rows; ``question``: arguments of :func:`question_of`."""
        density = self.density_
        columns = self._columns(X)
        with self._as_configured():
            wanted = question_of(density, [self.target_], **question)
            return cast(Predicted, predicted(density, columns, wanted))


def levels_and_shares(prediction: Predicted) -> tuple[np.ndarray, np.ndarray]:
    """Levels ``(L,)`` of y as numbers, in order, and their probabilities ``(n, L)`` in each row,
    given that y is one of them.
    """
    shares = prediction.posterior.levels
    values = np.array([float(level) for level in prediction.column.levels])
    return values, shares / shares.sum(axis=1, keepdims=True)

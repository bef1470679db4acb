"""Probabilities of classes given the columns of a table, as an estimator of scikit-learn."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from nflow_cli.sklearn.base import FitValueError
from nflow_cli.sklearn.conditional_estimator import ConditionalEstimator, levels_and_shares

LEAST_P = np.finfo(float).tiny  # probability, whose logarithm is finite


class TableClassifier(ClassifierMixin, ConditionalEstimator):
    """Classification by a density: probabilities of the classes given the columns of a table.

    Arguments are those of :class:`~nflow_cli.sklearn.TableRegressor`; ``score`` is the accuracy.

    Attributes:
        classes_: Classes ``(K,)`` in order.
        density_: Trained density ``q(y | X)``, as :func:`nflow_cli.load` returns it.
        target_: Name of its column of y, the places of classes in ``classes_``.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "TableClassifier":
        """Fit ``P(y | X)``; a tenth of the rows chooses the number of updates, another scores it.

        Args:
            X: A DataFrame with columns of any kind, or an array ``(n, D)`` of numbers.
            y: Classes ``(n,)``: texts, whole numbers or truth values.
            sample_weight: Weights ``(n,)`` of the rows; those of weight 0 are left out.
        """
        columns, y, weights = self._read(X, y, sample_weight, dtype=None)
        check_classification_targets(y)
        self.classes_, places = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise FitValueError(f"expected two or more classes, received one class: {str(y[0])!r}")
        self._fit_target(columns, places.astype(str), weights, categorical=True)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities ``(n, K)`` of the classes, given that y is one of them: those of the
        networks, averaged.
        """
        levels, shares = levels_and_shares(self._predicted(X))
        p = np.zeros((len(shares), len(self.classes_)))
        p[:, levels.astype(int)] = shares
        return p

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Log-probabilities ``(n, K)`` of the classes, in nats; finite."""
        return np.log(np.maximum(self.predict_proba(X), LEAST_P))

    def predict(self, X: Any) -> np.ndarray:
        """Likeliest class ``(n,)``."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

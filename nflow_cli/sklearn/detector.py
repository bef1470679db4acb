"""Outlier detection by the density of a table, as an estimator of scikit-learn."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import OutlierMixin

from nflow_cli.sklearn.base import FitValueError, TableEstimator, modelled_names
from nflow_cli.tables.row_oddness import row_oddness

HELD_OUT_OUTLIERS = 0.01  # share of held-out rows that are outliers without a contamination


def _share_of_outliers(contamination: Any) -> float | None:
    """Share of outliers among the rows of a fit, ``None`` of "auto" (``FitValueError``)."""
    if isinstance(contamination, str) and contamination == "auto":
        return None
    if isinstance(contamination, numbers.Real) and 0 < float(contamination) <= 0.5:
        return float(contamination)
    raise FitValueError(
        f'contamination: expected "auto" or a share in (0, 0.5], received {contamination!r}'
    )


class TableOutlierDetector(OutlierMixin, TableEstimator):
    """Outlier detection by a density of the rows of a table: a row is odd if it is improbable as
    written, or in normal scores.

    Arguments are those of :class:`~nflow_cli.sklearn.TableRegressor`, and:

    Args:
        robust: Fit without the oddest rows, a tenth at most: for an X that may hold outliers.
        contamination: ``"auto"``: rows that are odder than 99 of 100 held-out rows of the fit are
            outliers, of fewer than 200 than all but the oddest. Or a share in (0, 0.5] of the rows
            of the fit.

    Attributes:
        density_: Trained density of rows, as :func:`nflow_cli.load` returns it.
        offset_: Of :meth:`decision_function`: the score of the least odd outlier.
    """

    def __init__(
        self,
        *,
        contamination: str | float = "auto",
        robust: bool = False,
        bounds: Mapping[str, Any] | None = None,
        categorical: Sequence[str] | None = None,
        discrete: Sequence[str] | Mapping[str, float] | None = None,
        ordered: Mapping[str, Sequence[str]] | None = None,
        group: str | None = None,
        missing: str | None = None,
        steps: int | None = None,
        learning_rate: float | None = None,
        ensemble: int | None = None,
        preset: str | None = None,
        settings: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ):
        super().__init__(
            bounds=bounds,
            categorical=categorical,
            discrete=discrete,
            ordered=ordered,
            group=group,
            missing=missing,
            steps=steps,
            learning_rate=learning_rate,
            ensemble=ensemble,
            preset=preset,
            settings=settings,
            random_state=random_state,
            verbose=verbose,
        )
        self.contamination = contamination
        self.robust = robust

    def fit(self, X: Any, y: Any = None) -> "TableOutlierDetector":
        """Fit the density of rows, and the threshold of outliers.

        Args:
            X: As of :class:`TableDensity`.
            y: Ignored.
        """
        share = _share_of_outliers(self.contamination)
        columns = self._columns(X, reset=True)
        self._train(columns, columns=modelled_names(X, columns, [self.group]), robust=self.robust)
        if share is None:
            scores = np.sort(self._scores(self.density_.held_out))
            n_outliers = max(int(HELD_OUT_OUTLIERS * (len(scores) + 1)), 1)
        else:
            scores = np.sort(self.score_samples(X))
            n_outliers = round(share * len(scores))
        self.offset_ = float(scores[n_outliers])
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the oddness ``(n,)`` of rows: the lower, the odder.

        In spreads of held-out rows, the distance from the median to the 0.9 quantile of their
        oddness; the log-density is ``density_.log_prob(X)``.
        """
        density = self.density_
        columns = self._columns(X)
        with self._as_configured():
            return self._scores(density.rows(columns))

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        """Minus the oddness ``(n,)`` of rows ``(n, C)``."""
        density = self.density_
        found = row_oddness(
            density.density, rows, density.held_out, is_robust=density.config.data.robust
        )
        return -found.values

    def decision_function(self, X: Any) -> np.ndarray:
        """Scores ``(n,)`` less ``offset_``: below 0 of an outlier."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """-1 of outliers and 1 of other rows ``(n,)``."""
        return np.where(self.decision_function(X) < 0, -1, 1)

"""Density of the rows of a table, as an estimator of scikit-learn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import DensityMixin

from nflow_cli.data.table_files import is_table
from nflow_cli.data.writing import frame_in, library_of
from nflow_cli.densities.cells.distribution import LEAST_MASS
from nflow_cli.sklearn.base import TableEstimator, modelled_names, seed_of


class TableDensity(DensityMixin, TableEstimator):
    """Density ``q`` of the rows of a table; low where a row is unlike those of the fit.

    Arguments are those of :class:`~nflow_cli.sklearn.TableRegressor`, and ``target``: columns to
    predict, for ``q(these | all other columns)``; or ``given``: columns to condition on, for
    ``q(other columns | these)``.
    """

    def __init__(
        self,
        *,
        target: Sequence[str] | None = None,
        given: Sequence[str] | None = None,
        bounds: Mapping[str, Any] | None = None,
        categorical: Sequence[str] | None = None,
        discrete: Sequence[str] | Mapping[str, float] | None = None,
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
            missing=missing,
            steps=steps,
            learning_rate=learning_rate,
            ensemble=ensemble,
            preset=preset,
            settings=settings,
            random_state=random_state,
            verbose=verbose,
        )
        self.target = target
        self.given = given

    def fit(self, X: Any, y: Any = None) -> "TableDensity":
        """Fit ``q``; a tenth of the rows chooses the number of updates, another tenth scores it.

        Args:
            X: A DataFrame with columns of any kind, of which constants, row numbers and unique text
                are left out; or an array ``(n, D)`` of numbers, all but constants used.
            y: Ignored.
        """
        columns = self._columns(X, reset=True)
        self.frame_ = library_of(X) if is_table(X) else None
        if self.frame_ is None:
            self._first = {name: values[0] for name, values in columns.items()}
        modelled = None
        if self.target is None:
            modelled = modelled_names(X, columns, list(self.given or ()))
        self._train(columns, target=self.target, given=self.given, columns=modelled)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """``log q`` ``(n,)`` of rows, in nats."""
        density = self.density_
        columns = self._columns(X)
        with self._as_configured():
            return density.log_prob(columns)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean ``log q`` of rows, in nats a row, as ``GaussianMixture.score``.

        A row of probability 0, such as one with a value on no grid, counts as 1e-12 of the least
        likely other row: among folds there may be one, and scores stay comparable.
        """
        log_q = self.score_samples(X)
        is_possible = log_q > -np.inf
        least = -np.inf
        if is_possible.any():
            least = log_q.min(where=is_possible, initial=np.inf) + np.log(LEAST_MASS)
        return float(np.where(is_possible, log_q, least).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None, given: Any = None) -> Any:
        """Draw rows: a DataFrame of the library of the fit, or an array ``(n, D)``.

        Args:
            n_samples: Number of rows, at each condition.
            random_state: Seed; None draws one from NumPy's global state.
            given: Values of the given columns: a mapping, or a table.
        """
        density = self.density_
        seed = seed_of(np.random if random_state is None else random_state)
        with self._as_configured():
            drawn = density.sample_table(n_samples, seed, given)
        names = [name for name in self._names() if name in drawn.column_names]
        if self.frame_ is not None:
            return frame_in(self.frame_, drawn.select(names))
        columns = {name: np.full(len(drawn), value) for name, value in self._first.items()}
        for name in names:
            columns[name] = drawn[name].to_numpy()
        return np.column_stack(list(columns.values()))

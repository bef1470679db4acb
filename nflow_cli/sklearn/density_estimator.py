"""Density of the rows of a table, as an estimator of scikit-learn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import DensityMixin, TransformerMixin

from nflow_cli.data.files.table_files import is_table
from nflow_cli.data.files.writing import frame_in, with_truth_values
from nflow_cli.sklearn.base import TableEstimator, modelled_names, seed_of
from nflow_cli.tables.cells.cell_distribution import LEAST_MASS


class TableDensity(TransformerMixin, DensityMixin, TableEstimator):
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
        self.frame_ = X[:0] if is_table(X) else None
        if self.frame_ is None:
            self._first = {name: values[0] for name, values in columns.items()}
        modelled = None
        if self.target is None:
            without = [*(self.given or ()), self.group]
            modelled = modelled_names(X, columns, without)
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
        return self._as_fitted(drawn)

    def transform(self, X: Any) -> np.ndarray:
        """Latents ``(n, D)`` of rows: normal scores of each cell given those before it.

            z_j = Φ⁻¹(P(X_j < x_j | before) + P(X_j = x_j | before)/2)

        Those of rows of ``q`` are independent and, of continuous columns, N(0, 1) (Rosenblatt
        1952); a value that repeats is at the middle of its interval. A gap has a score too, above
        all values, and is NaN where the column of the fit had none.
        """
        self._expect_cells()
        columns = self._columns(X)
        with self._as_configured():
            return self.density_.latent(columns)

    def inverse_transform(self, X: Any, given: Any = None) -> Any:
        """Rows with these latents ``(n, D)``, as :meth:`sample` returns rows; of standard normals
        they are draws.

        Numbers are exact to their decimals, those of full precision to their resolution. A new
        level comes back as a gap.

        Args:
            X: Latents, as of :meth:`transform`.
            given: Given columns of the rows: a mapping, or a table.
        """
        self._expect_cells()
        density = self.density_
        with self._as_configured():
            rows = density.from_latent(X, given)
            return self._as_fitted(density.table_of_rows(rows))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names ``(D,)`` of the latents: modelled columns, computed ones last."""
        self._expect_cells()
        return np.array(self.density_.density.cell_names, object)

    def _as_fitted(self, table: Any) -> Any:
        """Rows of an Arrow table as those of the fit: a DataFrame, or an array ``(n, D)``."""
        names = [name for name in self._names() if name in table.column_names]
        if self.frame_ is not None:
            kinds = self.density_.kinds
            truths = [name for name in names if kinds[name].type == "truth"]
            return frame_in(self.frame_, with_truth_values(table.select(names), truths))
        columns = {name: np.full(len(table), value) for name, value in self._first.items()}
        for name in names:
            columns[name] = table[name].to_numpy()
        return np.column_stack(list(columns.values()))

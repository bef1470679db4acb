"""Imputation of gaps by the density of a table, as an estimator of scikit-learn."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin

from nflow_cli.data.files.array_tables import columns_table
from nflow_cli.data.files.table_files import is_table
from nflow_cli.data.files.writing import arrow_table, frame_like
from nflow_cli.sklearn.base import FitValueError, TableEstimator, modelled_names
from nflow_cli.tables.answers.impute import ImputedTable, Statistic

Strategy = Literal[Statistic, "draw"]
INDICATOR = "missingindicator_"  # prefix of a column's indicator of gaps, as in scikit-learn


class TableImputer(OneToOneFeatureMixin, TransformerMixin, TableEstimator):
    """Imputation of the gaps of a table by the density of its rows, given the known cells of each.

    Arguments are those of :class:`~nflow_cli.sklearn.TableRegressor` but ``missing``, and:

    Args:
        strategy: ``"mean"`` or ``"median"`` of numbers, as values of their columns, and likeliest
            levels; or ``"draw"``: one draw of each row.
        add_indicator: Add a column ``missingindicator_NAME``, 1 or true at gaps, for each column
            with gaps in the fit.
        keep_empty_features: Keep columns without any value in the fit, as they are.

    Attributes:
        density_: Trained density of rows, as :func:`nflow_cli.load` returns it.
    """

    def __init__(
        self,
        *,
        strategy: Strategy = "mean",
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        bounds: Mapping[str, Any] | None = None,
        categorical: Sequence[str] | None = None,
        discrete: Sequence[str] | Mapping[str, float] | None = None,
        ordered: Mapping[str, Sequence[str]] | None = None,
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
            steps=steps,
            learning_rate=learning_rate,
            ensemble=ensemble,
            preset=preset,
            settings=settings,
            random_state=random_state,
            verbose=verbose,
        )
        self.strategy = strategy
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def fit(self, X: Any, y: Any = None) -> "TableImputer":
        """Fit the density of rows.

        Args:
            X: A DataFrame with columns of any kind, or an array ``(n, D)`` of numbers.
            y: Ignored.
        """
        if self.strategy not in get_args(Strategy):
            raise FitValueError(
                f'strategy: expected "mean", "median" or "draw", received {self.strategy!r}'
            )
        columns = self._columns(X, reset=True)
        gaps = _gaps(columns)
        self._are_empty = np.logical_and.reduce(gaps, axis=1)
        self._have_gaps = np.logical_or.reduce(gaps, axis=1) & ~self._are_empty
        if self._are_empty.all():
            raise FitValueError("expected columns with values, received gaps alone")
        known = dict(itertools.compress(columns.items(), np.logical_not(self._are_empty)))
        self._train(known, columns=modelled_names(X, known, [self.group]))
        self._expect_cells()
        return self

    def transform(self, X: Any) -> Any:
        """Rows with their gaps imputed: a DataFrame of the library of X, or an array.

        Cells are assumed to be missing at random given the known cells of their row. Equal calls
        give equal draws. Gaps remain in columns that the fit leaves out.
        """
        if self.strategy == "draw":
            return self._imputed(X, draws=1)[0]
        return self._imputed(X, statistic=cast(Statistic, self.strategy))[0]

    def sample_imputations(self, X: Any, n: int) -> list[Any]:
        """``n`` draws of the gaps, for multiple imputation, each as :meth:`transform` returns X."""
        return self._imputed(X, draws=n)

    def _imputed(
        self, X: Any, draws: int | None = None, statistic: Statistic = "mean"
    ) -> list[Any]:
        density = self.density_
        columns = self._columns(X)
        names = np.array(list(columns), object)
        with self._as_configured():
            table = columns_table("X", columns)
            imputed = ImputedTable(density, table, draws, density.config.seed, statistic)
            tables = [
                arrow_table(imputed.names, imputed.batches(draw)) for draw in range(draws or 1)
            ]
        tables = [imputed.select(list(names[self._are_kept])) for imputed in tables]
        if self.add_indicator:
            for name, gaps in zip(names[self._have_gaps], _gaps(columns)[self._have_gaps]):
                tables = [imputed.append_column(INDICATOR + name, [gaps]) for imputed in tables]
        if is_table(X):
            return [frame_like(X, imputed) for imputed in tables]
        return [
            np.column_stack([column.to_numpy() for column in imputed.columns]) for imputed in tables
        ]

    @property
    def _are_kept(self) -> np.ndarray:
        """Which columns ``(D,)`` of X are among those of :meth:`transform`."""
        are_kept: np.ndarray = ~self._are_empty
        return are_kept | bool(self.keep_empty_features)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names ``(D',)`` of the columns of :meth:`transform`."""
        names = super().get_feature_names_out(input_features)
        kept = names[self._are_kept]
        if not self.add_indicator:
            return kept
        return np.concatenate([kept, INDICATOR + names[self._have_gaps]])


def _gaps(columns: Mapping[str, Any]) -> np.ndarray:
    """Which cells ``(D, n)`` of columns are gaps."""
    arrays = columns_table("X", columns).arrays.values()
    return np.array([array.is_null(nan_is_null=True).to_numpy() for array in arrays])

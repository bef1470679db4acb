"""Estimators of scikit-learn: parameters, tables, the fit, its errors, its run in memory."""

import io
import numbers
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin, OutlierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from nflow_cli.backend.start import start_tensorflow
from nflow_cli.data.array_tables import frame_table
from nflow_cli.data.points import LEAST_ROWS
from nflow_cli.data.table_files import is_table
from nflow_cli.data.writing import frame_in, library_of
from nflow_cli.densities.cells.distribution import LEAST_MASS
from nflow_cli.errors import NflowError
from nflow_cli.experiments.python_arguments import python_words
from nflow_cli.experiments.run import load
from nflow_cli.experiments.table import python
from nflow_cli.experiments.table.loading import TrainedCells
from nflow_cli.experiments.table.oddness import row_oddness
from nflow_cli.experiments.table.predict import Predicted, predicted, question_of
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.terminal.output import silenced

_PREFIX = "nflow-"  # of temporary folders
# Parameters that are arguments of `nflow_cli.fit`.
ARGUMENTS = (
    "bounds",
    "categorical",
    "discrete",
    "missing",
    "steps",
    "learning_rate",
    "ensemble",
)
TARGET = "y"
HELD_OUT_OUTLIERS = 0.01  # share of held-out rows that are outliers without a contamination


class PackedRun:
    """Run directory as bytes; unpacked and loaded when its density is first used.

    Copies and pickles hold the bytes only.
    """

    def __init__(self, content: bytes):
        self.content = content

    @classmethod
    def of(cls, train: Callable[[Path], Any]) -> "PackedRun":
        """Run that ``train(folder)`` leaves, without pictures and checkpoints."""
        with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
            train(Path(folder))
            content = io.BytesIO()
            with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in sorted(Path(folder).iterdir()):
                    if path.is_file():
                        archive.write(path, path.name)
        return cls(content.getvalue())

    def unpack(self, folder: Path) -> None:
        """Write the run into a folder."""
        with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
            archive.extractall(folder)

    @cached_property
    def density(self) -> Any:
        """Trained density, of a temporary run directory that is removed with this object."""
        folder = tempfile.mkdtemp(prefix=_PREFIX)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.unpack(Path(folder))
        return load(folder)

    def __getstate__(self) -> dict[str, bytes]:
        return {"content": self.content}


class FitValueError(NflowError, ValueError):
    """Error of nflow that is a ``ValueError``, as scikit-learn expects."""


class TableEstimator(BaseEstimator):
    """Estimator that is fitted to a table, as by :func:`nflow_cli.fit`."""

    def __init__(
        self,
        *,
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
        self.bounds = bounds
        self.categorical = categorical
        self.discrete = discrete
        self.missing = missing
        self.steps = steps
        self.learning_rate = learning_rate
        self.ensemble = ensemble
        self.preset = preset
        self.settings = settings
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = True
        return tags

    @property
    def density_(self) -> Any:
        """Trained density, as :func:`nflow_cli.load` returns it, of a temporary run directory."""
        check_is_fitted(self)
        return self.run_.density

    def save(self, output: str | Path) -> None:
        """Write the run directory, without pictures, for ``nflow`` and :func:`nflow_cli.load`.

        Args:
            output: A new or empty folder.
        """
        check_is_fitted(self)
        with self._as_configured():
            self.run_.unpack(RunDirectory.create("", str(output)).path)

    def _train(self, table: Mapping[str, Any], **roles: Any) -> None:
        """Fit to columns by name; ``roles``: further arguments of ``nflow_cli.fit``."""
        options = {name: getattr(self, name) for name in ARGUMENTS}
        options |= {"seed": seed_of(self.random_state), **roles}
        with self._as_configured():
            start_tensorflow(machine=None)
            self.run_ = PackedRun.of(
                lambda folder: python.fit(
                    table, self.preset, self.settings, folder, options, pictures=False
                )
            )

    def _columns(self, X: Any, reset: bool = False) -> dict[str, Any]:
        """Columns of X by name; without names they are called ``x0``, ``x1`` and so on."""
        if is_table(X) and not isinstance(X, Mapping):
            with self._as_configured():
                columns = list(frame_table("X", X).arrays.values())
            validate_data(self, X, skip_check_array=True, reset=reset)
        else:
            X = validate_data(
                self,
                X,
                reset=reset,
                ensure_min_samples=LEAST_ROWS if reset else 1,
                dtype="numeric",
                ensure_all_finite="allow-nan",
            )
            columns = list(np.asarray(X).T)
        return dict(zip(self._names(), columns, strict=True))

    def _names(self) -> list[str]:
        """Names of the columns of the fit."""
        names = getattr(self, "feature_names_in_", None)
        return [f"x{i}" for i in range(self.n_features_in_)] if names is None else list(names)

    @contextmanager
    def _as_configured(self) -> Iterator[None]:
        """Silent unless ``verbose``; errors are a ``ValueError`` too."""
        try:
            with silenced(not self.verbose), python_words():
                yield
        except NflowError as error:
            raise FitValueError(str(error)) from None


def seed_of(random_state: Any) -> int | None:
    """Seed of a run: a whole number is one, None the preset's, else a draw."""
    if random_state is None:
        return None
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


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
            modelled = _modelled(X, columns, list(self.given or ()))
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


def _modelled(X: Any, columns: Mapping[str, Any], given: Sequence[str] = ()) -> list[str] | None:
    """Names of the columns of an array to be modelled, all but the given; ``None`` of a table, some
    columns of which may be left out.
    """
    return None if is_table(X) else [name for name in columns if name not in given]


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
        self._train(columns, columns=_modelled(X, columns), robust=self.robust)
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

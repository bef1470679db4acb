"""Base of the estimators: parameters, tables, the fit, its errors."""

import numbers
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from nflow_cli.backend.start import start_tensorflow
from nflow_cli.data.array_tables import frame_table
from nflow_cli.data.points import LEAST
from nflow_cli.data.table_files import is_table
from nflow_cli.errors import NflowError
from nflow_cli.experiments.python_arguments import python_words
from nflow_cli.experiments.table import python
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.sklearn.packed_run import PackedRun
from nflow_cli.terminal.output import silenced

# Parameters that are arguments of `nflow_cli.fit`.
ARGUMENTS = "bounds", "categorical", "discrete", "missing", "steps", "learning_rate", "ensemble"


class FitValueError(NflowError, ValueError):
    """Error of nflow that is a ``ValueError``, as scikit-learn expects."""


class TableEstimator(BaseEstimator):
    """Estimator that is fitted to a table, as by :func:`nflow_cli.fit`."""

    def __init__(
        self,
        *,
        bounds: Any = None,
        categorical: Any = None,
        discrete: Any = None,
        missing: Any = None,
        steps: Any = None,
        learning_rate: Any = None,
        ensemble: Any = None,
        preset: Any = None,
        settings: Any = None,
        random_state: Any = None,
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
                columns = frame_table("X", X).arrays
            validate_data(self, X, skip_check_array=True, reset=reset)
        else:
            options: dict[str, Any] = {"dtype": "numeric", "ensure_all_finite": "allow-nan"}
            least = LEAST if reset else 1
            X = validate_data(self, X, reset=reset, ensure_min_samples=least, **options)
            columns = dict(enumerate(np.asarray(X).T))
        return dict(zip(self._names(), columns.values(), strict=True))

    def _names(self) -> list[str]:
        named = getattr(self, "feature_names_in_", None)
        return list(named) if named is not None else [f"x{i}" for i in range(self.n_features_in_)]

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

"""Estimator of scikit-learn on a table: parameters, columns, fit, errors, its run in memory."""

import io
import numbers
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    check_non_negative,
    column_or_1d,
    validate_data,
)

from nflow_cli.backend.start import start_tensorflow
from nflow_cli.data.files.array_tables import ArrowTable
from nflow_cli.data.files.table_files import is_table, table_of
from nflow_cli.data.points import LEAST_ROWS
from nflow_cli.errors import NflowError
from nflow_cli.experiments.python_arguments import python_words
from nflow_cli.experiments.run import load
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.tables import python_fit
from nflow_cli.tables.cells_loading import TrainedCells
from nflow_cli.terminal.output import silenced

_PREFIX = "nflow-"  # of temporary folders
WEIGHTS = "weight"
# Parameters that are arguments of `nflow_cli.fit`.
ARGUMENTS = (
    "bounds",
    "categorical",
    "discrete",
    "ordered",
    "group",
    "missing",
    "steps",
    "learning_rate",
    "ensemble",
)


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
        self.bounds = bounds
        self.categorical = categorical
        self.discrete = discrete
        self.ordered = ordered
        self.group = group
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

    def _train(
        self, table: Mapping[str, Any], weights: np.ndarray | None = None, **roles: Any
    ) -> None:
        """Fit to columns by name, rows with ``weights`` ``(n,)``; ``roles``: further arguments of
        ``nflow_cli.fit``.
        """
        options = {name: getattr(self, name) for name in ARGUMENTS}
        options |= {"seed": seed_of(self.random_state), **roles}
        if weights is not None:
            options["weights"] = new_name(WEIGHTS, table)
            table = {**table, options["weights"]: weights}
        with self._as_configured():
            start_tensorflow(machine=None)
            self.run_ = PackedRun.of(
                lambda folder: python_fit.fit(
                    table, self.preset, self.settings, folder, options, pictures=False
                )
            )

    def _expect_cells(self) -> None:
        """Check that the density of the fit is one of cells (``FitValueError``)."""
        if not isinstance(self.density_, TrainedCells):
            raise FitValueError("expected a preset of cells, received one of flows")

    def _columns(self, X: Any, reset: bool = False) -> dict[str, Any]:
        """Columns of X by name; without names they are called ``x0``, ``x1`` and so on."""
        if is_table(X) and not isinstance(X, Mapping):
            with self._as_configured():
                columns = list(cast(ArrowTable, table_of(X)).arrays.values())
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


def new_name(name: str, columns: Collection[str]) -> str:
    """Name that no column has: ``name``, or that and a number of ``_``."""
    while name in columns:
        name += "_"
    return name


def rows_with_weight(sample_weight: Any, n: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Indices of those of n rows that have a weight, and their weights; ``None``: equal ones."""
    if sample_weight is None:
        return np.arange(n), None
    weights = check_array(sample_weight, ensure_2d=False, input_name="sample_weight")
    weights = column_or_1d(weights)
    check_consistent_length(weights, np.empty(n))
    check_non_negative(weights, "sample_weight")
    rows = np.flatnonzero(weights)
    if not len(rows):
        raise FitValueError("sample_weight: expected a weight above zero, received zeros")
    weights = weights[rows]
    return rows, weights if np.ptp(weights) > 0 else None


def modelled_names(
    X: Any, columns: Mapping[str, Any], without: Sequence[str | None] = ()
) -> list[str] | None:
    """Names of the columns of an array to be modelled, all but some; ``None`` of a table, some
    columns of which may be left out.
    """
    return None if is_table(X) else [name for name in columns if name not in without]

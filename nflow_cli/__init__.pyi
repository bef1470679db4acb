"""Signatures of nflow for editors and type checkers, written by `.ci/schema`."""

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, overload

from nflow_cli.constants import __version__ as __version__
from nflow_cli.data.python_tables import Table
from nflow_cli.experiments.images.loading import TrainedVAE as TrainedVAE
from nflow_cli.experiments.reverse_kl.loading import TrainedDensity as TrainedDensity
from nflow_cli.experiments.table.flows import TrainedTable as TrainedTable
from nflow_cli.experiments.table.loading import TrainedCells as TrainedCells

__all__ = [
    "TrainedCells",
    "TrainedDensity",
    "TrainedTable",
    "TrainedVAE",
    "__version__",
    "fit",
    "infer",
    "load",
]

Flow: TypeAlias = Literal[
    "planar",
    "radial",
    "affine",
    "affine-coupling",
    "spline-coupling",
    "mixture-coupling",
    "affine-autoregressive",
    "spline-autoregressive",
    "mixture-autoregressive",
    "inverse-autoregressive",
    "sylvester",
    "permutation",
]

class PyMCModel(Protocol):
    """A `pymc.Model`."""

    @property
    def free_RVs(self) -> list[Any]: ...  # noqa: N802

@overload
def fit(
    table: Table,
    *,
    preset: None = None,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    minutes: float | None = None,
    columns: Iterable[str | int] | None = None,
    exclude: Iterable[str | int] | None = None,
    bounds: Mapping[str, Iterable[float | None]] | None = None,
    missing: Literal["refuse", "drop", "model"] | None = None,
    na: Iterable[str | float] | None = None,
    max_rows: int | None = None,
    test: str | Path | None = None,
    split: str | int | None = None,
    group: str | int | None = None,
    target: Iterable[str | int] | None = None,
    given: Iterable[str | int] | None = None,
    categorical: Iterable[str | int] | None = None,
    discrete: Mapping[str, float] | Iterable[str | int] | None = None,
    ordered: Mapping[str, Iterable[str | int]] | None = None,
    robust: bool | None = None,
    weights: str | int | None = None,
    date: Mapping[str, str] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    ensemble: int | None = None,
    flow: None = None,
    k: None = None,
    seed: int | None = None,
) -> TrainedCells: ...
@overload
def fit(
    table: Table,
    *,
    preset: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    minutes: float | None = None,
    columns: Iterable[str | int] | None = None,
    exclude: Iterable[str | int] | None = None,
    bounds: Mapping[str, Iterable[float | None]] | None = None,
    missing: Literal["refuse", "drop", "model"] | None = None,
    na: Iterable[str | float] | None = None,
    max_rows: int | None = None,
    test: str | Path | None = None,
    split: str | int | None = None,
    group: str | int | None = None,
    target: Iterable[str | int] | None = None,
    given: Iterable[str | int] | None = None,
    categorical: Iterable[str | int] | None = None,
    discrete: Mapping[str, float] | Iterable[str | int] | None = None,
    ordered: Mapping[str, Iterable[str | int]] | None = None,
    robust: bool | None = None,
    weights: str | int | None = None,
    date: Mapping[str, str] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    ensemble: int | None = None,
    flow: Iterable[Flow | Mapping[Flow, Mapping[str, Any] | None]],
    k: int | None = None,
    seed: int | None = None,
) -> TrainedTable: ...
@overload
def fit(
    table: Table,
    *,
    preset: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    minutes: float | None = None,
    columns: Iterable[str | int] | None = None,
    exclude: Iterable[str | int] | None = None,
    bounds: Mapping[str, Iterable[float | None]] | None = None,
    missing: Literal["refuse", "drop", "model"] | None = None,
    na: Iterable[str | float] | None = None,
    max_rows: int | None = None,
    test: str | Path | None = None,
    split: str | int | None = None,
    group: str | int | None = None,
    target: Iterable[str | int] | None = None,
    given: Iterable[str | int] | None = None,
    categorical: Iterable[str | int] | None = None,
    discrete: Mapping[str, float] | Iterable[str | int] | None = None,
    ordered: Mapping[str, Iterable[str | int]] | None = None,
    robust: bool | None = None,
    weights: str | int | None = None,
    date: Mapping[str, str] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    ensemble: int | None = None,
    flow: None = None,
    k: int,
    seed: int | None = None,
) -> TrainedTable: ...
@overload
def fit(
    table: Table,
    *,
    preset: str | Path,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    minutes: float | None = None,
    columns: Iterable[str | int] | None = None,
    exclude: Iterable[str | int] | None = None,
    bounds: Mapping[str, Iterable[float | None]] | None = None,
    missing: Literal["refuse", "drop", "model"] | None = None,
    na: Iterable[str | float] | None = None,
    max_rows: int | None = None,
    test: str | Path | None = None,
    split: str | int | None = None,
    group: str | int | None = None,
    target: Iterable[str | int] | None = None,
    given: Iterable[str | int] | None = None,
    categorical: Iterable[str | int] | None = None,
    discrete: Mapping[str, float] | Iterable[str | int] | None = None,
    ordered: Mapping[str, Iterable[str | int]] | None = None,
    robust: bool | None = None,
    weights: str | int | None = None,
    date: Mapping[str, str] | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    ensemble: int | None = None,
    flow: None = None,
    k: None = None,
    seed: int | None = None,
) -> TrainedCells | TrainedTable: ...
def infer(
    log_density: str | Callable[[Any], Any] | Callable[[], Any] | PyMCModel,
    *,
    preset: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    minutes: float | None = None,
    dim: int | None = None,
    names: Iterable[str | int] | None = None,
    bounds: Mapping[str, Iterable[float | None]] | None = None,
    base: Literal["standard-normal", "student-t"] | None = None,
    flow: Iterable[Flow | Mapping[Flow, Mapping[str, Any] | None]] | None = None,
    k: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    anneal: float | None = None,
    restarts: int | None = None,
    halving: bool | None = None,
    compile: bool | None = None,
    seed: int | None = None,
) -> TrainedDensity: ...
def load(
    run: str | PathLike[str],
) -> TrainedCells | TrainedDensity | TrainedTable | TrainedVAE: ...

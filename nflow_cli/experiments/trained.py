"""What a run trained, ready for use: samples and exact densities of a flow, images of a VAE."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from nflow_cli.arguments import room_for, whole_number
from nflow_cli.config.roles import Roles
from nflow_cli.config.schema import Fit2DConfig, FitConfig, InferConfig, VAEConfig
from nflow_cli.data.tables import shown
from nflow_cli.data.units import IDENTITY, Units
from nflow_cli.densities.log_density import units_of
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.densities.row_model import RowModel
from nflow_cli.densities.rows import RowDensity
from nflow_cli.errors import DataError, NflowError
from nflow_cli.experiments.trained_run import TrainedRun
from nflow_cli.flows import FlowStack
from nflow_cli.random_streams import stream
from nflow_cli.registry import BASES, INFER_BASES, TARGETS, make, nearest, resolve

IMAGES = 200  # images at a time
LEVELS = 20  # of a category, in a message


class TrainedDensity(TrainedRun, FlowDensity):
    """The density ``q`` of a finished fit-2d run: its base pushed through its flows.

    Attributes:
        path: The run directory.
        config: The resolved preset.
        flow: The :class:`~nflow_cli.flows.FlowStack`, a Keras layer.
        base: The base distribution ``q0``.
        units: Those of the table that ``q`` was fitted to, if it was one.
        target: The density ``p`` that ``q`` was fitted to; ``None`` where it was a table.
    """

    def __init__(
        self, path: Path, config: Fit2DConfig | FitConfig, flow: FlowStack, units: Units = IDENTITY
    ):
        super().__init__(resolve(BASES[config.base_name])(), flow, units)
        self.path, self.config = path, config
        self.target = config.target and make(TARGETS, config.target)


class TrainedInference(TrainedRun, FlowDensity):
    """The density ``q`` of a finished run of ``nflow infer``, in the user's units.

    Attributes:
        path: The run directory.
        config: The resolved preset.
        flow: The :class:`~nflow_cli.flows.FlowStack`, a Keras layer.
        base: The base distribution ``q0``.
        units: Take what lies between bounds to all of R.
    """

    def __init__(self, path: Path, config: InferConfig, flow: FlowStack):
        units = units_of(config.density.columns, config.density.bounds)
        super().__init__(make(INFER_BASES, config.base), flow, units)
        self.path, self.config = path, config

    @property
    def columns(self) -> list[str]:
        """The names of the D coordinates."""
        return self.config.density.columns

    @property
    def inside(self) -> FlowDensity:
        """The density of the coordinates of the flows, in which there are no bounds."""
        return FlowDensity(self.base, self.flow)


class TrainedTable(TrainedDensity):
    """The density ``q`` of a row of a table, of a finished run of ``nflow fit``.

    Its methods take arrays, whose columns are those of ``columns`` in order, or tables: a DataFrame
    of any make, or a mapping of arrays, which have columns of these names among others.
    """

    config: FitConfig

    @property
    def roles(self) -> Roles:
        """What the columns are: modelled numbers."""
        return self.config.roles

    @property
    def columns(self) -> list[str]:
        """The names of the D columns."""
        return list(self.config.data.columns or ())

    def sample_table(self, n: int, seed: int = 0) -> Any:
        """Draw ``n`` rows as a table of Arrow, which any DataFrame takes, with their ``log_q``."""
        from nflow_cli.experiments.table.scoring import drawn

        room_for(n, (len(self.columns) + 1,), np.float64)
        return drawn(self, self.batches(n, seed))

    def _points(self, x: Any) -> np.ndarray:
        from nflow_cli.data.table_files import is_table, table_of
        from nflow_cli.data.table_rows import MAX_ROWS

        if not is_table(x):
            return super()._points(x)
        return table_of(x).numbers(self.columns, MAX_ROWS)


class TrainedRows(TrainedRun, RowDensity):
    """The density ``q`` of a row of a table, given others, of a finished run of ``nflow fit``.

    Its methods take arrays ``(n, C)`` in the order of ``columns``, in which a category is the
    number of its level (from 0, as ``roles.levels`` lists them), or tables that have columns of
    these names among others.

    Attributes:
        path: The run directory.
        config: The resolved preset.
    """

    def __init__(self, path: Path, config: FitConfig, model: RowModel, *units: Any):
        base = resolve(BASES[config.base_name])()
        super().__init__(base, model, config.roles, *units)
        self.path, self.config = path, config

    @property
    def columns(self) -> list[str]:
        """The names of the C columns: modelled numbers and categories, then what is given."""
        return self.roles.columns

    def sample(self, n: int, seed: int = 0, given: Any = None) -> np.ndarray:
        """Draw ``n`` rows at each of m conditions: ``(m n, C)``, as ``log_prob`` takes them.

        Args:
            n: How many.
            seed: Fixes them.
            given: A mapping of the given columns to values, or a table that has them; ``None``
                where nothing is.

        Raises:
            DataError: A given column is missing, or has a level that is not known; or ``n`` is no
                whole number, or more than memory holds.
        """
        at = self.given_rows(given)
        rows = room_for(n, (len(self.columns),), np.float64, times=len(at))
        for start, part, _ in self.batches(n, seed, at):
            rows[start : start + len(part)] = part
        return rows

    def sample_table(self, n: int, seed: int = 0, given: Any = None) -> Any:
        """Draw what :meth:`sample` does, as a table of Arrow, with ``log_q``."""
        from nflow_cli.experiments.table.scoring import drawn

        at = self.given_rows(given)
        room_for(n, (len(self.columns) + 1,), np.float64, times=len(at))
        return drawn(self, self.batches(n, seed, at))

    def batches(
        self, n: int, seed: int, given_rows: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Draw ``n`` rows at each of ``given_rows`` ``(m, C)``, some at a time.

        Yields:
            The number of rows before, the rows ``(l, C)``, and ``log q`` at them ``(l,)`` in nats.
        """
        total = whole_number("n", n, error=DataError) * len(given_rows)
        for part, places in enumerate(self.places(total)):
            at = given_rows[np.arange(places.start, places.stop) // n]
            rows = self.draw(at, lambda _, part=part: stream(seed, "samples", part))
            yield places.start, rows, self.log_prob(rows)

    def given_rows(self, given: Any) -> np.ndarray:
        """Return rows ``(m, C)`` of the conditions that :meth:`sample` takes; the rest is 0.

        Raises:
            DataError: As it does.
        """
        from nflow_cli.data.table_files import table_of

        if not self.roles.given:
            if given is not None:
                raise DataError("expected nothing given: this density is of all its columns")
            return np.zeros((1, len(self.columns)))
        if given is None:
            raise DataError(f"expected values of the given columns: {', '.join(self.roles.given)}")
        if isinstance(given, Mapping):
            given = {name: np.atleast_1d(values) for name, values in given.items()}
        return self.rows_given(table_of(given))

    def rows_given(self, table: Any) -> np.ndarray:
        """Return rows ``(m, C)`` of the conditions that a table has, as :meth:`given_rows`."""
        from nflow_cli.data.categories import rows_of_table

        only = replace(self.roles, numbers=(), steps={}, categories={})
        at = rows_of_table(table, only)
        _expect_known(table, only, at)
        rows = np.zeros((len(at), len(self.columns)))
        rows[:, len(self.columns) - len(self.roles.given) :] = at
        return rows

    def _rows(self, x: Any) -> np.ndarray:
        from nflow_cli.data.categories import rows_of_table
        from nflow_cli.data.table_files import is_table, table_of

        return rows_of_table(table_of(x), self.roles) if is_table(x) else super()._rows(x)


def _expect_known(table: Any, given: Roles, rows: np.ndarray) -> None:
    """Refuse conditions ``(m, G)`` of a table with a level that is not known, or no number."""
    unknown = ~np.isfinite(rows) | (rows < 0) & np.isin(given.columns, list(given.levels))
    if not unknown.any():
        return
    row, column = divmod(int(np.argmax(unknown)), rows.shape[1])
    name = given.columns[column]
    place = "" if table.n_rows == 1 else f"{table.place(row)}, "
    levels, received = list(given.levels.get(name, ())), str(table.text(name)[row])
    known = ", ".join(map(shown, levels[:LEVELS])) + (", …" if len(levels) > LEVELS else "")
    raise DataError(
        f"{table.name}: {place}column {shown(name)}: expected "
        f"{f'a level that training rows have ({known})' if known else 'a finite number'}, "
        f"received {shown(received)}{nearest(received, levels)}"
    )


class TrainedVAE(TrainedRun):
    """A finished train-vae run.

    Attributes:
        path: The run directory.
        config: The resolved preset.
        model: The :class:`~nflow_cli.models.vae.FlowVAE`, a Keras model.
    """

    def __init__(self, path: Path, config: VAEConfig, model: Any):
        self.path, self.config, self.model = path, config, model

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Decode ``n`` draws from the prior: means of pixels ``(n, 28, 28)`` in [0, 1], float32.

        Raises:
            DataError: ``n`` is no whole number, or more than memory holds.
        """
        images = room_for(n, (28, 28), np.float32)
        for start, part in self.batches(n, seed):
            images[start : start + len(part)] = part
        return images

    def batches(self, n: int, seed: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """Decode what :meth:`sample` does, some at a time, with the number of images before."""
        for start in range(0, whole_number("n", n, error=DataError), IMAGES):
            shape = (min(IMAGES, n - start), self.model.latent_dim)
            noise = stream(seed, "samples", start // IMAGES).standard_normal(shape, np.float32)
            latents = self.model.prior_latents(noise)
            yield start, ops.convert_to_numpy(self.model.decode(latents))

    def log_prob(self, x: Any) -> np.ndarray:
        """Refuse: the likelihood of a VAE has no closed form.

        Raises:
            NflowError: Always; it says what estimates the likelihood.
        """
        raise NflowError(
            "a VAE has no exact log_prob: `nflow evaluate RUN`, or in Python "
            "nflow_cli.evaluation.images.evaluate_vae, estimate it by importance sampling"
        )

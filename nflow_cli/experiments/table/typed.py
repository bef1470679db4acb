"""A table whose rows are more than modelled numbers: given columns, categories, whole numbers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nflow_cli.config.memory import OF_AN_OUTPUT, Footprint, of_flows
from nflow_cli.constants import HIDDEN
from nflow_cli.errors import ConfigError
from nflow_cli.evaluation.caveats import Caveat
from nflow_cli.experiments.experiment import FLOWS_EXPECTED
from nflow_cli.experiments.rows import Summary
from nflow_cli.experiments.table import Table, calibration
from nflow_cli.runs.array_shapes import ROW_WEIGHTS, ROWS, Shapes
from nflow_cli.runs.directory import RunDirectory

if TYPE_CHECKING:
    from nflow_cli.experiments.checked_run import CheckedRun


class TypedTable(Table):
    """A fit to a table some of whose columns are given, categories or discrete, or are weights."""

    @property
    def footprint(self) -> Footprint | None:
        """What an update takes of memory; ``None`` before the columns are known."""
        config, roles = self.config, self.config.roles
        if not config.is_settled:
            return None
        networks = sum(HIDDEN) * len(roles.categories) + roles.width
        kept = of_flows(config.flow, roles.dim) + OF_AN_OUTPUT * networks
        return Footprint(config.train.batch_size, len(roles.columns), kept)

    @property
    def given_example(self) -> str:
        """Values of given columns that samples may be drawn at, as text; "" where none are."""
        roles = self.config.roles
        levels = {name: levels[0] for name, levels in roles.given_categories.items()}
        values = {**dict.fromkeys(roles.given_numbers, "0"), **levels}
        return ",".join(f"{name}={value}".replace(",", "\\,") for name, value in values.items())

    @property
    def shapes(self) -> Shapes:
        """The arrays in ``evaluation.npz``."""
        dim = self.config.dim
        rows: Shapes = {"rows": ("t", dim), "samples": ("s", dim), "latents": ("t", dim)}
        shapes = {**rows, "columns_shown": "c", **calibration.shapes_of(self.config.roles)}
        if self.keeps_rows:
            shapes |= {**ROWS, **(ROW_WEIGHTS if self.config.data.weights else {})}
        return shapes

    def flows_in_the_plane(self, run: RunDirectory) -> Any:
        """Refuse: the flows are those of given values, or of numbers within cells."""
        what = "columns that are given, categories, discrete or weights"
        raise ConfigError(f"{FLOWS_EXPECTED} {what}")

    def load(self, run: RunDirectory) -> Any:
        """Return the density that was trained, in the units of the table."""
        from nflow_cli.experiments.data import given_units_of, units_of
        from nflow_cli.experiments.table.starting import built_model, model_arguments
        from nflow_cli.experiments.trained import TrainedRows
        from nflow_cli.runs.model_file import load_weights

        self._expect_settled(run)
        config, roles = self.config, self.config.roles
        model = built_model(config)
        arguments = {k: v for k, v in model_arguments(config).items() if v is not None}
        load_weights(run, model, arguments, config.dim)
        units = units_of(run, config.dim), given_units_of(run, len(roles.given_numbers))
        return TrainedRows(run.path, config, model, *units)

    def judge(self, density: Any, data: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return scores by the test rows, and what the pictures are drawn from."""
        from nflow_cli.evaluation.row_scores import calibrated, row_arrays, row_scores
        from nflow_cli.training.progress import phase

        seed = self.config.seed
        with phase("calibration: test rows, each beside draws"):
            calibration, curves = calibrated(density, data, seed, self.keeps_rows)
        with phase(f"scoring: {len(data.test):,} test rows"):
            scores = row_scores(density, data, seed) | calibration
        with phase("preparing pictures"):
            return scores, row_arrays(density, data, seed, self.keeps_rows) | curves

    def scores_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Judge a density by the test rows."""
        from nflow_cli.evaluation.row_scores import calibrated, row_scores

        seed = self.config.seed
        return row_scores(density, data, seed) | calibrated(density, data, seed, self.keeps_rows)[0]

    def arrays_of(self, density: Any, data: Any) -> dict[str, Any]:
        """Return what the pictures are drawn from."""
        from nflow_cli.evaluation.row_scores import calibrated, row_arrays

        common = density, data, self.config.seed, self.keeps_rows
        return row_arrays(*common) | calibrated(*common)[1]

    def damage(self, arrays: Mapping[str, Any], summary: Summary) -> str:
        """Return which file of the pictures is not of these columns, and why, or ""."""
        damaged = super().damage(arrays, summary)
        return damaged or calibration.damage(arrays, self.config.roles)

    def caveats(self, summary: Summary) -> list[Caveat]:
        """Return what a run cannot vouch for: that its regions hold what they claim, too."""
        from nflow_cli.evaluation.calibration import miscalibrated

        caveat = miscalibrated(summary)
        return super().caveats(summary) + ([caveat] if caveat else [])

    def batches(self, trained: Any, n: int, seed: int, given: str | None) -> Any:
        """Draw ``n`` rows at each condition of a table, or of a text such as ``a=1,b=2``."""
        from nflow_cli.experiments.table.conditions import read_conditions

        return trained.batches(n, seed, read_conditions(trained, given))

    def draw(self, *arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Return the pictures by name."""
        from nflow_cli import plotting

        return plotting.typed_figures(*arrays, roles=self.config.roles)

    def checked(self, run: RunDirectory, trained: Any) -> "CheckedRun":
        """Return a run to be checked."""
        from nflow_cli.experiments.table.typed_checks import CheckedTyped

        return CheckedTyped(run, trained, self)

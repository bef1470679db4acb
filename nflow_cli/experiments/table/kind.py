"""Kinds of the runs of ``nflow fit``."""

from nflow_cli.config.table import CellsConfig, FitConfig
from nflow_cli.experiments.run import (
    Checks,
    Data,
    Loading,
    Report,
    RowData,
    RunKind,
    Scoring,
    Training,
    Trial,
)


class Cells(RunKind[CellsConfig]):
    """Density of a table's rows by cells."""

    @property
    def data(self) -> Data[CellsConfig]:
        from nflow_cli.experiments.table import data

        return data

    @property
    def row_data(self) -> RowData[CellsConfig]:
        from nflow_cli.experiments.table import data

        return data

    @property
    def training(self) -> Training[CellsConfig]:
        from nflow_cli.experiments.table import cells_training

        return cells_training

    @property
    def trial(self) -> Trial[CellsConfig]:
        from nflow_cli.experiments.table import cells_trial

        return cells_trial

    @property
    def scoring(self) -> Scoring:
        from nflow_cli.experiments.table import scoring

        return scoring

    @property
    def report(self) -> Report[CellsConfig]:
        from nflow_cli.experiments.table import report

        return report

    @property
    def loading(self) -> Loading:
        from nflow_cli.experiments.table import cells_loading

        return cells_loading

    @property
    def checks(self) -> Checks:
        from nflow_cli.experiments.table import checks

        return checks


class Flows(RunKind[FitConfig]):
    """Density of a table's rows by flows."""

    @property
    def data(self) -> Data[FitConfig]:
        from nflow_cli.experiments.table import data

        return data

    @property
    def row_data(self) -> RowData[FitConfig]:
        from nflow_cli.experiments.table import data

        return data

    @property
    def training(self) -> Training[FitConfig]:
        from nflow_cli.experiments.table import flows_training

        return flows_training

    @property
    def trial(self) -> Trial[FitConfig]:
        from nflow_cli.experiments.table import flows_trial

        return flows_trial

    @property
    def scoring(self) -> Scoring:
        from nflow_cli.experiments.table import scoring

        return scoring

    @property
    def report(self) -> Report[FitConfig]:
        from nflow_cli.experiments.table import report

        return report

    @property
    def loading(self) -> Loading:
        from nflow_cli.experiments.table import flows_loading

        return flows_loading

    @property
    def checks(self) -> Checks:
        from nflow_cli.experiments.table import checks

        return checks


CELLS = Cells()
FLOWS = Flows()

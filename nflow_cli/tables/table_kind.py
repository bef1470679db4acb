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
        from nflow_cli.tables import table_data

        return table_data

    @property
    def row_data(self) -> RowData[CellsConfig]:
        from nflow_cli.tables import table_data

        return table_data

    @property
    def training(self) -> Training[CellsConfig]:
        from nflow_cli.tables import cells_training

        return cells_training

    @property
    def trial(self) -> Trial[CellsConfig]:
        from nflow_cli.tables import cells_trial

        return cells_trial

    @property
    def scoring(self) -> Scoring:
        from nflow_cli.tables import table_scoring

        return table_scoring

    @property
    def report(self) -> Report[CellsConfig]:
        from nflow_cli.tables import table_report

        return table_report

    @property
    def loading(self) -> Loading:
        from nflow_cli.tables import cells_loading

        return cells_loading

    @property
    def checks(self) -> Checks:
        from nflow_cli.tables import table_checks

        return table_checks


class Flows(RunKind[FitConfig]):
    """Density of a table's rows by flows."""

    @property
    def data(self) -> Data[FitConfig]:
        from nflow_cli.tables import table_data

        return table_data

    @property
    def row_data(self) -> RowData[FitConfig]:
        from nflow_cli.tables import table_data

        return table_data

    @property
    def training(self) -> Training[FitConfig]:
        from nflow_cli.tables import flows_training

        return flows_training

    @property
    def trial(self) -> Trial[FitConfig]:
        from nflow_cli.tables import flows_trial

        return flows_trial

    @property
    def scoring(self) -> Scoring:
        from nflow_cli.tables import table_scoring

        return table_scoring

    @property
    def report(self) -> Report[FitConfig]:
        from nflow_cli.tables import table_report

        return table_report

    @property
    def loading(self) -> Loading:
        from nflow_cli.tables import flows_loading

        return flows_loading

    @property
    def checks(self) -> Checks:
        from nflow_cli.tables import table_checks

        return table_checks


CELLS = Cells()
FLOWS = Flows()

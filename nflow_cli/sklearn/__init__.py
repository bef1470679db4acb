"""Estimators of scikit-learn: the density of a table, and of one column given the others."""

try:
    from nflow_cli.sklearn.density import TableDensity
    from nflow_cli.sklearn.regressor import TableRegressor
except ModuleNotFoundError as error:
    if (error.name or "").split(".")[0] != "sklearn":
        raise
    raise ImportError(
        "nflow_cli.sklearn needs scikit-learn: pip install 'nflow-cli[sklearn]'"
    ) from None

__all__ = ["TableDensity", "TableRegressor"]

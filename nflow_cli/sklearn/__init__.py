"""Estimators of scikit-learn: density of a table, outliers, a number or a class given a table."""

try:
    from nflow_cli.sklearn.classifier import TableClassifier
    from nflow_cli.sklearn.density_estimator import TableDensity
    from nflow_cli.sklearn.detector import TableOutlierDetector
    from nflow_cli.sklearn.imputer import TableImputer
    from nflow_cli.sklearn.regressor import TableRegressor
except ImportError as error:
    if (error.name or "").partition(".")[0] != "sklearn":
        raise
    raise ImportError(
        "nflow_cli.sklearn needs scikit-learn 1.6 or newer; install it in nflow's checkout with: "
        "pip install '.[sklearn]'"
    ) from None

__all__ = [
    "TableClassifier",
    "TableDensity",
    "TableImputer",
    "TableOutlierDetector",
    "TableRegressor",
]

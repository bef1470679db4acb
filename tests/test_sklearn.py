import pytest

sklearn = pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from nflow_cli.sklearn import TableDensity, TableRegressor

TINY = {
    "steps": 2,
    "ensemble": 1,
    "settings": {"train.chunk": 2, "cells.width": 4, "cells.blocks": 0, "cells.components": 2},
}
pytestmark = pytest.mark.usefixtures("without_xla")


@parametrize_with_checks([TableDensity(**TINY), TableRegressor(**TINY)])
def test_protocol(estimator, check):
    check(estimator)

"""The names that users may rely on: those of the documentation, and no others."""

import importlib
import inspect
import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import get_overloads

import pytest
from short_runs import KINDS

import nflow_cli

ROOT = Path(__file__).parents[1]
STUB = ROOT / "nflow_cli" / "__init__.pyi"
PUBLIC = {
    "nflow_cli": [
        *("TrainedCells", "TrainedDensity", "TrainedTable", "TrainedVAE"),
        *("__version__", "fit", "infer", "load"),
    ],
    "nflow_cli.flows": [
        *("Flow", "FlowDensity", "FlowStack", "GaussianSampling", "PlanarFlow", "RadialFlow")
    ],
    "nflow_cli.sklearn": [
        "TableClassifier",
        "TableDensity",
        "TableImputer",
        "TableOutlierDetector",
        "TableRegressor",
    ],
}
OF_FLOWS = ["dim", "flow", "from_latent", "latent", "log_prob", "sample"]
OF_ROWS = ["columns", "given", "rows", "sample_table"]
OF_CELLS = [
    *["cell_log_probs", "drift", "explain", "impute", "predict"],
    *["from_latent", "latent", "log_prob", "sample"],
]
OF_A_RUN = {  # that is loaded
    "target": [*OF_FLOWS, "columns", "to_arviz"],
    "points": [*OF_FLOWS, *OF_ROWS],
    "table": [*OF_FLOWS, *OF_ROWS],
    "cells": [*OF_ROWS, *OF_CELLS],
    "images": ["log_prob", "model", "sample"],  # of which the first refuses
}
CLASSES = {
    **{"target": "TrainedDensity", "points": "TrainedTable", "table": "TrainedTable"},
    **{"cells": "TrainedCells", "images": "TrainedVAE"},
}
OF_ANY_RUN = ["warnings", "path", "summary"]
OF_A_LAYER = {
    "Flow": ["forward_and_log_det", "inverse_and_log_det"],
    "FlowDensity": ["log_prob", "sample"],
    "GaussianSampling": ["kl_divergence", "log_prob", "prior_log_prob"],
}


def test_the_public_names_are_those_that_a_module_lists():
    for module, names in PUBLIC.items():
        imported = importlib.import_module(module)
        assert sorted(imported.__all__) == names
        assert all(hasattr(imported, name) for name in names)
    for name, methods in OF_A_LAYER.items():
        assert all(hasattr(getattr(nflow_cli.flows, name), method) for method in methods)
    assert (ROOT / "nflow_cli" / "py.typed").is_file()


def test_the_stub_has_the_names_and_signatures_of_the_package():
    stub = runpy.run_path(str(STUB), run_name="stub")
    assert stub["__all__"] == nflow_cli.__all__
    for name in nflow_cli.__all__:
        public = getattr(nflow_cli, name)
        if not inspect.isfunction(public):
            assert stub[name] is public
            continue
        overloads = get_overloads(SimpleNamespace(__module__="stub", __qualname__=name))
        for signature in map(inspect.signature, overloads or [stub[name]]):
            expected = inspect.signature(public).parameters
            assert [*signature.parameters] == [*expected]
            for parameter, code in zip(signature.parameters.values(), expected.values()):
                assert parameter.kind == code.kind
                assert parameter.default in (code.default, parameter.empty)  # one is required


def test_the_stub_is_what_the_schemas_make_it():
    written = runpy.run_path(str(ROOT / ".ci" / "schema"))["stub"]()
    assert STUB.read_text(encoding="utf-8") == written, "to be written anew: .ci/schema"


def test_the_help_of_a_function_describes_each_argument():
    for function in (nflow_cli.fit, nflow_cli.infer):
        described = re.findall(r"^    (\w+): \S", inspect.getdoc(function), re.MULTILINE)
        assert set(inspect.signature(function).parameters) <= set(described)


@pytest.mark.parametrize("kind", OF_A_RUN)
def test_a_loaded_run_has_its_public_names(short_run, kind):
    trained = nflow_cli.load(short_run(**KINDS[kind]))
    assert type(trained) is getattr(nflow_cli, CLASSES[kind])
    names = [name for name in dir(trained) if not name.startswith("_")]
    assert sorted(names) == sorted(OF_A_RUN[kind] + OF_ANY_RUN)
    assert all(hasattr(trained, name) for name in names)
    documented = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert [n for n in names if not re.search(rf"`(q\.)?{n}\b|q\.{n}\b", documented)] == []

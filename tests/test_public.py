"""The names that users may rely on: those of the documentation, and no others."""

import importlib
import inspect
import re
from pathlib import Path

import keras
import pytest
from short_runs import KINDS

import nflow_cli

PUBLIC = {
    "nflow_cli": ["__version__", "fit", "infer", "load"],
    "nflow_cli.flows": [
        "Flow",
        "FlowStack",
        "GaussianSampling",
        "PlanarFlow",
        "RadialFlow",
    ],
    "nflow_cli.sklearn": ["TableDensity", "TableRegressor"],
}
OF_A_RUN = {  # that is loaded
    "target": ["flow", "from_latent", "latent", "log_prob", "sample"],
    "points": ["flow", "from_latent", "latent", "log_prob", "sample"],
    "table": ["columns", "flow", "from_latent", "latent", "log_prob", "sample", "sample_table"],
    "cells": [
        "columns",
        "drift",
        "explain",
        "given",
        "impute",
        "log_prob",
        "predict",
        "sample",
        "sample_table",
    ],
    "images": ["model", "sample"],
}
OF_ANY_RUN = ["warnings", "path", "summary"]
OF_A_FLOW = ["forward_and_log_det", "inverse_and_log_det"]


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_those_that_a_module_lists(module):
    if module == "nflow_cli.sklearn":
        pytest.importorskip("sklearn")
    imported = importlib.import_module(module)
    assert sorted(imported.__all__) == PUBLIC[module]
    assert all(hasattr(imported, name) for name in PUBLIC[module])


@pytest.mark.parametrize("function", [nflow_cli.fit, nflow_cli.infer])
def test_the_help_of_a_function_describes_each_argument(function):
    described = re.findall(r"^    (\w+): \S", inspect.getdoc(function), re.MULTILINE)
    assert set(inspect.signature(function).parameters) <= set(described)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="runs are trained on TensorFlow")
@pytest.mark.parametrize("kind", OF_A_RUN)
def test_a_loaded_run_has_its_public_names(short_run, kind):
    trained = nflow_cli.load(short_run(**KINDS[kind]))
    assert all(hasattr(trained, name) for name in OF_A_RUN[kind] + OF_ANY_RUN)


@pytest.mark.parametrize("name", [name for name in PUBLIC["nflow_cli.flows"] if "Flow" in name])
def test_a_flow_has_its_public_names(name):
    flow = getattr(importlib.import_module("nflow_cli.flows"), name)
    assert all(hasattr(flow, method) for method in OF_A_FLOW)


def test_the_package_says_that_it_is_typed():
    assert (Path(nflow_cli.__file__).parent / "py.typed").is_file()

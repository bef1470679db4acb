"""Registry of flows, bases, targets and more: ``module:class`` by name.

Importing this module loads nothing; :func:`resolve` imports on demand.
"""

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

FLOWS = {
    "planar": "nflow_cli.flows.planar:Planar",
    "radial": "nflow_cli.flows.radial:Radial",
    "affine": "nflow_cli.flows.affine:Affine",
    "affine-coupling": "nflow_cli.flows.coupling:AffineCoupling",
    "spline-coupling": "nflow_cli.flows.coupling:SplineCoupling",
    "mixture-coupling": "nflow_cli.flows.coupling:MixtureCoupling",
    "affine-autoregressive": "nflow_cli.flows.autoregressive:AffineAutoregressive",
    "spline-autoregressive": "nflow_cli.flows.autoregressive:SplineAutoregressive",
    "mixture-autoregressive": "nflow_cli.flows.autoregressive:MixtureAutoregressive",
    "inverse-autoregressive": "nflow_cli.flows.autoregressive:InverseAutoregressive",
    "sylvester": "nflow_cli.flows.sylvester:Sylvester",
    "permutation": "nflow_cli.flows.permutation:Permutation",
}

NAMES_ELSEWHERE = {  # of flows
    "realnvp": "affine-coupling",
    "real-nvp": "affine-coupling",
    "nice": "affine-coupling",
    "nsf": "spline-coupling",
    "neural-spline": "spline-coupling",
    "rational-quadratic": "spline-coupling",
    "rq-spline": "spline-coupling",
    "maf": "affine-autoregressive",
    "made": "affine-autoregressive",
    "masked-autoregressive": "affine-autoregressive",
    "nsf-ar": "spline-autoregressive",
    "mdn": "mixture-autoregressive",
    "mixture-density-network": "mixture-autoregressive",
    "flow++": "mixture-coupling",
    "iaf": "inverse-autoregressive",
    "snf": "sylvester",
    "householder": "sylvester",
    "whitening": "affine",
    "permute": "permutation",
}

BASES = {
    "standard-normal": "nflow_cli.densities.bases:StandardNormal",
    "uniform-box": "nflow_cli.densities.bases:UniformBox",
}
INFER_BASES = {
    "standard-normal": BASES["standard-normal"],
    "student-t": "nflow_cli.densities.bases:StudentT",
}

TARGETS = {
    "multimodal": "nflow_cli.inference.targets:Multimodal",
    "gaussian-from-uniform": "nflow_cli.inference.targets:GaussianFromUniform",
    "u1": "nflow_cli.inference.targets:U1",
    "u2": "nflow_cli.inference.targets:U2",
    "u3": "nflow_cli.inference.targets:U3",
    "u4": "nflow_cli.inference.targets:U4",
    "mixture": "nflow_cli.inference.targets:Mixture",
    "ring": "nflow_cli.inference.targets:Ring",
    "wavy-ring": "nflow_cli.inference.targets:WavyRing",
}
WITH_PARAMETERS = ("mixture", "ring")  # of the targets

# Built-in densities: `nflow infer NAME`.
DENSITIES = {
    "funnel": "nflow_cli.inference.examples:Funnel",
    "many-well": "nflow_cli.inference.examples:ManyWell",
    "banana": "nflow_cli.inference.examples:Banana",
    "eight-schools": "nflow_cli.inference.examples:EightSchools",
    "gmm40": "nflow_cli.inference.examples:Gmm40",
}

# Point sets: `nflow fit NAME`.
POINT_SETS = {
    "two-moons": "nflow_cli.data.point_sets:TwoMoons",
    "eight-gaussians": "nflow_cli.data.point_sets:EightGaussians",
    "spirals": "nflow_cli.data.point_sets:Spirals",
    "checkerboard": "nflow_cli.data.point_sets:Checkerboard",
    "rings": "nflow_cli.data.point_sets:Rings",
}

# Transformations of one column of a table.
COLUMN_MAPS = {
    "scale": "nflow_cli.data.column_maps:Scale",
    "log": "nflow_cli.data.column_maps:Log",
    "softplus": "nflow_cli.data.column_maps:Softplus",
    "tangent": "nflow_cli.data.column_maps:Tangent",
    "logit": "nflow_cli.data.column_maps:Logit",
    "tukey-h": "nflow_cli.data.column_maps:TukeyH",
    "asinh": "nflow_cli.data.column_maps:Asinh",
}

# Schemas of presets, by kind of run: the command, but `fit` without flows is of cells.
RUN_SCHEMAS = {
    "fit-2d": "nflow_cli.inference.fit_2d_config:Fit2DConfig",
    "infer": "nflow_cli.inference.infer_config:InferConfig",
    "fit": "nflow_cli.config.table:FitConfig",
    "cells": "nflow_cli.config.table:CellsConfig",
    "evidence": "nflow_cli.inference.evidence.evidence_config:EvidenceConfig",
    "train-vae": "nflow_cli.images.vae_config:VAEConfig",
}

# Kinds of runs, by the keys of their schemas: the modules of each.
RUN_KINDS = {
    "fit-2d": "nflow_cli.inference.reverse_kl_kind:FITS_TO_DENSITIES",
    "infer": "nflow_cli.inference.reverse_kl_kind:FITS_TO_DENSITIES",
    "fit": "nflow_cli.tables.table_kind:FLOWS",
    "cells": "nflow_cli.tables.table_kind:CELLS",
    "evidence": "nflow_cli.inference.evidence.evidence_kind:EVIDENCE",
    "train-vae": "nflow_cli.images.vae_kind:IMAGES",
}

# Classes of loaded runs, public names of the package.
LOADED = {
    "TrainedCells": "nflow_cli.tables.cells_loading:TrainedCells",
    "TrainedDensity": "nflow_cli.inference.reverse_kl_loading:TrainedDensity",
    "TrainedTable": "nflow_cli.tables.flows_loading:TrainedTable",
    "TrainedVAE": "nflow_cli.images.vae_loading:TrainedVAE",
}

# Default bases of targets.
TARGET_BASES = {"gaussian-from-uniform": "uniform-box"}
DEFAULT_BASE = "standard-normal"

# Default targets of `fit-2d --flow NAME`.
NATURAL_TARGETS = {"planar": "multimodal", "radial": "gaussian-from-uniform"}


def flow_hint(name: str) -> str:
    """Hint for an unknown flow: its name here, or the :func:`nearest` one."""
    flow = NAMES_ELSEWHERE.get(name.casefold())
    return f" ({name} is {flow!r} here)" if flow else nearest(name, list(FLOWS))


def subject_hint(name: str, known: list[str]) -> str:
    """Hint for an unknown target, density or point set: the command that it is of, or the
    :func:`nearest` one.
    """
    subjects = {"fit-2d --target": TARGETS, "infer": DENSITIES, "fit": POINT_SETS}
    for command, names in subjects.items():
        if name in names and name not in WITH_PARAMETERS:
            return f" (see `nflow {command} {name}`)"
    return nearest(name, known)


def resolve(place: str) -> Any:
    """Import the class or function at ``"module:name"``."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def make(places: Mapping[str, str], spec: Any) -> Any:
    """Object of a config's part: its ``name``, and the arguments of the class."""
    return resolve(places[spec.name])(**spec.model_dump(exclude={"name"}, exclude_none=True))


def nearest(name: str, known: list[str]) -> str:
    """`` (did you mean 'x'?)`` for the known name nearest to ``name``, or ""."""
    names_by_folded = {known_name.casefold(): known_name for known_name in known}
    matches = difflib.get_close_matches(str(name).casefold(), names_by_folded, n=1, cutoff=0.6)
    return f" (did you mean {names_by_folded[matches[0]]!r}?)" if matches else ""

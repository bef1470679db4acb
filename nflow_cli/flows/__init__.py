"""Normalizing flows as Keras layers, registered with Keras on import."""

from nflow_cli.backend.start import start_keras

start_keras()  # before any module imports Keras: silences native code

from nflow_cli.flows.flow_density import FlowDensity
from nflow_cli.flows.layer import Flow
from nflow_cli.flows.planar import PlanarFlow
from nflow_cli.flows.radial import RadialFlow
from nflow_cli.flows.sampling import GaussianSampling
from nflow_cli.flows.stack import FlowStack

__all__ = [
    "Flow",
    "FlowDensity",
    "FlowStack",
    "GaussianSampling",
    "PlanarFlow",
    "RadialFlow",
]

"""Normalizing flows as Keras layers. Importing this package registers them with Keras."""

from nflow_cli.backend import start_keras

start_keras()  # before any module imports Keras: native code would print lines of its own

from nflow_cli.flows.base import Flow
from nflow_cli.flows.planar import PlanarFlow
from nflow_cli.flows.radial import RadialFlow
from nflow_cli.flows.sampling import GaussianSampling
from nflow_cli.flows.stack import FlowStack

__all__ = [
    "Flow",
    "FlowStack",
    "GaussianSampling",
    "PlanarFlow",
    "RadialFlow",
]

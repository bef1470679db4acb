"""The density that the training of a fit to a table begins with."""

import numpy as np

from nflow_cli.config.schema import FitConfig
from nflow_cli.data.table_rows import TableRows
from nflow_cli.densities.linear_gaussian import LinearGaussian
from nflow_cli.densities.pushforward import FlowDensity
from nflow_cli.densities.row_model import RowModel
from nflow_cli.densities.rows import RowDensity
from nflow_cli.flows.side_by_side import stack_of
from nflow_cli.registry import BASES, resolve


def starting_density(config: FitConfig, data: TableRows) -> FlowDensity | RowDensity:
    """Return the density with the flows at their start, before an affine map that is fitted.

    That is the Gaussian of the rows, or their linear regression on what is given.
    """
    base = resolve(BASES[config.base_name])()
    if not config.is_plain:
        model = built_model(config)
        density = RowDensity(base, model, data.roles, data.units, data.given_units)
        start = LinearGaussian(density, data.train, data.weights.train)
        if config.flow.affine:
            regression = start.regression
            slope = regression.slope if data.roles.width else None
            model.flow.adapt(regression.intercept, regression.cholesky, slope)
        model.set_frequencies(start.shares)
        return density
    flow = stack_of(**config.flow.model_dump(), seed=config.seed, members=config.train.ensemble)
    flow.build((None, data.dim))
    if config.flow.affine:  # the last map starts as the Gaussian of the rows
        z = data.units.inside(data.train)
        covariance = np.cov(z, rowvar=False, bias=True).reshape(data.dim, data.dim)
        flow.adapt(z.mean(axis=0), np.linalg.cholesky(covariance))
    return FlowDensity(base, flow, data.units)


def model_arguments(config: FitConfig) -> dict:
    """Return the arguments of the model of a fit to a table that is more than modelled numbers."""
    roles = config.roles
    levels = [len(levels) for levels in roles.categories.values()]
    flow = config.flow.model_dump()
    rows = {"given_width": roles.given_width, "levels": levels}
    return {**flow, "seed": config.seed, **rows, "members": config.train.ensemble}


def built_model(config: FitConfig) -> RowModel:
    """Return that model at its start."""
    model = RowModel(**model_arguments(config))
    model.build((None, config.dim))
    return model

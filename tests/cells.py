"""Densities of cells whose weights are random and as large as trained ones."""

import itertools
from dataclasses import replace

import numpy as np

from nflow_cli.config.kinds import ColumnKind, Lattice
from nflow_cli.data.column_maps import Log, Logit, Scale, TukeyH
from nflow_cli.densities.cells import network
from nflow_cli.densities.cells.columns import CellColumn
from nflow_cli.densities.cells.density import CellDensity, Member
from nflow_cli.densities.cells.fitting import layout_of
from nflow_cli.densities.cells.marginal import Marginal, Normals
from nflow_cli.densities.cells.scores import Scores

UNITS = (Scale(1.0, 2.0),)
TAILS = (Scale(1.0, 2.0), TukeyH(0.02))
# Of columns of whole numbers from 0 on, and from 0 to 9.
POSITIVE = (Log(-0.5, "above"), Scale(0.4, 0.3))
BETWEEN = (Logit(-0.5, 9.5), Scale(0.0, 1.5))


def independent(density):
    """Return the density of independent columns: the marginals of another alone."""
    alone = [m._replace(shares=np.zeros_like(m.shares)) for m in density.networks[:1]]
    computed = [replace(one, broken=1.0) for one in density.computed]
    return CellDensity(density.cells, density.layout, density.marginals, alone, computed)


def levels(name, count, missing=False):
    texts = [f"level {i}" for i in range(count)]
    return CellColumn(name, ColumnKind(kind="levels", type="text", levels=texts, missing=missing))


def grid(name, step=0.5, offset=0.0, maps=UNITS, **facts):
    """Return a grid in normal scores."""
    lattice = Lattice(step=step, offset=offset)
    facts = {"decimals": 2, "lattice": lattice, "resolution": step, **facts}
    kind = ColumnKind(kind="grid", repeats=True, **facts)
    return scored(CellColumn(name, kind, maps, floor=0.01))


def day(name, middle=18_300.0, spread=5.0, **facts):
    """Return dates around 7 February 2020 with their weekday and season."""
    maps = (Scale(middle, spread),)
    facts = {"type": "date", "calendar": ["season", "weekday"], "decimals": 0, **facts}
    return grid(name, step=1.0, maps=maps, **facts)


def number(name, resolution=1e-3, maps=UNITS, decimals=3, **facts):
    """Return numbers, in normal scores if they have atoms."""
    facts = {"decimals": decimals, "resolution": resolution, **facts}
    column = CellColumn(name, ColumnKind(kind="number", repeats="atoms" in facts, **facts), maps)
    return scored(replace(column, floor=0.01))


def scored(column):
    """Return a column that repeats with its scores: steps at atoms and near the middle."""
    if not column.has_scores:
        return column
    rng = np.random.default_rng(5)
    some = column.values_at(rng.uniform(-1.0, 1.0, 6))
    values = np.unique(np.append(some, column.kind.atoms))
    masses = 0.6 * rng.dirichlet(np.full(len(values), 2.0))
    smooth = Normals(np.log([0.3, 0.7]), np.array([-0.5, 0.3]), np.array([0.7, 1.0]))
    scores = Scores(values, column.in_units(values)[0], masses, smooth)
    return replace(column, scores=scores)


def in_units(column):
    """Return a column without its scores."""
    return replace(column, scores=None)


def random_weights(layout, rng, blocks=2):
    """Return weights that say much of each cell by those before it, its scales within bounds."""
    weights = network.initial(layout, blocks, rng)
    sizes = {"logits_kernel": 1.5, "logits_skip_kernel": 0.7, "logits_bias": 1.0}
    sizes |= {"mixtures_kernel": 0.15, "means_skip_kernel": 0.2, "inputs_bias": 0.5}
    for name, size in sizes.items():
        if name in weights:
            weights[name] = size * rng.standard_normal(weights[name].shape)
    if layout.mixed:
        bias = np.zeros((len(layout.mixed), 3, layout.components))
        bias[:, 1], bias[:, 2] = np.linspace(-1.5, 1.5, layout.components), -0.5
        weights["mixtures_bias"] = bias.reshape(-1, 1)
    for name in weights:
        if name.startswith("block") and "out" in name:
            weights[name] = 0.3 * rng.standard_normal(weights[name].shape)
    return weights


def random_marginal(column, rng):
    shares = rng.dirichlet(np.ones(column.outcomes.count))
    mixture = np.log([0.3, 0.6, 0.1]), rng.normal(0, 0.5, 3), np.array([0.5, 1.0, 2.0])
    normals = Normals(*mixture) if column.has_numbers else Normals(*np.zeros((3, 0)))
    return Marginal(column.outcomes, np.log(shares), normals)


def random_density(columns, n_given=0, members=1, seed=0, width=16, shares=None):
    """Return a density of cells of columns; of networks alone where ``shares`` is 1."""
    rng = np.random.default_rng(seed)
    columns = [in_units(c) if i < n_given else c for i, c in enumerate(columns)]
    layout = layout_of(columns, n_given, 3, width)
    marginals = [random_marginal(column, rng) for column in columns][n_given:]
    networks = []
    for weight in np.random.default_rng([seed, 1]).dirichlet(np.full(members, 5.0)):
        weights = network.masked(layout, random_weights(layout, rng))
        count = len(layout.modelled)
        of_member = rng.uniform(0.2, 0.9, count) if shares is None else np.full(count, shares)
        networks.append(Member(weights, of_member, weight))
    return CellDensity(columns, layout, marginals, networks)


def values_of(column, reach=14.0):
    """Return all values of a column but numbers without a step, -1 for a new level.

    Of a column with bounds that were found, these are also some steps beyond them.
    """
    gap = [] if column.missing is None else [np.nan]
    if not column.has_numbers:
        return np.array([*range(len(column.first)), -1.0, *gap])
    if column.kind.kind == "number":
        return np.array([*(column.scores.values if column.scores else ()), *gap])
    low, high = column.values_at(np.array([-reach, reach]))
    step = column.step
    if column.kind.is_open:
        low, high = low - 90 * step, high + 90 * step
    return np.append(low + step * np.arange(round((high - low) / step) + 1), gap)


def quadrature(column, panels=12):
    """Return values ``(V,)`` of a column and weights of their probabilities: a sum is an integral.

    Of numbers, 16 of Gauss's points in each panel of t, units are sinh t, which a step ends; then
    steps and gaps.
    """
    others = values_of(column)
    if column.kind.kind != "number":
        return others, np.ones(len(others))
    steps = column.scores.units if column.scores else ()
    ends = np.sort([*np.linspace(-5.5, 5.5, panels + 1), *np.arcsinh(steps)])
    at, weights = np.polynomial.legendre.leggauss(16)
    low, high = ends[:-1, None], ends[1:, None]
    t = ((high + low) / 2 + (high - low) / 2 * at).ravel()
    weights = ((high - low) / 2 * weights).ravel() * np.cosh(t)
    values = np.sinh(t)
    for one in reversed(column.maps):
        values, log_slope = one.outside(values)
        weights = weights * np.exp(log_slope)
    weights = weights / column.step if column.scores else weights  # of a mass
    return np.append(values, others), np.append(weights, np.ones(len(others)))


def products(*values):
    """Return all rows ``(n, C)`` of values of each column."""
    return np.array(list(itertools.product(*values)), float)


def a_sample(columns, n, seed=0):
    """Return rows of all outcomes of columns, each by itself."""
    rng = np.random.default_rng(seed)
    rows = np.full((n, len(columns)), np.nan)
    for j, column in enumerate(columns):
        rows[:, j] = rng.choice(values_of(column, 1.5), n) if len(values_of(column)) else np.nan
        if column.kind.kind == "number":
            is_number = (rng.random(n) < 0.6) | (not column.outcomes.count > 1)
            rows[:, j] = np.where(is_number, column.values_at(rng.normal(0, 1, n)), rows[:, j])
    return rows

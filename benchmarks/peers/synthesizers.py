"""Draws of a table by other synthesizers, each by its defaults. Nothing of nflow is imported.

Columns of text, and of two values, are levels to them. arfpy 0.1.1 needs NumPy below 2.4.
"""

import warnings

import numpy as np
import pandas as pd


def read(path):
    """Return a CSV file as a DataFrame."""
    return pd.read_csv(path, keep_default_na=False, na_values=["", "NA"])


def gaussian_copula(train, levels):
    """Fit SDV's Gaussian copula."""
    from sdv import single_table
    from sdv.metadata import Metadata

    kinds = {name: "categorical" if name in levels else "numerical" for name in train}
    columns = {name: {"sdtype": kind} for name, kind in kinds.items()}
    metadata = Metadata.load_from_dict({"tables": {"table": {"columns": columns}}})
    synthesizer = single_table.GaussianCopulaSynthesizer(metadata)
    synthesizer.fit({"table": train})
    return lambda n: synthesizer.sample(n)["table"]


def arf(train, levels):
    """Fit an adversarial random forest; its numbers are rounded to the decimals of the rows."""
    from arfpy import arf as arfpy

    np.random.seed(0)
    forest = arfpy.arf(train, verbose=False)
    forest.forde()
    decimals = {name: places(train[name]) for name in train if name not in levels}
    return lambda n: forest.forge(n).astype(dict.fromkeys(decimals, float)).round(decimals)


def places(numbers):
    """Return the greatest number of decimals of a column, 0 of whole numbers."""
    texts = numbers.dropna().map(repr)
    return int(texts.str.extract(r"\.(\d+)$")[0].fillna("0").replace("0", "").str.len().max())


PEERS = {"gaussian-copula": gaussian_copula, "arf": arf}


def draw(name, path, n, files):
    """Fit a table, and write ``n`` draws into each of some files."""
    warnings.filterwarnings("ignore")
    train = read(path)
    texts = train.select_dtypes(exclude="number").columns
    levels = texts.union(train.columns[train.nunique() <= 2])
    train = train.astype(dict.fromkeys(levels, object))
    train[levels] = train[levels].map(str, na_action="ignore")
    sample = PEERS[name](train, set(levels))
    for file in files:
        sample(n).to_csv(file, index=False)

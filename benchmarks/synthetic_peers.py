"""Draws of a table by other synthesizers, each by its defaults, into CSV files.

    PYTHON synthetic_peers.py draw NAME TRAIN.csv N FILE.csv …
    PYTHON synthetic_peers.py detect ROWS.csv DRAWS.csv

Used by ``benchmarks.synthetic``. Nothing of nflow is imported: a peer may live in an environment of
its own. Columns of text, and of two values, are levels to it. ``detect`` prints the area under the
ROC curve of XGBoost's classifier, the mean of five folds.
"""

import sys
import warnings

import numpy as np
import pandas as pd


def read(path):
    """Return a CSV file as a DataFrame."""
    return pd.read_csv(path, keep_default_na=False, na_values=["", "NA"])


def sdv(name, **options):
    """Return a fit by a synthesizer of SDV for one table."""

    def fit(train, levels):
        from sdv import single_table
        from sdv.metadata import Metadata

        kinds = {name: "categorical" if name in levels else "numerical" for name in train}
        columns = {name: {"sdtype": kind} for name, kind in kinds.items()}
        metadata = Metadata.load_from_dict({"tables": {"table": {"columns": columns}}})
        synthesizer = getattr(single_table, name)(metadata, **options)
        synthesizer.fit({"table": train})
        return lambda n: synthesizer.sample(n)["table"]

    return fit


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


PEERS = {
    "gaussian-copula": sdv("GaussianCopulaSynthesizer"),
    # By default marginals are beta distributions, whose fit to few whole numbers may diverge.
    "gaussian-copula-kde": sdv("GaussianCopulaSynthesizer", default_distribution="gaussian_kde"),
    "ctgan": sdv("CTGANSynthesizer"),
    "arf": arf,
}


def draw(name, path, n, *files):
    """Fit a table, and write ``n`` draws into each of some files."""
    train = read(path)
    texts = train.select_dtypes(exclude="number").columns
    levels = texts.union(train.columns[train.nunique() <= 2])
    train = train.astype(dict.fromkeys(levels, object))
    train[levels] = train[levels].map(str, na_action="ignore")
    sample = PEERS[name](train, set(levels))
    for file in files:
        sample(int(n)).to_csv(file, index=False)


def detect(rows, draws):
    """Print how well XGBoost distinguishes draws from rows; levels are categories."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from xgboost import XGBClassifier

    tables = [read(path) for path in (rows, draws)]
    x = pd.concat([tables[0], tables[1][tables[0].columns]])
    levels = x.select_dtypes(exclude="number").columns
    x = x.astype(dict.fromkeys(levels, "category"))
    y = np.repeat([0, 1], [len(table) for table in tables])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    classifier = XGBClassifier(enable_categorical=True, n_jobs=1, random_state=0)
    print(cross_val_score(classifier, x, y, scoring="roc_auc", cv=folds).mean())


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    {"draw": draw, "detect": detect}[sys.argv[1]](*sys.argv[2:])

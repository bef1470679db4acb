"""Folds of chains: the rows that each density is fitted to."""

import numpy as np

from nflow_cli.data.draws import Draws

VALIDATION = 5  # the last fifth of each part is validation


def fold_rows(draws: Draws) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Training and validation rows of each fold's density: of the parts of other folds."""
    train, validation = [], []
    for fold in range(draws.n_folds):
        others = [part for part, of in zip(draws.parts, draws.folds) if of != fold]
        ends = [len(part) - len(part) // VALIDATION for part in others]
        train.append(np.concatenate([part[:end] for part, end in zip(others, ends)]))
        validation.append(np.concatenate([part[end:] for part, end in zip(others, ends)]))
    return train, validation

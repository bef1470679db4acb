"""Imputations by miceforest. Nothing of nflow is imported."""

import miceforest
import pandas

ITERATIONS = 5


def by_miceforest(folder: str, levels: list[str], datasets: int) -> None:
    """Write ``filled.csv``: the rows of ``gaps.csv`` of a folder, filled some times by draws, one
    after another.
    """
    gaps = pandas.read_csv(f"{folder}/gaps.csv")
    gaps = gaps.astype(dict.fromkeys(levels, "category"))
    kernel = miceforest.ImputationKernel(gaps, num_datasets=datasets, random_state=0)
    kernel.mice(ITERATIONS)
    filled = [kernel.complete_data(dataset=k) for k in range(datasets)]
    pandas.concat(filled).to_csv(f"{folder}/filled.csv", index=False)

"""A user's script without an unknown type: `.ci/run` checks it by pyright, and nobody runs it."""

from os import scandir
from typing import Any, assert_type

import numpy as np
import pandas as pd  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

import nflow_cli
from nflow_cli import TrainedCells, TrainedDensity, TrainedTable, TrainedVAE

Floats = NDArray[np.float64]
frame = pd.DataFrame({"price": [1.0, 2.0], "town": ["a", "b"]})
columns = {"price": np.array([1.0, 2.0]), "town": ["a", None]}

q = nflow_cli.fit(frame, bounds={"price": (0, None)}, discrete=["price"], missing="drop")
assert_type(q, TrainedCells)
assert_type(q.predict(frame, "price", coverage=0.9), pd.DataFrame)
assert_type(q.log_prob(columns), Floats)
assert_type(q.sample(10, seed=1, given={"town": "a"}), Floats)
assert_type(q.summary, dict[str, Any])
assert_type(q.impute(columns)["price"].to_numpy(), NDArray[Any])
assert_type(q.sample_table(10).to_pandas(), pd.DataFrame)
print(q.warnings[0].reason, q.drift(frame).p_value, q.path.name)

flows = nflow_cli.fit(columns, flow=["planar", {"affine": {"full": True}}], settings={"seed": 1})
assert_type(flows, TrainedTable)
assert_type(flows.latent(np.zeros((3, 2))), NDArray[np.floating[Any]])
assert_type(nflow_cli.fit("rows.csv", k=8, preset="flows"), TrainedTable)
assert_type(nflow_cli.fit([[1.0, 2.0]], preset="cells"), TrainedCells | TrainedTable)


def normal(x: Floats) -> tuple[Floats, Floats]:
    """Return the log-density of points (n, 2), and its gradient."""
    return -(x**2).sum(axis=-1) / 2, -x


posterior = nflow_cli.infer(normal, dim=2, base="student-t")
assert_type(posterior, TrainedDensity)
assert_type(nflow_cli.infer(lambda x: -(x[:, 0] ** 2), dim=1), TrainedDensity)
assert_type(posterior.sample(10), NDArray[np.floating[Any]])

for entry in scandir("outputs"):
    run = nflow_cli.load(entry)
    if isinstance(run, TrainedCells):
        assert_type(run.explain(frame), pd.DataFrame)
    elif isinstance(run, TrainedVAE):
        assert_type(run.sample(5), NDArray[np.float32])
    else:
        assert_type(run, TrainedDensity | TrainedTable)
        assert_type(run.log_prob([[0.0, 1.0]]), NDArray[np.floating[Any]])

nflow_cli.fit(frame, step=100)  # pyright: ignore[reportCallIssue]
nflow_cli.fit(frame, missing="keep")  # pyright: ignore[reportArgumentType]
nflow_cli.fit(3)  # pyright: ignore[reportArgumentType]

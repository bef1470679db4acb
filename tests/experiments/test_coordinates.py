"""Coordinates of the variables of a model."""

import numpy as np

from nflow_cli.experiments.infer.coordinates import Variable, coordinates_of


def test_elements_have_names_and_bounds_of_their_own():
    names, bounds = coordinates_of(
        [
            Variable("mu", ()),
            Variable("tau", (), low=0.0),
            Variable("u", (2,), low=[-1.0, -np.inf], high=np.float32(2)),
            Variable("L", (1, 2), high=1.0),
            Variable("theta", (2,), labels=[["Choate", 7]]),
        ]
    )
    assert names == ["mu", "tau", "u[0]", "u[1]", "L[0, 0]", "L[0, 1]", "theta[Choate]", "theta[7]"]
    assert bounds == {
        "tau": [0.0, None],
        "u[0]": [-1.0, 2.0],
        "u[1]": [None, 2.0],
        "L[0, 0]": [None, 1.0],
        "L[0, 1]": [None, 1.0],
    }

"""What `fit` and `infer` in Python take as lists and mappings, and refuse in one line."""

from pathlib import Path

import numpy as np
import pytest

import nflow_cli
from nflow_cli.errors import ConfigError
from nflow_cli.experiments.python_arguments import changes_of

X = np.random.default_rng(0).standard_normal((50, 3))
TABLE = {"a": X[:, 0], "b": X[:, 1], "ab": X[:, 2]}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"columns": "ab"}, 'columns: expected a list, such as ["a", "b"]. Received: \'ab\''),
        ({"exclude": 3}, 'exclude: expected a list, such as ["a", "b"]. Received: 3'),
        ({"flow": "planar"}, 'flow: expected a list, such as ["planar", "radial"]. Received: '),
        ({"discrete": "ab"}, "discrete: expected a list, "),
        ({"categorical": "ab"}, "categorical: expected a list, "),
        ({"bounds": [("a", 0)]}, 'bounds: expected a mapping, such as {"a": (0, None)}. Received'),
        ({"bounds": {"a": 0}}, "bounds: expected a mapping to pairs, such as "),
        ({"colums": ["a"]}, "colums: no argument of fit (did you mean 'columns'?)"),
        ({"settings": {3: 4}}, "settings: expected a mapping, such as "),
    ],
)
def test_one_name_is_no_list_of_letters_and_a_wrong_type_is_one_line(arguments, expected):
    with pytest.raises(ConfigError) as caught:
        nflow_cli.fit(TABLE, **arguments)
    assert str(caught.value).startswith(expected) and "\n" not in str(caught.value)
    if arguments.keys() & {"bounds", "flow", "settings"}:
        with pytest.raises(ConfigError) as caught:
            nflow_cli.infer("banana", **arguments)
        assert str(caught.value).startswith(expected)


def test_every_option_of_the_command_is_an_argument():
    options = {"max_rows": 50, "test": Path("t.csv"), "epochs": 1.5, "discrete": {"a": 0.5}}
    changes = {change.path: change.value for change in changes_of("fit", options)}
    assert changes.pop("data.test") == "t.csv"
    assert changes == {"data.max_rows": 50, "train.epochs": 1.5, "data.discrete": {"a": 0.5}}
    assert changes_of("infer", {"compile": False, "seed": None}) == [
        ("train.compile", "train.compile", False)
    ]


def test_an_array_of_names_as_the_index_of_a_data_frame_is_a_list():
    for columns in (np.array(["a", "b"]), ("a", "b")):
        (change,) = changes_of("fit", {"columns": columns})
        names = change.value
        assert names == ["a", "b"] and all(type(name) is str for name in names)

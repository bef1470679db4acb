import pytest

from nflow_cli.config.keys import differing, flat, is_within, without

NESTED = {"seed": 0, "train": {"steps": 3, "annealing": {"start": 0.5}}, "pattern": ["planar"]}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], NESTED),
        (["train.steps"], {**NESTED, "train": {"annealing": {"start": 0.5}}}),
        (["train", "seed"], {"pattern": ["planar"]}),
        (["steps", "train.step"], NESTED),
    ],
)
def test_keys_are_left_out_where_they_stand(keys, expected):
    assert without(NESTED, keys) == expected


def test_a_config_is_flattened_to_dotted_keys_and_text():
    assert dict(flat(NESTED)) == {
        "seed": "0",
        "train.steps": "3",
        "train.annealing.start": "0.5",
        "pattern": '["planar"]',
    }


def test_two_configs_differ_in_the_keys_that_one_has_not_too():
    assert differing(NESTED, without(NESTED, ["train.annealing"])) == ["train.annealing.start"]
    assert differing(NESTED, {**NESTED, "seed": 1}) == ["seed"]
    assert not differing(NESTED, NESTED)


def test_a_key_is_within_itself_and_what_is_above_it():
    assert is_within("train.steps", "train") and is_within("train", "train")
    assert not is_within("training", "train")

"""Presets that would take all the time or memory there is."""

from pathlib import Path

import pytest

from nflow_cli.config import presets
from nflow_cli.errors import ConfigError


def complaint(tmp_path, text):
    """Return what is wrong with a preset, after the name of its file."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        presets.validate(presets.read_preset(path), str(path))
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and "\n" not in line and len(line) < 600
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    "text",
    [10**6 * "[", 500_000 * "- ", "seed: [" + 500_000 * "1,", 130_000 * "a: {", 250_000 * "x y "],
    ids=["brackets", "dashes", "items", "maps", "words"],
)
def test_a_large_file_is_refused(tmp_path, text):
    complaint(tmp_path, text)


def test_a_file_beyond_a_mebibyte_is_not_parsed(tmp_path):
    text = "command: fit-2d\n" + (presets.MAX_BYTES - 15) * "#"
    assert complaint(tmp_path, text) == "expected a preset of at most 1,048,576 bytes"
    assert presets.parse_yaml(text[:-1], "mine") == {"command": "fit-2d"}
    with pytest.raises(ConfigError, match=r"/dev/zero: expected a preset of at most"):
        presets.read_preset(Path("/dev/zero"))


def test_a_mixture_of_a_thousand_gaussians_is_within_the_limits_however_its_lists_are_shared():
    mixture = {
        "name": "mixture",
        "weights": 1000 * [1],
        "means": [[i, i] for i in range(1000)],
        "covariances": 1000 * [[[1, 0], [0, 1]]],  # one list, which YAML would write as an alias
    }
    resolved = presets.validate({"command": "fit-2d", "target": mixture}, "mine")
    text = presets.dump(resolved)
    assert presets.validate(presets.parse_yaml(text, "mine"), "mine") == resolved


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (30_000 * "- ", "nested deeper than 20 levels"),
        ("\udcff", "not valid YAML"),
    ],
)
def test_a_value_of_set_keeps_to_the_limits_of_a_file(value, expected):
    with pytest.raises(ConfigError, match=expected) as caught:
        presets.parse_assignment(f"seed={value}")
    assert str(caught.value).startswith("--set seed: ")
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


@pytest.mark.parametrize("command", ["fit", "train-vae"])
def test_no_path_is_longer_than_paths_are(tmp_path, command):
    line = complaint(tmp_path, f"command: {command}\ndata: {{name: {5000 * 'a'}}}\n")
    assert line.startswith("data.name: expected text of at most 4096 letters")


@pytest.mark.parametrize(
    "text",
    [
        "model: {hidden: [100000, 100000]}",
        "model: {hidden: [100000], latent_dim: 10000}",
        "model: {network: maxout, hidden: [20000]}",
        "model: {network: gated-conv, hidden: [100000]}",
        "flow: {k: 10000}",
    ],
)
def test_a_vae_that_would_take_all_the_memory_is_refused(tmp_path, text):
    line = complaint(tmp_path, f"command: train-vae\n{text}\n")
    assert line.startswith("flow: expected at most 100,000,000 weights in all, not about ")


def test_a_posterior_of_flows_that_take_d_passes_is_refused(tmp_path):
    line = complaint(tmp_path, "command: train-vae\nflow: {pattern: [affine-autoregressive]}\n")
    expected = (
        "flow: expected inverse-autoregressive in place of affine-autoregressive: a posterior "
    )
    assert line.startswith(expected)


def test_the_prior_of_a_vae_counts_among_its_weights(tmp_path):
    line = complaint(tmp_path, "command: train-vae\nflow: {k: 2500}\nprior: {k: 1500}\n")
    assert line.startswith("prior: expected at most 100,000,000 weights in all, not about ")

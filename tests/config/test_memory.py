"""What a config takes of the machine: memory by chunks of updates, and threads."""

import pytest

from nflow_cli.config import presets
from nflow_cli.config.column_kinds import ColumnKind
from nflow_cli.config.run_config import CHUNK


def settings(command="fit-2d", **changes):
    return presets.validate({"command": command, **changes}, "a test")


def preset(name, **changes):
    shipped = presets.read_preset(presets.find_preset(name))
    return presets.validate(presets.override(shipped, changes), "a test")


def test_every_preset_keeps_its_chunks():
    for path in presets.shipped_presets().values():
        data = presets.read_preset(path)
        if data["command"] != "sweep":
            shipped = presets.validate(data, path.name)
            assert shipped.in_memory == (shipped, "")


@pytest.mark.parametrize(
    ("command", "changes", "numbers"),
    [
        ("fit-2d", {"train": {"batch_size": 10**6}}, 2),
        ("fit-2d", {"train": {"batch_size": 10**5, "restarts": 100, "chunk": 100_000}}, 2),
        ("fit-2d", {"train": {"chunk": 100_000, "batch_size": 10_000}}, 2),
        ("train-vae", {"train": {"batch_size": 10_000}, "model": {"latent_dim": 16}}, 800),
    ],
)
def test_a_chunk_holds_as_many_updates_as_fit_and_nothing_else_is_changed(
    command, changes, numbers
):
    asked = settings(command, **changes)
    fits, note = asked.in_memory
    samples = asked.train.batch_size * getattr(asked.train, "restarts", 1)
    assert fits.train.chunk * samples * numbers <= CHUNK
    assert (fits.train.chunk + 1) * samples * numbers > CHUNK
    before = f"{asked.train.chunk:,}"
    assert note == f"train.chunk: {fits.train.chunk:,} instead of {before}, to fit in memory"
    restored = fits.train.model_copy(update={"chunk": asked.train.chunk})
    assert fits.model_copy(update={"train": restored}) == asked
    assert fits.in_memory == (fits, "")


def test_a_chunk_has_an_update_at_least():
    fits, _ = settings(train={"batch_size": 10**6, "restarts": 100}).in_memory
    assert fits.train.chunk == 1


def test_small_flows_take_one_thread_and_others_what_tensorflow_does():
    for name in ("multimodal-planar", "u1-planar-k32", "gaussian-from-uniform-radial"):
        assert preset(name).threads == 1
    assert preset("mnist").threads is None
    assert preset("infer", density="funnel").threads is None  # what the density takes is unknown
    table = preset("flows")  # and so are its columns, until it is settled
    assert table.threads is None
    kinds = {name: ColumnKind(kind="number") for name in "abcd"}
    assert table.settled(kinds, 100_000).threads is None
    assert table.settled(kinds, 100).threads == 1

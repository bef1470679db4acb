import pytest

from nflow_cli.config import memory, preset_files, presets
from nflow_cli.errors import ConfigError


def bounded(settings):
    return memory.bounded(settings)


def expect_memory(settings):
    memory.expect_memory(settings)


def settings(command="fit-2d", **changes):
    return presets.validate({"command": command, **changes}, "a test")


def test_every_preset_keeps_its_chunks_and_is_let_through():
    for path in preset_files.shipped_presets().values():
        data = presets.read_preset(path)
        if data["command"] != "sweep":
            preset = presets.validate(data, path.name)
            assert bounded(preset) == (preset, "")
            expect_memory(preset)


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
    fits, note = bounded(asked)
    samples = asked.train.batch_size * getattr(asked.train, "restarts", 1)
    assert fits.train.chunk * samples * numbers <= memory.CHUNK
    assert (fits.train.chunk + 1) * samples * numbers > memory.CHUNK
    before = f"{asked.train.chunk:,}"
    assert note == f"train.chunk: {fits.train.chunk:,} instead of {before}, to fit in memory"
    restored = fits.train.model_copy(update={"chunk": asked.train.chunk})
    assert fits.model_copy(update={"train": restored}) == asked
    assert bounded(fits) == (fits, "")


def test_a_chunk_has_an_update_at_least():
    fits, _ = bounded(settings(train={"batch_size": 10**6, "restarts": 100}))
    assert fits.train.chunk == 1


@pytest.mark.parametrize(
    ("command", "changes"),
    [
        ("fit-2d", {"train": {"batch_size": 10**6, "restarts": 100, "chunk": 500}}),
        ("fit-2d", {"flow": {"k": 10_000}, "train": {"batch_size": 10**6, "chunk": 1}}),
        (
            "train-vae",
            {"flow": {"k": 3_000}, "model": {"hidden": [9]}, "train": {"batch_size": 50_000}},
        ),
        (
            "train-vae",
            {"prior": {"k": 1_000}, "model": {"hidden": [9]}, "train": {"batch_size": 50_000}},
        ),
        (
            "train-vae",
            {"model": {"network": "gated-conv", "hidden": [256]}, "train": {"batch_size": 40_000}},
        ),
    ],
)
def test_what_this_machine_has_no_memory_for_is_refused(command, changes, monkeypatch):
    monkeypatch.setattr(memory.os, "sysconf", {"SC_PHYS_PAGES": 2**24, "SC_PAGE_SIZE": 2**12}.get)
    with pytest.raises(ConfigError, match="not enough memory") as caught:
        expect_memory(settings(command, **changes))
    assert "this machine has 69;" in str(caught.value)

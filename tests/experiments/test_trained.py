"""A run that is loaded is the density that was trained, or refused before any of it is read."""

import io
import json
import os
import pickle
import shutil
import zipfile
from copy import deepcopy as copied
from html.parser import HTMLParser

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from short_runs import BOX, MIXED, VAE, edit_description, edit_json, edit_member, edit_weights
from truth import push, to_numpy

import nflow_cli
from nflow_cli.config import presets
from nflow_cli.densities.bases import StandardNormal, UniformBox
from nflow_cli.errors import ConfigError, DataError, NflowError
from nflow_cli.experiments.run import Run
from nflow_cli.images import vae_loading
from nflow_cli.images.vae import FlowVAE
from nflow_cli.inference.targets import Multimodal
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def mixed(short_run):
    return short_run(**MIXED)


@pytest.fixture(scope="module")
def boxed(short_run):
    return short_run(**BOX)


@pytest.fixture(scope="module")
def vae(short_run):
    return short_run(**VAE)


@pytest.fixture
def copy(mixed, tmp_path):
    return shutil.copytree(mixed, tmp_path / "copy")


def test_the_density_of_a_run_is_that_of_its_base_and_flows(mixed, boxed):
    for run, base in ((mixed, StandardNormal()), (boxed, UniformBox())):
        q = nflow_cli.load(str(run))
        assert type(q.base) is type(base)
        (_, x, log_q), *_ = q.batches(1_000, seed=3)
        np.testing.assert_array_equal(q.sample(1_000, seed=3), x)
        np.testing.assert_allclose(q.log_prob(x), log_q, atol=1e-4)
        z0 = q.latent(x)
        np.testing.assert_allclose(push(q.flow, z0)[0], x, atol=1e-4)
        np.testing.assert_allclose(q.from_latent(z0), x, atol=1e-4)
        log_q0 = to_numpy(base.log_prob(ops.convert_to_tensor(z0)))
        np.testing.assert_allclose(log_q, log_q0 - push(q.flow, z0)[1], atol=2e-4)


def test_a_number_or_a_seed_that_counts_nothing_is_refused(mixed, vae):
    model = nflow_cli.load(vae)
    for n in (-1, 2.5, "5", True, None):
        with pytest.raises(DataError, match=rf"expected a whole number.*Received: n={n!r}"):
            model.sample(n)
    for seed in (1.5, True, "1", -1):
        with pytest.raises(ConfigError, match=rf"expected a whole.*Received: seed={seed!r}"):
            model.sample(5, seed=seed)
    np.testing.assert_array_equal(model.sample(np.int64(3), np.int64(1)), model.sample(3, 1))
    for n in (10**15, 10**30):
        for one, size in ((nflow_cli.load(mixed), 8), (model, 28 * 28 * 4)):
            with pytest.raises(DataError, match="fit in memory") as refused:
                one.sample(n)
            assert str(refused.value).endswith(f"n={n:,}, of {n * size / 2**30:,.0f} GiB")


def test_what_is_loaded_says_what_it_is(mixed, vae):
    q = nflow_cli.load(mixed)
    assert (q.path, q.flow.k, q.config.target.name) == (mixed, 5, "multimodal")
    assert isinstance(q.target, Multimodal)
    assert nflow_cli.load(vae).model.latent_dim == 2
    with os.scandir(mixed.parent) as entries:
        (entry,) = [entry for entry in entries if entry.name == mixed.name]
    assert nflow_cli.load(entry).path == mixed


class Cells(HTMLParser):
    """Collects the tags of a piece of HTML, and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts = set(), []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize(
    ("name", "row", "key"), [("mixed", "KL(q || p)", "kl"), ("vae", "-ELBO", "negative_elbo")]
)
def test_what_is_loaded_shows_its_scores_its_warnings_and_its_path(name, row, key, request):
    q = nflow_cli.load(run := request.getfixturevalue(name))
    *rows, path = repr(q).splitlines()
    assert q.summary == json.loads((run / "summary.json").read_text())
    (score,) = [line for line in rows if line.startswith(row)]
    assert f"{q.summary[key]:.2f}" in score and path == str(q.path) == str(run)
    assert [[c.word, list(c.figures)] for c in q.warnings] == [
        [recorded["word"], recorded["figures"]] for recorded in q.summary["warnings"]
    ]
    assert all(f"[{warning.word}]" in repr(q) for warning in q.warnings)
    cells = Cells(q._repr_html_())
    assert cells.tags == {"table", "tr", "th", "td", "p"}
    assert "".join("".join(cells.texts).split()) == "".join(repr(q).split())


def test_what_a_strangers_summary_says_is_text_in_html(copy):
    edit_json(copy / "summary.json", flow="<script>alert(1)</script>\x1b[31m")
    q = nflow_cli.load(copy)
    assert "<script" not in q._repr_html_() and "&lt;script&gt;" in q._repr_html_()
    assert "\x1b" not in repr(q) + q._repr_html_()


def test_a_run_without_a_sound_summary_shows_its_path(copy):
    for text in (None, "", "[]", "{}", '{"kl": {}, "restarts": 3, "flow": []}'):
        (copy / "summary.json").unlink(missing_ok=True)
        if text is not None:
            (copy / "summary.json").write_text(text)
        q = nflow_cli.load(copy)
        assert (repr(q), q._repr_html_()) == (f"<TrainedDensity of {copy}>", None)
        if not text:
            with pytest.raises(NflowError, match=r"summary\.json"):
                assert q.summary


def test_a_copy_of_what_is_loaded_is_the_same(mixed):
    q = nflow_cli.load(mixed)
    x = q.sample(5)
    for other in (copied(q), pickle.loads(pickle.dumps(q))):
        np.testing.assert_array_equal(other.log_prob(x), q.log_prob(x))
        assert repr(other) == repr(q)


def test_a_vae_draws_images_from_its_prior(tmp_path):
    prior = {"pattern": ["planar"], "k": 0, "affine": "full"}
    model = FlowVAE(2, "relu", [16], ["planar"], 2, prior=prior)
    model.prior.last["shift"].assign([3.0, -2.0])
    run = Run(RunDirectory(tmp_path), presets.validate({"command": "train-vae"}, "a test"))
    images = vae_loading.TrainedVAE(run, model).sample(4, seed=1)
    noise = stream(1, "samples").standard_normal((4, 2), np.float32)
    expected = to_numpy(model.decode(noise + np.array([3.0, -2.0], np.float32)))
    np.testing.assert_allclose(images, expected, atol=1e-6)


def test_a_vae_gives_images(vae, monkeypatch):
    monkeypatch.setattr(vae_loading, "BATCH", 8)
    model = nflow_cli.load(vae)
    images = model.sample(20, seed=1)
    assert (images.shape, images.dtype) == ((20, 28, 28), np.float32)
    assert images.min() >= 0 and images.max() <= 1
    np.testing.assert_allclose(model.sample(9, seed=1), images[:9], atol=1e-6)
    assert np.abs(model.sample(20, seed=2) - images).max() > 1e-3
    assert len(np.unique(images, axis=0)) == 20
    with pytest.raises(NflowError, match="nflow evaluate RUN"):
        model.log_prob(np.zeros((1, 2)))


def complaint(run):
    with pytest.raises(NflowError) as caught:
        nflow_cli.load(run)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


def test_no_run_and_an_unfinished_run_are_one_line(tmp_path, copy):
    assert "no such run directory" in complaint(tmp_path / "nowhere")
    assert "not a run directory" in complaint(tmp_path)
    (copy / "model.keras").unlink()
    line = complaint(copy)
    assert line.startswith(f"{copy / 'model.keras'}: missing") and "status" in line
    (copy / "model.keras").mkdir()
    assert complaint(copy).startswith(f"{copy / 'model.keras'}: ")
    (copy / "config.yaml").unlink()
    assert str(copy / "config.yaml") in complaint(copy)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def flipped(path):
    edit_member(path, "model.weights.h5", lambda content: content[:2000] + bytes(len(content)))


def short_weights(path):
    edit_member(path, "model.weights.h5", lambda content: content[:2000])


@pytest.mark.parametrize("damage", [cut, empty, flipped, short_weights])
def test_a_damaged_model_is_one_line_that_names_it(copy, damage):
    damage(copy / "model.keras")
    assert complaint(copy).startswith(f"{copy / 'model.keras'}: damaged: expected the model")


def test_another_kind_of_model_is_refused_before_it_is_built(copy):
    foreign = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x * 2)])
    foreign.save(copy / "model.keras")
    line = complaint(copy)
    assert line == f"{copy / 'model.keras'}: expected a FlowStack of nflow, received 'Sequential'"


def test_code_in_a_model_is_never_run(copy, tmp_path):
    made = tmp_path / "made-by-code"
    payload = {
        "module": "os",
        "class_name": "mkdir",
        "config": {"name": str(made)},
        "registered_name": "mkdir",
    }

    def hide(data):
        data["config"]["dtype"] = payload

    edit_description(copy, hide)
    assert "dtype: expected float32" in complaint(copy)
    assert not made.exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: data["config"].update(k=4), "k: expected 5, received 4"),
        (lambda data: data["config"].update(k=10**9), "k: expected 5, received 1000000000"),
        (lambda data: data["config"].update(pattern=["planar"]), "pattern: expected"),
        (lambda data: data["config"].update(dtype="float64"), "dtype: expected float32, received"),
        (lambda data: data["build_config"].update(input_shape=[None, 10**9]), "dimensions"),
        (lambda data: data.update(config=None), "damaged"),
        (lambda data: data.clear(), "damaged"),
    ],
)
def test_a_model_that_is_not_of_the_config_is_refused_before_it_is_built(copy, change, expected):
    edit_description(copy, change)
    line = complaint(copy)
    assert line.startswith(f"{copy / 'model.keras'}: ") and expected in line


@pytest.mark.parametrize("name", ["mixed", "vae"])
def test_a_model_of_weights_that_are_not_finite_is_refused(name, tmp_path, request, invoke):
    run = shutil.copytree(request.getfixturevalue(name), tmp_path / "copy")
    edit_weights(run, lambda weights: [np.full_like(weights[0], np.nan), *weights[1:]])
    with pytest.raises(NflowError, match="weights are not finite"):
        nflow_cli.load(run)
    for args in (["evaluate", run], ["sample", run, "-n", 5, "-o", "points.npy"]):
        result = invoke(*args)
        assert result.exit_code == 1 and result.stderr.count("\n") == 1, result.stderr


def rewrite_weights(run, change):
    """Change the HDF5 file of the weights of ``model.keras`` in place."""

    def edited(content):
        file = io.BytesIO(content)
        with h5py.File(file, "r+") as weights:
            change(weights)
        return file.getvalue()

    edit_member(run / "model.keras", "model.weights.h5", edited)


def replaced(shape=None, start=None, **options):
    """Return what puts another dataset in the place of the first array."""

    def change(weights):
        own = weights["vars/0"].shape
        del weights["vars/0"]
        dataset = weights.create_dataset("vars/0", shape or own, "f4", **options)
        if start is not None:
            dataset[:2] = start

    return change


VAST = (2**29, 2)  # a few hundred bytes that stand for 4 GB: never written
OUTSIDE = [("/dev/zero", 0, h5py.h5f.UNLIMITED)]


def virtual(weights):
    shape = weights["vars/0"].shape
    del weights["vars/0"]
    layout = h5py.VirtualLayout(shape, "f4")
    layout[:] = h5py.VirtualSource("other.h5", "data", shape)
    weights.create_virtual_dataset("vars/0", layout)


def soft_link(weights):
    weights.move("vars/0", "kept")
    weights["vars/0"] = h5py.SoftLink("/kept")


def external_link(weights):
    del weights["vars/0"]
    weights["vars/0"] = h5py.ExternalLink("/etc/other.h5", "/data")


def endless(weights):
    weights["vars/again"] = weights["vars"]


def one_more(weights):
    weights["vars/99"] = np.zeros(3, "f4")


def doubles(weights):
    values = weights["vars/0"][:]
    del weights["vars/0"]
    weights["vars/0"] = values.astype("f8")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (replaced(VAST), "never written"),
        (replaced(VAST, 1, chunks=(2**20, 2), compression="gzip"), "compressed"),
        (replaced(start=1, compression="gzip"), "compressed"),
        (replaced(), "never written"),
        (replaced(external=OUTSIDE), "compressed, or was never written"),
        (virtual, "compressed, or was never written"),
        (soft_link, "is a link"),
        (external_link, "is a link"),
        (endless, "occurs twice"),
        (one_more, "other shapes"),
        (doubles, "other shapes"),
    ],
)
def test_weights_of_other_shapes_or_places_are_refused_before_they_are_read(
    copy, change, expected, monkeypatch
):
    rewrite_weights(copy, change)
    monkeypatch.setattr(keras.saving, "load_weights", None)
    line = complaint(copy)
    assert line.startswith(f"{copy / 'model.keras'}: damaged: ") and expected in line


def add_zeros(name):
    """Return what adds to a member of ``model.keras`` 256 MB of zeros, deflated to 1 MB."""

    def add(path):
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for member, content in members.items():
                with archive.open(member, "w", force_zip64=True) as file:
                    file.write(content)
                    for _ in range(2**6 if member == name else 0):
                        file.write(bytes(2**22))

    return add


def add_a_file(path):
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/code.py", "")


def make_vast(path):
    with path.open("r+b") as file:
        file.truncate(2**40)  # takes no room on the disk


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (add_zeros("model.weights.h5"), "too large, or compressed"),
        (add_zeros("config.json"), "too large, or compressed"),
        (add_a_file, "its files are not config.json, metadata.json, model.weights.h5"),
        (make_vast, "expected at most"),
    ],
    ids=["weights", "description", "another file", "the whole"],
)
def test_a_model_file_larger_than_its_model_is_refused_unread(copy, change, expected, monkeypatch):
    change(copy / "model.keras")
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    line = complaint(copy)
    assert line.startswith(f"{copy / 'model.keras'}: damaged: ") and expected in line


def test_what_is_loaded_has_the_weights_that_keras_reads(mixed, vae):
    for run in (mixed, vae):
        trained_model = nflow_cli.load(run)
        model = trained_model.flow if run == mixed else trained_model.model
        expected = keras.saving.load_model(run / "model.keras", compile=False)
        for weight, other in zip(model.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(weight, other)

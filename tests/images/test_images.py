"""Data sets of images: read, downloaded, refused, and turned into bits."""

import hashlib
import http.server
import io
import os
import stat
import threading
import time
import zipfile
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import nflow_cli
from nflow_cli.errors import DataError
from nflow_cli.images import images
from nflow_cli.images.images import BINARIZATIONS, binarize, load_images
from nflow_cli.runs import npz as npz_files

RNG = np.random.default_rng(5)
X_TRAIN = RNG.integers(0, 256, (6, 28, 28), dtype=np.uint8)
X_TEST = RNG.integers(0, 256, (4, 28, 28), dtype=np.uint8)
Y_TRAIN, Y_TEST = np.arange(6, dtype=np.uint8), np.arange(4, dtype=np.uint8)
GOOD = {"x_train": X_TRAIN, "y_train": Y_TRAIN, "x_test": X_TEST, "y_test": Y_TEST}


def npz(compression=zipfile.ZIP_DEFLATED, **replaced):
    """Return the bytes of a good file with some of its arrays (or .npy contents) replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for key, array in {**GOOD, **replaced}.items():
            if isinstance(array, np.ndarray):
                npy = io.BytesIO()
                np.save(npy, array, allow_pickle=True)
                array = npy.getvalue()
            if array is not None:
                archive.writestr(zipfile.ZipInfo(f"{key}.npy"), array, compression)
    return buffer.getvalue()


def npy(header, content=b""):
    header = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def claiming(shape):
    return npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}", bytes(784))


def flipped(at, bits):
    content = bytearray(npz())
    content[at] ^= bits
    return bytes(content)


def assert_good(loaded, names=GOOD):
    assert (loaded.n_train, loaded.n_test) == (6, 4)
    for key, array in GOOD.items():
        got = getattr(loaded, key)
        if key not in names:
            assert got is None
            continue
        assert got.dtype == np.uint8 and not got.flags.writeable
        np.testing.assert_array_equal(got, array)
    expected = b"".join(GOOD[name].tobytes() for name in names)
    assert loaded.sha256 == hashlib.sha256(expected).hexdigest()


def test_npz(tmp_path):
    path = tmp_path / "d.npz"
    for content in (
        npz(),
        npz(zipfile.ZIP_STORED),
        npz(x_train=np.asfortranarray(X_TRAIN)),
        npz(y_train=Y_TRAIN.astype(np.int64), y_test=Y_TEST.astype(">i4")),
        npz(more=np.array([None]), notes=b"text"),
    ):
        path.write_bytes(content)
        loaded = load_images(str(path))
        assert_good(loaded)
        assert loaded.name == str(path)


def test_labels_are_optional_and_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.savez(tmp_path / "d.npz", x_train=X_TRAIN, x_test=X_TEST)
    assert_good(load_images("~/d.npz"), ["x_train", "x_test"])


BAD_NPZ = [  # content, what is said
    (b"<html>404</html>", "expected an .npz.*received: File is not a zip file"),
    (flipped(npz().index(b"PK\x01\x02") + 8, 1), "received: .*encrypted"),
    (npz(zipfile.ZIP_BZIP2), "received method 12"),
    (npz(x_train=None), "keys x_train.*received y_train"),
    (npz(x_train=b"hello"), "expected an .npz.*received: "),
    (npz(x_train=npy("{'descr': ")), "expected an .npz.*received: "),
    (npz(x_train=npy("-" * 9000 + "1")), "expected an .npz.*received: "),
    (npz(x_train=np.array([{}, None])), "x_train holds pickled.*never loaded"),
    (npz(y_train=np.array([None] * 6)), "y_train holds pickled"),
    (npz(x_train=X_TRAIN / np.float32(255)), "0-1.*float32"),
    (npz(x_test=X_TEST.astype(np.int64)), "x_test.*uint8.*int64"),
    (npz(x_train=X_TRAIN.reshape(6, 784)), r"\(n, 28, 28\).*\(6, 784\)"),
    (npz(x_train=X_TRAIN[:0]), "x_train is empty"),
    (npz(x_train=X_TRAIN // 128), "above 1 in 0-255; received 6 in 0-1"),
    (npz(x_test=0 * X_TEST), "x_test: expected 4 images.*received 4 in 0-0"),
    (npz(y_train=Y_TRAIN[:5]), "y_train: expected 6 labels.*received 5 in 0-4"),
    (npz(y_test=-Y_TEST.astype(int)), "y_test: expected 4 labels.*received 4 in -3-0"),
    (npz(y_train=np.eye(6, dtype=int)), r"y_train.*\(n,\)"),
    (npz(y_train=Y_TRAIN / 2), "y_train.*integer"),
    (npz(x_train=claiming("(6, 28, 28)")), "4,704 bytes, received 784"),
    (npz(x_train=claiming(f"({10**15}, 28, 28)")), "bytes, received 784"),
    (npz(x_train=claiming("(1, 28, 28)") + b"!"), "784 bytes, received more"),
]


@pytest.mark.parametrize(("content", "named"), BAD_NPZ)
def test_a_file_of_no_images_is_one_line(tmp_path, content, named):
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=named) as caught:
        load_images(str(path))
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_no_such_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("minst", "", ".", "no/such.npz", "x" * 5000, "a\0b"):
        with pytest.raises(DataError, match="no such data set; expected mnist, mnist-sample"):
            load_images(name)


def test_size_is_checked_before_anything_is_unpacked(tmp_path, monkeypatch):
    bomb = np.zeros((40_000, 28, 28), np.uint8)
    (tmp_path / "d.npz").write_bytes(npz(x_train=bomb))
    monkeypatch.setattr(npz_files, "MAX_BYTES", 10**7)
    monkeypatch.setattr(np, "frombuffer", None)
    with pytest.raises(DataError, match="at most 10,000,000 bytes uncompressed, received 31,3"):
        load_images(str(tmp_path / "d.npz"))


def test_every_truncation_and_flip_is_refused_or_harmless(tmp_path):
    content, path = npz(x_train=X_TRAIN[:1], y_train=None, y_test=None), tmp_path / "d.npz"
    damaged = [content[:n] for n in range(0, len(content), 97)]
    for i in range(0, len(content), 17):
        damaged.append(content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :])
    refused = 0
    for bad in damaged:
        path.write_bytes(bad)
        try:
            loaded = load_images(str(path))
            np.testing.assert_array_equal(loaded.x_train, X_TRAIN[:1])
        except DataError:
            refused += 1
    assert refused > 0.9 * len(damaged)


def test_the_sample_is_whole_and_says_whose_it_is():
    sample = load_images("mnist-sample")
    assert (sample.name, sample.sha256) == ("mnist-sample", images.SAMPLE_SHA256)
    assert sample.x_train.shape == (8000, 28, 28) and sample.x_test.shape == (2000, 28, 28)
    assert np.bincount(sample.y_train).tolist() == [800] * 10
    assert np.bincount(sample.y_test).tolist() == [200] * 10
    path = os.path.join(os.path.dirname(nflow_cli.__file__), "mnist_sample.npz")
    assert os.path.getsize(path) < 2 * 10**6
    with zipfile.ZipFile(path) as archive:
        text = archive.read("README.txt").decode()
    assert all(word in text for word in ("LeCun", "Cortes", "Burges", "CC BY-SA 3.0"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "SAMPLE_SHA256", "0" * 64)
        with pytest.raises(DataError, match=r"mnist_sample.npz.*expected SHA-256 0000"):
            load_images("mnist-sample")


def test_the_sample_is_drawn_as_documented():
    path = os.environ.get("NFLOW_MNIST")
    if not path:
        pytest.skip("NFLOW_MNIST does not give the path of the whole MNIST")
    mnist, sample = load_images(path), load_images("mnist-sample")
    assert (mnist.n_train, mnist.n_test) == (60_000, 10_000)
    assert mnist.x_train.mean() == pytest.approx(255 * 0.1307, abs=0.02)  # the well-known mean
    keys = np.split(np.random.PCG64(0).random_raw(70_000), [60_000])
    for part, key, size in zip(("train", "test"), keys, (800, 200)):
        x, y = getattr(mnist, f"x_{part}"), getattr(mnist, f"y_{part}")
        taken = [np.flatnonzero(y == digit) for digit in range(10)]
        taken = np.sort(np.concatenate([i[np.argsort(key[i])[:size]] for i in taken]))
        np.testing.assert_array_equal(x[taken], getattr(sample, f"x_{part}"))
        np.testing.assert_array_equal(y[taken], getattr(sample, f"y_{part}"))


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serve a small MNIST on loopback, its checksum the one expected; ``reply`` can be changed."""
    reply = {"status": 200, "content": npz(), "length": len(npz()), "pause": 0.0, "asked": 0}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            reply["asked"] += 1
            time.sleep(reply["pause"])
            self.send_response(reply["status"])
            self.send_header("Content-Length", str(reply["length"]))
            self.end_headers()
            self.wfile.write(reply["content"])

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(images, "URL", f"http://127.0.0.1:{server.server_port}/mnist.npz")
    monkeypatch.setattr(images, "MNIST_SHA256", hashlib.sha256(npz()).hexdigest())
    yield reply
    server.shutdown()
    server.server_close()
    thread.join()


def downloaded(**options):
    """Return what is loaded as MNIST, and the lines that tell of it."""
    lines = []
    return load_images("mnist", notify=lines.append, **options), lines


def test_download_is_verified_kept_and_not_repeated(tmp_path, served):
    loaded, lines = downloaded()
    assert_good(loaded)
    assert loaded.name == "mnist" and images.URL in lines[0]
    kept = tmp_path / "keras" / "datasets" / "mnist.npz"
    assert kept.read_bytes() == npz() and stat.S_IMODE(kept.stat().st_mode) == 0o644
    assert os.listdir(kept.parent) == ["mnist.npz"]
    assert_good(load_images("mnist", notify=pytest.fail))
    assert served["asked"] == 1
    kept.write_bytes(npz()[:-1])
    loaded, lines = downloaded()
    assert loaded.name == "mnist" and kept.read_bytes() == npz()
    assert "checksum differs" in lines[0]


def test_a_cache_that_cannot_be_written_does_not_stop(tmp_path, served):
    (tmp_path / "keras").write_text("a file, not a folder")
    loaded, lines = downloaded()
    assert loaded.name == "mnist" and "not kept" in lines[-1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": 404}, "404"),
        ({"content": b"<html>log in</html>", "length": 19}, "received [0-9a-f]{64}"),
        ({"content": npz()[:-9]}, "received [0-9a-f]{64}"),
        ({"content": npz() * 2, "length": 2 * len(npz())}, "at most 10,000 bytes"),
        ({"pause": 0.5}, "timed out"),
    ],
)
def test_after_a_failed_download_the_sample_stands_in(
    tmp_path, served, monkeypatch, changes, reason
):
    served.update(changes)
    monkeypatch.setattr(images, "DOWNLOAD_BYTES", 10_000)
    monkeypatch.setattr(images, "SECONDS", 0.2 if "pause" in changes else 5.0)
    loaded, lines = downloaded()
    assert (loaded.name, loaded.sha256) == ("mnist-sample", images.SAMPLE_SHA256)
    assert "do not compare" in lines[-1] and "\n" not in lines[-1]
    with pytest.raises(DataError, match=reason):
        downloaded(fallback=False)
    assert not (tmp_path / "keras").exists()


def test_no_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setattr(images, "URL", "https://nowhere.invalid/mnist.npz")
    monkeypatch.setenv("no_proxy", "*")
    assert load_images().name == "mnist-sample"
    captured = capsys.readouterr()
    assert captured.out == "" and "warning: MNIST cannot be downloaded" in captured.err
    kept = tmp_path / ".keras" / "datasets" / "mnist.npz"
    with pytest.raises(DataError, match=f"mnist: not in {kept}, and cannot be downloaded"):
        load_images(fallback=False)


def test_url_and_checksum_are_those_of_keras():
    keras = Path(find_spec("keras").origin).parent  # not imported: that takes seconds
    source = (keras / "src" / "datasets" / "mnist.py").read_text()
    folder, file = images.URL.rsplit("/", 1)
    assert folder in source and file in source and images.MNIST_SHA256 in source


IMAGES = np.random.default_rng(5).integers(0, 256, (6, 28, 28), dtype=np.uint8)
RAMP = np.broadcast_to(np.arange(256, dtype=np.uint8), (12_000, 256))  # 2 blocks and a part


@pytest.mark.parametrize("mode", ["stochastic", "static"])
def test_bernoulli_means(mode):
    drawn = binarize(RAMP, mode, 3, 1, "train")
    assert drawn.dtype == np.uint8 and drawn.shape == RAMP.shape and set(np.unique(drawn)) == {0, 1}
    p = np.arange(256) / 255
    error = np.sqrt(p * (1 - p) / len(RAMP))
    assert not drawn[:, 0].any() and drawn[:, 255].all()
    assert (np.abs(drawn.mean(0) - p) <= 4 * error).all()
    z = (drawn.mean(0) - p)[1:255] / error[1:255]
    assert abs(np.mean(z**2) - 1) < 4 * np.sqrt(2 / 254)  # the chi-square of all levels
    half = drawn[:, 64:192] - p[64:192]
    assert abs((half[:, 1:] * half[:, :-1]).mean()) < 4 * 0.25 / np.sqrt(half[:, 1:].size)


def test_bernoulli_is_exact_where_a_byte_is_drawn_again(monkeypatch):
    words = iter([np.full(2, 2**64 - 1, np.uint64), np.arange(16, dtype=np.uint64) + 255 * 7])

    class Bits:
        def random_raw(self, size):
            drawn = next(words)
            assert len(drawn) == size
            return drawn

    monkeypatch.setattr(images, "stream", lambda *_: type("", (), {"bit_generator": Bits()}))
    drawn = binarize(np.full(16, 9, np.uint8), "stochastic", 0, 0, "train")
    assert drawn.tolist() == [1] * 9 + [0] * 7


def test_streams():
    def draw(mode="stochastic", seed=1, epoch=2, part="train"):
        return binarize(IMAGES, mode, seed, epoch, part).tobytes()

    assert draw() == draw()
    assert draw("static") == draw("static", epoch=9)
    draws = [draw(), draw(epoch=3), draw(seed=2), draw(part="test"), draw(epoch=0)]
    draws += [draw("static"), draw("static", seed=2), draw("static", part="test")]
    assert len(set(draws)) == len(draws)


def test_bits_are_those_of_the_counter_alone():
    key = [7, zlib.crc32(b"binarization/test")]
    u = np.random.Philox(key=key, counter=[0, 0, 0, 3]).random_raw(2).astype("<u8").view(np.uint8)
    assert 255 not in u
    drawn = binarize(np.full(16, 128, np.uint8), "stochastic", 7, 3, "test")
    assert drawn.tolist() == [int(byte < 128) for byte in u]


def test_threshold_and_grey_levels():
    levels = np.arange(256, dtype=np.uint8)
    thresholded = binarize(levels, "threshold", 0, 0, "train")
    assert thresholded.dtype == np.uint8 and thresholded.tolist() == [0] * 128 + [1] * 128
    grey = binarize(levels, "none", 0, 0, "train")
    assert grey.dtype == np.float32
    np.testing.assert_array_equal(grey, (np.arange(256) / 255).astype(np.float32))


@pytest.mark.parametrize("mode", BINARIZATIONS)
def test_binarize_leaves_its_input_alone(mode):
    before = IMAGES.copy()
    view = IMAGES[::2, :, ::-1]  # not contiguous
    got = binarize(view, mode, 0, 0, "test")
    np.testing.assert_array_equal(IMAGES, before)
    np.testing.assert_array_equal(got, binarize(view.copy(), mode, 0, 0, "test"))


def test_what_is_no_mode_part_or_image_is_refused():
    for wrong, named in (
        ((IMAGES, "dither", 0, 0, "train"), "mode='dither'"),
        ((IMAGES, "none", 0, 0, "valid"), "part='valid'"),
        ((IMAGES / 255, "none", 0, 0, "train"), r"uint8.*dtype=float64"),
    ):
        with pytest.raises(ValueError, match=named):
            binarize(*wrong)

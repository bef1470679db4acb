"""Images for the VAE: MNIST, its embedded sample or user files, and binarization.

``mnist_sample.npz`` holds 10,000 digits of MNIST (Yann LeCun, Corinna Cortes, Christopher J.C.
Burges; http://yann.lecun.com/exdb/mnist/; licence CC BY-SA 3.0, which holds for the sample too):
800 of each digit from the training set and 200 from the test set, unchanged.
``keys = numpy.random.PCG64(0).random_raw(70_000)`` gives its first 60,000 numbers to the training
images and the others to the test images, in the order of ``keras.datasets.mnist``; of each digit,
those with the smallest numbers are taken, in that order.

No file is trusted: sizes are checked first, and nothing is unpickled. ``keras.utils.get_file`` has
no timeout, keeps corrupt files, and prints on stdout, so it is not used.
"""

import hashlib
import http.client
import io
import os
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, Any

import numpy as np

from nflow_cli.data.files.tables import explained
from nflow_cli.errors import DataError, RunDirectoryError, one_line
from nflow_cli.random_streams import stream
from nflow_cli.runs.directory import RunDirectory
from nflow_cli.runs.npz import ArrayError, read_arrays
from nflow_cli.text import to_stderr

MNIST = "mnist"
SAMPLE = "mnist-sample"
BINARIZATIONS = ("stochastic", "static", "threshold", "none")

URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"  # of the file
SAMPLE_SHA256 = "90f3acf4b059bf1fbe616fb48dd9d33228d4dedae49ca143e5480a7a54d86e81"  # of its arrays
SECONDS = 10.0  # of a download's timeout
DOWNLOAD_BYTES = 64 * 2**20

_BLOCK = 2**20  # pixels binarized at a time
_KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True, eq=False)
class Images:
    """Grey images: ``x_*`` are uint8 ``(n, 28, 28)``, ``y_*`` uint8 ``(n,)`` or None; read-only.

    ``sha256`` is of the bytes of x_train, y_train, x_test, y_test, those that exist.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray | None
    x_test: np.ndarray
    y_test: np.ndarray | None
    sha256: str
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Record in ``run.json``."""
        record = {"name": self.name, "sha256": self.sha256}
        if self.name not in (MNIST, SAMPLE):
            record["path"] = os.path.abspath(os.path.expanduser(self.name))
        return record

    @property
    def n_train(self) -> int:
        """Training images."""
        return len(self.x_train)

    @property
    def n_test(self) -> int:
        """Test images."""
        return len(self.x_test)


def load_images(
    name: str = MNIST, *, fallback: bool = True, notify: Callable[[str], Any] = to_stderr
) -> Images:
    """Load a data set.

    Args:
        name: ``mnist`` (from the Keras cache, else downloaded into it), ``mnist-sample``
            (embedded), or the path of an ``.npz`` with the keys of ``keras.datasets.mnist``, where
            labels are optional.
        fallback: Replace an unavailable ``mnist`` by ``mnist-sample``, with a warning.
        notify: Called with lines for the user.
    """
    if name == SAMPLE:
        return _sample()
    if name != MNIST:
        path = os.path.expanduser(name)
        if not os.path.isfile(path):
            expected = f"{MNIST}, {SAMPLE}, or the path of an .npz file"
            raise DataError(f"{path!r}: no such data set; expected {expected}")
        return _images(name, _read_npz(path, path))
    try:
        content = _mnist(notify)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = one_line(error).removeprefix("<urlopen error ").removesuffix(">")
        if not fallback:
            where = f"not in {_cache()}, and cannot be downloaded from {URL}"
            raise DataError(
                f"{MNIST}: {where} ({reason}); other data are the path of its .npz file, or "
                f"{SAMPLE}, 10,000 of its digits"
            ) from None
        notify(
            f"warning: MNIST cannot be downloaded ({reason}): using the embedded sample of 10,000 "
            f"digits, {SAMPLE}; scores on it do not compare with those on MNIST"
        )
        return _sample()
    return _images(MNIST, _read_npz(io.BytesIO(content), MNIST))


def binarize(images: np.ndarray, mode: str, seed: int, epoch: int, part: str) -> np.ndarray:
    """Binarize grey levels ``x`` in 0–255, uint8, to uint8 of 0 and 1.

    ``stochastic`` draws each pixel from Bernoulli(x / 255), anew each ``epoch``; ``static`` once
    for a seed (Salakhutdinov & Murray 2008); ``threshold`` is x >= 128; ``none`` keeps x / 255,
    float32. Scores of different modes do not compare. Draws of the ``part`` ``train`` and ``test``
    are independent.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 grey levels. Received: dtype={images.dtype}")
    if part not in ("train", "test"):
        raise ValueError(f"part must be 'train' or 'test'. Received: part={part!r}")
    if mode == "none":
        return np.divide(images, np.float32(255), dtype=np.float32)
    if mode == "threshold":
        return (images >= 128).view(np.uint8)
    if mode == "stochastic":
        return _bernoulli(images, seed, f"binarization/{part}", epoch)
    if mode == "static":
        return _bernoulli(images, seed, f"static-binarization/{part}", 0)
    raise ValueError(f"mode must be one of {', '.join(BINARIZATIONS)}. Received: mode={mode!r}")


def _bernoulli(images: np.ndarray, seed: int, purpose: str, step: int) -> np.ndarray:
    """Draw 0 or 1 with P(1) = x / 255 to within 2⁻⁶⁴, from one random byte a pixel.

    A byte u below 255 is uniform on 255 values, x of them below x; for 255, one byte in 256, u is
    drawn from 64 bits modulo 255.
    """
    bits = stream(seed, purpose, step).bit_generator
    drawn = np.empty(images.shape, dtype=np.uint8)
    pixels = images.reshape(-1)
    ones = drawn.reshape(-1).view(bool)
    for start in range(0, len(pixels), _BLOCK):
        block = pixels[start : start + _BLOCK]
        words = bits.random_raw(-(-len(block) // 8)).astype("<u8", copy=False)
        u = words.view(np.uint8)[: len(block)]
        of_block = ones[start : start + _BLOCK]
        np.less(u, block, out=of_block)
        redrawn = np.flatnonzero(u == 255)
        of_block[redrawn] = bits.random_raw(len(redrawn)) % np.uint64(255) < block[redrawn]
    return drawn


def _sample() -> Images:
    file = resources.files("nflow_cli") / "mnist_sample.npz"
    label = f"{SAMPLE} ({file})"
    with explained(label, "the file that nflow installs"):
        content = file.read_bytes()
    images = _images(SAMPLE, _read_npz(io.BytesIO(content), label))
    if images.sha256 != SAMPLE_SHA256:
        raise DataError(f"{label}: expected SHA-256 {SAMPLE_SHA256}, received {images.sha256}")
    return images


def _cache() -> Path:
    home = os.path.expanduser("~")
    keras_home = os.path.join(home if os.access(home, os.W_OK) else "/tmp", ".keras")
    return Path(os.environ.get("KERAS_HOME", keras_home)).expanduser() / "datasets" / "mnist.npz"


def _mnist(notify: Callable[[str], Any]) -> bytes:
    cache = _cache()
    if os.path.isfile(cache):
        try:
            content = cache.read_bytes()
            if hashlib.sha256(content).hexdigest() == MNIST_SHA256:
                return content
            notify(f"{cache}: not the MNIST of Keras, its checksum differs")
        except OSError as error:
            notify(f"{cache}: {error.strerror}")
    content = _download(notify)
    received = hashlib.sha256(content).hexdigest()
    if received != MNIST_SHA256:
        raise ValueError(f"not the file expected: SHA-256 {MNIST_SHA256}, received {received}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        RunDirectory(cache.parent).write(cache.name, lambda file: file.write(content))
    except (OSError, RunDirectoryError) as error:
        notify(f"MNIST is not kept for the next run: {one_line(error)}")
    return content


def _download(notify: Callable[[str], Any]) -> bytes:
    notify(f"downloading MNIST from {URL}")
    with urllib.request.urlopen(URL, timeout=SECONDS) as response:
        content = response.read(DOWNLOAD_BYTES + 1)
    if len(content) > DOWNLOAD_BYTES:
        raise ValueError(f"expected at most {DOWNLOAD_BYTES:,} bytes, received more")
    return content


def _read_npz(source: str | IO[bytes], file: str) -> dict[str, np.ndarray]:
    expected = "an .npz file with the images x_train and x_test"
    with explained(file, expected), zipfile.ZipFile(source) as archive:
        keys = [key for key in _KEYS if f"{key}.npy" in archive.namelist()]
        if not {"x_train", "x_test"} <= set(keys):
            received = one_line(", ".join(archive.namelist()[:8]) or "none")
            raise DataError(f"{file}: expected the keys x_train and x_test; received {received}")
        return read_arrays(archive, keys, _check_header)


def _check_header(key: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    are_images = key.startswith("x")
    has_type = dtype == np.uint8 if are_images else dtype.kind in "iu"
    shape_of_one = (28, 28) if are_images else ()
    if are_images and dtype.kind == "f":
        wrong = "holds floats (images in 0-1 must first be stored as round(255 x))"
        expected = "uint8 grey levels 0-255"
    elif not has_type:
        wrong = "has the wrong type"
        expected = "uint8 grey levels 0-255" if are_images else "integer labels"
    elif not shape or shape[1:] != shape_of_one:
        wrong = "has the wrong shape"
        expected = "(n, 28, 28)" if are_images else "(n,)"
    elif shape[0] < 1:
        wrong = "is empty"
        expected = "at least one"
    else:
        return
    raise ArrayError(f"{key} {wrong}; expected {expected}; received dtype {dtype}, shape {shape}")


def _images(name: str, arrays: Mapping[str, np.ndarray]) -> Images:
    checked: dict[str, Any] = dict.fromkeys(_KEYS)
    digest = hashlib.sha256()
    for key in (key for key in _KEYS if key in arrays):
        array = arrays[key]
        count = len(arrays["x" + key[1:]])
        low = array.min()
        high = array.max()
        least = 2 if key.startswith("x") else 0
        if low < 0 or not least <= high <= 255 or len(array) != count:
            expected = "images with grey levels above 1" if least else "labels"
            received = f"received {len(array):,} in {low}-{high}"
            raise DataError(f"{name}: {key}: expected {count:,} {expected} in 0-255; {received}")
        checked[key] = np.ascontiguousarray(array, dtype=np.uint8)
        checked[key].flags.writeable = False
        digest.update(checked[key])
    return Images(name, **checked, sha256=digest.hexdigest())

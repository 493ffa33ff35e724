"""MNIST and Fashion-MNIST for readers with a network, through ``keras.datasets``.

Nothing else in the book needs a network. Each file is first fetched into Keras's own folder and compared with
its sha256: for Fashion-MNIST Keras knows no checksums, and would take a half-written file for complete. Then
``keras.datasets`` reads the files. Keras, and with it TensorFlow, is imported when ``load_images`` is called.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regularize import checks
from regularize.data import Dataset

_ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_TIMEOUT = 60.0  # seconds without an answer; Keras alone would wait for ever

#: The folder below Keras's home, and the sha256 of each file.
_FILES = {
    "mnist": (
        "datasets",
        {"mnist.npz": "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"},
    ),
    "fashion_mnist": (
        os.path.join("datasets", "fashion-mnist"),
        {
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        },
    ),
}
_CLASSES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}
_PIXELS = tuple(f"pixel_{row}_{column}" for row in range(28) for column in range(28))
_RETRY = "Delete what is there and run this again to download it anew."


class DataError(RuntimeError):
    """A data set cannot be fetched or read: the message says what happened, to which file, and what to do."""


def load_images(name: str) -> tuple[Dataset, Dataset]:
    """Training and test set of "mnist" or "fashion_mnist": x (n, 784) float32 in [0, 1], y (n,) labels 0-9.

    "mnist"          60,000 + 10,000 handwritten digits (LeCun, Bottou, Bengio and Haffner, "Gradient-based
                     learning applied to document recognition", 1998).
    "fashion_mnist"  60,000 + 10,000 pictures of clothes in the same format (Xiao, Rasul and Vollgraf,
                     "Fashion-MNIST", arXiv:1708.07747, 2017).

    The first call downloads 11 or 31 MB into ``$KERAS_HOME`` or ~/.keras; later calls read them from there.
    Raises ValueError for another name; DataError when Keras is not installed, or when a file cannot be
    downloaded, has the wrong checksum, is damaged, or holds something else than such images and labels.
    """
    checks.choice("name", name, _FILES)
    try:
        import keras
    except ImportError as error:
        raise DataError(f"{name}: needs Keras. Install it: pip install keras tensorflow") from error
    subfolder, files = _FILES[name]
    with _timeout(_TIMEOUT):
        for file, sha256 in files.items():
            _fetch(keras, subfolder, file, sha256)
        try:
            train, test = getattr(keras.datasets, name).load_data()
        except Exception as error:  # what a damaged file raises depends on where the damage is
            raise DataError(f"{name}: Keras cannot read {_where(name)}: {error!r}. {_RETRY}") from error
    return _dataset(name, "training", *train), _dataset(name, "test", *test)


def _where(name: str) -> str:
    subfolder, files = _FILES[name]
    return f"{', '.join(files)} in {_folder(subfolder)}"


def _folder(subfolder: str) -> Path:
    """Where Keras keeps its files: its home or, where that cannot be written to, a temporary folder."""
    home = os.path.expanduser(os.environ.get("KERAS_HOME") or os.path.join("~", ".keras"))
    if not os.access(home, os.W_OK):
        home = os.path.join("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir(), ".keras")
    return Path(home, subfolder)


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    """Give every new connection a time limit: Keras has no argument for it."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _fetch(keras: Any, subfolder: str, file: str, sha256: str) -> None:
    """Download a file unless it is there with the right checksum. After a failure, no wrong file is left."""
    path = _folder(subfolder) / file
    was_there = path.exists()
    try:
        keras.utils.get_file(file, _ORIGIN + file, file_hash=sha256, cache_subdir=subfolder)
    except Exception as error:
        if isinstance(error, ValueError) and path.exists():  # Keras leaves a file that fails the checksum
            got = hashlib.sha256(path.read_bytes()).hexdigest()
            path.unlink()
            what = f"wrong checksum: {_ORIGIN + file} gave a file with sha256 {got}, which was deleted"
        else:
            what = f"cannot download {_ORIGIN + file}: {error}"
            if was_there and not path.exists():
                what += "; the file that was there had the wrong checksum and was deleted"
        raise DataError(
            f"{file}: {what}. Check the network and run this again, "
            f"or put the file at {path} by hand (expected sha256 {sha256})."
        ) from error


def _dataset(name: str, part: str, images: NDArray[Any], labels: NDArray[Any]) -> Dataset:
    """Keras's arrays, images (n, 28, 28) and labels (n,), checked, flattened and scaled to [0, 1]."""
    found = f"images {images.dtype} {images.shape}, labels {labels.dtype} {labels.shape}"
    n = len(labels) if labels.ndim == 1 else 0
    fits = n > 0 and images.shape == (n, 28, 28) and images.dtype == labels.dtype == np.uint8
    if not fits or labels.max() > 9:
        found += f" up to {labels.max()}" if fits else ""
        raise DataError(
            f"{name}: expected uint8 images (n, 28, 28) and labels (n,) from 0 to 9 in the {part} set, "
            f"got {found}, from {_where(name)}. {_RETRY}"
        )
    x = images.reshape(n, 784).astype(np.float32) / np.float32(255)
    return Dataset(x, labels.astype(np.int64), _PIXELS, _CLASSES[name], f"{name} {part}")

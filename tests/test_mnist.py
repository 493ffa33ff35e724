"""The real loading code of keras.datasets, on small files in the same formats, served from this machine."""

import gzip
import hashlib
import io
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from regularize import mnist
from regularize.mnist import DataError, load_images

keras = pytest.importorskip("keras")

RNG = np.random.default_rng(0)
IMAGES = {
    part: RNG.integers(256, size=(n, 28, 28), dtype=np.uint8) for part, n in (("train", 6), ("test", 4))
}
LABELS = {"train": np.array([0, 9, 3, 3, 5, 1], np.uint8), "test": np.array([7, 2, 2, 8], np.uint8)}
ALL_FILES = [(name, file) for name, (_, files) in mnist._FILES.items() for file in files]
each_set = pytest.mark.parametrize("name", mnist._FILES)
each_file = pytest.mark.parametrize(("name", "file"), ALL_FILES)


def npz(**arrays):
    good = {f"{xy}_{p}": a[p] for xy, a in (("x", IMAGES), ("y", LABELS)) for p in ("train", "test")}
    buffer = io.BytesIO()
    np.savez(buffer, **(good | arrays))
    return buffer.getvalue()


def idx(a):
    """Magic number (0, 0, type 8 = unsigned byte, axes), the sizes, the bytes."""
    return gzip.compress(struct.pack(f">{1 + a.ndim}I", 0x800 + a.ndim, *a.shape) + a.tobytes(), mtime=0)


def small_files():
    return {
        "mnist.npz": npz(),
        "train-labels-idx1-ubyte.gz": idx(LABELS["train"]),
        "train-images-idx3-ubyte.gz": idx(IMAGES["train"]),
        "t10k-labels-idx1-ubyte.gz": idx(LABELS["test"]),
        "t10k-images-idx3-ubyte.gz": idx(IMAGES["test"]),
    }


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``mode`` says what goes wrong."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.mode, self.requests, self.stop = small_files(), "well", [], threading.Event()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        file = self.path.removeprefix("/")
        self.server.requests.append(file)
        if self.server.mode == "silent":
            self.server.stop.wait(5)
        elif self.server.mode == "missing":
            self.send_error(404)
        else:
            content = self.server.files[file]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if self.server.mode == "cut" else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A server in place of Keras's, an empty folder in place of its home, and the small files' checksums."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    use_home(monkeypatch, tmp_path)
    monkeypatch.setattr(mnist, "_ORIGIN", f"http://127.0.0.1:{server.server_port}/")
    expect(monkeypatch, server.files)
    yield server
    server.stop.set()
    server.shutdown()
    server.server_close()


def use_home(monkeypatch, home):
    """Keras reads KERAS_HOME when it is imported, which may be long ago."""
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(home))


def expect(monkeypatch, contents):
    """Let our table and Keras's own loading code ask for these files."""
    table = {
        name: (folder, {file: sha256(contents[file]) for file in files})
        for name, (folder, files) in mnist._FILES.items()
    }
    monkeypatch.setattr(mnist, "_FILES", table)
    real = keras.utils.get_file

    def get_file(fname, origin, file_hash=None, **options):
        file_hash = file_hash and sha256(contents[fname])
        return real(fname, mnist._ORIGIN + fname, file_hash=file_hash, **options)

    for module in mnist._FILES:
        monkeypatch.setattr(f"keras.src.datasets.{module}.get_file", get_file)


@pytest.fixture
def no_network(server, monkeypatch):
    with socket.socket() as free:  # nobody listens on a port that was just given back
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(mnist, "_ORIGIN", f"http://127.0.0.1:{free.getsockname()[1]}/")
    return server


def path_of(name, file):
    path = Path(os.environ["KERAS_HOME"], mnist._FILES[name][0], file)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def data_files():
    return {path.name for path in Path(os.environ["KERAS_HOME"]).rglob("*") if path.is_file()}


def check_small(loaded, name):
    for data, part in zip(loaded, ("train", "test"), strict=True):
        assert data.x.dtype == np.float32
        np.testing.assert_array_equal(data.x, IMAGES[part].reshape(-1, 784) / np.float32(255))
        np.testing.assert_array_equal(data.y, LABELS[part])
        assert data.classes == 10
        assert data.name.startswith(name)


# What works


@each_set
def test_first_call_downloads_second_call_needs_no_network(name, server, monkeypatch):
    check_small(load_images(name), name)
    assert sorted(server.requests) == sorted(mnist._FILES[name][1])
    server.mode = "missing"
    check_small(load_images(name), name)
    assert len(server.requests) == len(mnist._FILES[name][1])


def test_pixel_names_say_row_and_column(server):
    train, _ = load_images("mnist")
    assert len(train.feature_names) == 784
    place = train.feature_names.index("pixel_2_5")
    np.testing.assert_array_equal(train.x[:, place] * 255, IMAGES["train"][:, 2, 5])


def test_the_table_is_what_keras_asks_for(monkeypatch):
    """File names, addresses, folders, and the one checksum that Keras knows, against the newest Keras too."""
    asked = {}

    def record(fname, origin, file_hash=None, cache_subdir="datasets"):
        asked[fname] = (origin, cache_subdir, file_hash)
        return os.devnull

    for name, (folder, files) in mnist._FILES.items():
        monkeypatch.setattr(f"keras.src.datasets.{name}.get_file", record)
        with pytest.raises((ValueError, EOFError)):  # the empty file cannot be read
            getattr(keras.datasets, name).load_data()
        for file, expected in files.items():
            origin, subfolder, keras_hash = asked.pop(file)
            assert origin == mnist._ORIGIN + file
            assert subfolder == folder
            assert keras_hash in (None, expected)
    assert not asked


def test_each_file_has_a_sha256_of_its_own():
    assert all(
        len(sha) == 64 and int(sha, 16) for _, files in mnist._FILES.values() for sha in files.values()
    )
    assert len({sha for _, files in mnist._FILES.values() for sha in files.values()}) == 5


@pytest.mark.parametrize("home_exists", [True, False])
def test_the_folder_is_where_keras_puts_its_files(home_exists, monkeypatch, tmp_path):
    """Keras moves to a temporary folder when it cannot write to its home, say because it is not there."""
    use_home(monkeypatch, tmp_path if home_exists else tmp_path / "missing")
    (tmp_path / "file").write_text("content")
    folder = f"test-{uuid.uuid4()}"
    try:
        path = keras.utils.get_file("file", (tmp_path / "file").as_uri(), cache_subdir=folder)
        assert Path(path) == mnist._folder(folder) / "file"
    finally:
        shutil.rmtree(mnist._folder(folder), ignore_errors=True)


def test_importing_the_module_does_not_import_keras():
    code = "import regularize.mnist, sys; sys.exit(bool({'keras', 'tensorflow'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# What goes wrong on the way


def failure(name):
    with pytest.raises(DataError) as e:
        load_images(name)
    assert e.value.__cause__ is not None
    return str(e.value)


def check_advice(message, name, file):
    """The file, where it comes from, where it may be put by hand, and its checksum."""
    for part in (file, mnist._ORIGIN + file, str(path_of(name, file)), mnist._FILES[name][1][file]):
        assert part in message


@each_set
def test_no_network(name, no_network):
    message = failure(name)
    check_advice(message, name, next(iter(mnist._FILES[name][1])))
    assert "cannot download" in message
    assert "refused" in message
    assert "was there" not in message
    assert not data_files()


@each_set
def test_files_put_by_hand_where_the_message_says_need_no_network(name, no_network):
    for file in mnist._FILES[name][1]:
        assert f"put the file at {path_of(name, file)} by hand" in failure(name)
        path_of(name, file).write_bytes(no_network.files[file])
    check_small(load_images(name), name)


@each_set
def test_the_server_does_not_have_the_file(name, server):
    server.mode = "missing"
    message = failure(name)
    check_advice(message, name, next(iter(mnist._FILES[name][1])))
    assert "404" in message
    assert not data_files()


@each_set
def test_a_download_that_breaks_off_leaves_nothing_behind(name, server):
    server.mode = "cut"
    message = failure(name)
    check_advice(message, name, next(iter(mnist._FILES[name][1])))
    assert "cannot download" in message
    assert not data_files()
    server.mode = "well"
    check_small(load_images(name), name)


def test_a_server_that_never_answers_is_given_up(server, monkeypatch):
    monkeypatch.setattr(mnist, "_TIMEOUT", 0.2)
    server.mode = "silent"
    before = socket.getdefaulttimeout()
    assert "timed out" in failure("mnist")
    assert socket.getdefaulttimeout() == before
    assert not data_files()


# Wrong and damaged files


@each_file
def test_a_half_written_file_is_fetched_again(name, file, server):
    content = server.files[file]
    path_of(name, file).write_bytes(content[: len(content) // 2])
    check_small(load_images(name), name)
    assert path_of(name, file).read_bytes() == content


@each_file
def test_a_half_written_file_without_network_is_removed(name, file, no_network):
    for other in mnist._FILES[name][1]:
        path_of(name, other).write_bytes(no_network.files[other])
    path_of(name, file).write_bytes(no_network.files[file][:-10])
    message = failure(name)
    check_advice(message, name, file)
    assert "had the wrong checksum and was deleted" in message
    assert data_files() == mnist._FILES[name][1].keys() - {file}


@each_file
def test_a_download_with_the_wrong_checksum_is_refused_and_removed(name, file, server):
    good, changed = server.files[file], server.files[file] + b"x"
    server.files[file] = changed
    message = failure(name)
    check_advice(message, name, file)
    assert "wrong checksum" in message
    assert sha256(changed) in message
    assert file not in data_files()
    server.files[file] = good
    check_small(load_images(name), name)


@each_file
def test_a_file_that_is_damaged_at_its_source(name, file, server, monkeypatch):
    """The checksum is the expected one, and yet Keras cannot read the file."""
    server.files[file] = server.files[file][: len(server.files[file]) // 2]
    expect(monkeypatch, server.files)
    message = failure(name)
    assert f"{name}: Keras cannot read" in message
    assert file in message
    assert str(path_of(name, file).parent) in message
    assert "Delete what is there" in message


@pytest.mark.parametrize(
    ("arrays", "got"),
    [
        ({"x_train": IMAGES["train"][:, :27]}, "training set, got images uint8 (6, 27, 28)"),
        ({"x_test": IMAGES["test"][:3]}, "test set, got images uint8 (3, 28, 28), labels uint8 (4,)"),
        ({"x_train": IMAGES["train"] / 255}, "training set, got images float64"),
        (
            {"y_test": np.array([0, 1, 2, 10], np.uint8)},
            "test set, got images uint8 (4, 28, 28), labels uint8 (4,) up to 10",
        ),
        (
            {"y_train": LABELS["train"].astype(np.int8)},
            "training set, got images uint8 (6, 28, 28), labels int8 (6,)",
        ),
        ({"y_train": LABELS["train"][:, None]}, "labels uint8 (6, 1)"),
        ({"y_train": np.uint8(3)}, "labels uint8 ()"),
        (
            {"x_test": IMAGES["test"][:0], "y_test": LABELS["test"][:0]},
            "test set, got images uint8 (0, 28, 28)",
        ),
    ],
)
def test_something_else_than_such_images_and_labels(arrays, got, server, monkeypatch):
    server.files["mnist.npz"] = npz(**arrays)
    expect(monkeypatch, server.files)
    with pytest.raises(DataError) as e:
        load_images("mnist")
    assert got in str(e.value)
    assert "mnist.npz in" in str(e.value)
    assert "Delete what is there" in str(e.value)


# Without Keras, and without such a set


def test_without_keras(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    assert "pip install keras" in failure("mnist")


@pytest.mark.parametrize("name", ["mnits", "fashion", "", None, 1])
def test_unknown_names(name):
    with pytest.raises(ValueError, match="name: expected one of 'mnist', 'fashion_mnist'"):
        load_images(name)


def test_a_misspelled_name_gets_a_suggestion():
    with pytest.raises(ValueError, match="did you mean 'fashion_mnist'"):
        load_images("fashion-mnist")

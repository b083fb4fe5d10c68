"""Fetching weights from a real server that serves, cuts, lies, stalls and refuses."""

import hashlib
import http.server
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import pytest

from kerastl import weights
from kerastl.bases import get_base
from kerastl.errors import StorageError, UsageError
from kerastl.weights import WeightsFile, cached_path, find_obstacle, resolve_weights
from kerastl.weights import download as download_module
from kerastl.weights import files as files_module

GOOD = bytes(range(256)) * 4096  # 1 MB
NAME = "resnet_notop.h5"


class Row:
    """A row of the table as far as its weights go."""

    def __init__(self, pretrained: WeightsFile):
        self.name = "resnet50"
        self.pretrained = pretrained


def row(content: bytes = GOOD, algorithm: str = "md5") -> Row:
    digest = hashlib.new(algorithm, content).hexdigest()
    url = f"https://example.invalid/models/{NAME}"
    return Row(WeightsFile("imagenet", NAME, url, digest))


class Server:
    """A local server whose next answers are listed: bytes, "cut", "stall" or a status."""

    def __init__(self):
        self.answers: list = []
        self.asked: list[str] = []
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                outer.answer(self, body=False)

            def do_GET(self):
                outer.asked.append(self.path)
                outer.answer(self, body=True)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, handler, *, body: bool) -> None:
        wanted = self.answers[0]
        if body and len(self.answers) > 1:
            self.answers.pop(0)
        if isinstance(wanted, int):
            handler.send_error(wanted)
            return
        content = wanted if isinstance(wanted, bytes) else GOOD
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if body:
            self.send(handler, wanted, content)

    def send(self, handler, wanted, content: bytes) -> None:
        if wanted == "cut":
            content = content[: len(content) // 2]
        if wanted == "stall":
            handler.wfile.write(content[:1000])
            handler.wfile.flush()
            self.released.wait(20)
            return
        if wanted == "slow":
            time.sleep(1)
        handler.wfile.write(content)


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setenv("KERASTL_WEIGHTS_URL", server.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    yield server
    server.released.set()
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"


def files_in(home: Path) -> list[str]:
    return sorted(p.name for p in (home / "models").iterdir() if p.suffix != ".lock")


def test_weights_are_fetched_verified_and_kept_under_keras_home(server, home):
    server.answers = [GOOD]

    resolved = resolve_weights(row(), "imagenet")

    assert resolved.path == home / "models" / NAME
    assert resolved.path.read_bytes() == GOOD
    assert (resolved.source, resolved.note) == ("imagenet", "")
    assert server.asked == [f"/models/{NAME}"]
    assert files_in(home) == [NAME]


def test_cached_weights_ask_nobody(server):
    server.answers = [GOOD]
    first = resolve_weights(row(), "pretrained")
    server.http.shutdown()

    assert resolve_weights(row(), "imagenet") == first
    assert len(server.asked) == 1


def test_sha256_hashes_are_known_by_their_length(server):
    server.answers = [GOOD]
    assert resolve_weights(row(algorithm="sha256"), "imagenet").path.read_bytes() == GOOD


def test_the_cache_is_the_one_keras_uses(monkeypatch, home):
    assert cached_path(get_base("resnet50")).parent == home / "models"
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", "/somewhere")
    assert cached_path(get_base("resnet50")).parent == Path("/somewhere/.keras/models")


@pytest.mark.parametrize("damaged", [GOOD[:500_000], b"", b"<!doctype html><p>Log in"])
def test_a_damaged_file_in_the_cache_is_replaced(server, home, damaged):
    (home / "models").mkdir(parents=True)
    (home / "models" / NAME).write_bytes(damaged)
    server.answers = [GOOD]

    assert resolve_weights(row(), "imagenet").path.read_bytes() == GOOD
    assert len(server.asked) == 1


def test_a_connection_cut_once_is_tried_again(server, home):
    server.answers = ["cut", GOOD]

    assert resolve_weights(row(), "imagenet").path.read_bytes() == GOOD
    assert len(server.asked) == 2


def test_a_connection_cut_twice_is_an_error_that_leaves_nothing(server, home):
    server.answers = ["cut"]

    with pytest.raises(StorageError, match="only 524288 of 1048576 bytes arrived"):
        resolve_weights(row(), "imagenet")
    assert len(server.asked) == 2
    assert files_in(home) == []


def test_wrong_bytes_are_an_error_with_both_hashes_and_what_to_do(server, home):
    lie = b"x" * 100
    server.answers = [lie]

    with pytest.raises(StorageError) as caught:
        resolve_weights(row(), "imagenet")

    text = str(caught.value)
    assert hashlib.md5(lie).hexdigest() in text
    assert row().pretrained.hash in text
    assert f"at {home}/models/{NAME} by hand" in text
    assert "KERASTL_WEIGHTS_URL" in text
    assert "weights=None" in text
    assert "web page" not in text
    assert files_in(home) == []


def test_a_login_page_is_named_as_such(server):
    server.answers = [b"\n<!DOCTYPE html><html>Please log in"]

    with pytest.raises(StorageError, match="It is a web page: is there a login"):
        resolve_weights(row(), "imagenet")


def test_a_bad_download_does_not_replace_what_was_cached(server, home):
    (home / "models").mkdir(parents=True)
    (home / "models" / NAME).write_bytes(b"old and damaged")
    server.answers = [b"a lie"]

    with pytest.raises(StorageError, match="wrong file"):
        resolve_weights(row(), "imagenet")
    assert (home / "models" / NAME).read_bytes() == b"old and damaged"


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_refusal_is_an_error_at_once_with_its_status(server, status):
    server.answers = [status]

    with pytest.raises(StorageError, match=f"could not be fetched .*Error {status}"):
        resolve_weights(row(), "imagenet")
    assert len(server.asked) == 1


def test_a_server_that_stalls_is_given_up(server, monkeypatch):
    monkeypatch.setattr(download_module, "TIMEOUT", 0.3)
    server.answers = ["stall"]
    start = time.monotonic()

    with pytest.raises(StorageError, match="timed out"):
        resolve_weights(row(), "imagenet")
    assert time.monotonic() - start < 5


def test_offline_fails_at_once_with_everything_to_do(monkeypatch, home):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv(
            "KERASTL_WEIGHTS_URL", f"http://127.0.0.1:{unused.getsockname()[1]}"
        )
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        start = time.monotonic()
        with pytest.raises(StorageError) as caught:
            resolve_weights(row(), "imagenet")

    assert time.monotonic() - start < 5
    for part in (f"/models/{NAME}", row().pretrained.hash, str(home), "weights=None"):
        assert part in str(caught.value)
    assert caught.value.exit_code == 5


def test_auto_takes_what_there_is_else_says_so_and_starts_at_random(server):
    server.answers = [404]
    resolved = resolve_weights(row(), "auto")

    assert resolved.path is None
    assert resolved.source == "random"
    assert "resnet50 starts from random weights" in resolved.note
    assert "404" in resolved.note

    server.answers = [GOOD]
    assert resolve_weights(row(), "auto").source == "imagenet"


def test_auto_survives_a_server_that_answers_and_then_lies(server):
    server.answers = [b"a lie"]
    resolved = resolve_weights(row(), "auto")

    assert resolved.path is None
    assert "sent a wrong file" in resolved.note


def test_nothing_stands_in_the_way_of_cached_or_reachable_weights(server):
    server.answers = [GOOD]
    assert find_obstacle(row()) == ""
    assert server.asked == []  # headers are enough
    weights.fetch_weights(row())
    server.answers = [404]
    assert find_obstacle(row()) == ""


def fetch_in_process(folder: str, url: str, results) -> None:
    os.environ.update(KERAS_HOME=folder, KERASTL_WEIGHTS_URL=url, no_proxy="127.0.0.1")
    results.put(resolve_weights(row(), "imagenet").path.read_bytes() == GOOD)


def test_two_processes_at_once_download_once(server, home):
    server.answers = ["slow"]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (str(home), server.url, results)
    processes = [context.Process(target=fetch_in_process, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()

    assert found == [True, True, True]
    assert len(server.asked) == 1
    assert files_in(home) == [NAME]


def test_a_kill_in_the_middle_leaves_nothing_that_passes_for_the_file(server, home):
    server.answers = ["stall"]
    code = (
        "import tests.test_weights as t; t.download_module.TIMEOUT = 30;"
        "t.resolve_weights(t.row(), 'imagenet')"
    )
    root = Path(__file__).parents[1]
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stderr=subprocess.DEVNULL
    )
    while not server.asked:
        time.sleep(0.02)
    time.sleep(0.1)
    child.kill()
    child.wait()
    server.released.set()

    [leftover] = files_in(home)
    assert leftover.startswith(".tmp-")
    os.utime(home / "models" / leftover, (0, 0))
    server.answers = [GOOD]
    assert resolve_weights(row(), "imagenet").path.read_bytes() == GOOD
    assert files_in(home) == [NAME]


def write_keras_weights(path: Path, layers: int, empty: int = 2) -> None:
    with h5py.File(path, "w") as file:
        names = [f"layer{n}" for n in range(layers + empty)]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for number, name in enumerate(names):
            kept = [b"kernel"] if number < layers else []
            file.create_group(name).attrs["weight_names"] = kept


def test_without_a_hash_the_file_must_hold_as_many_layers(server, tmp_path, home):
    mobile = Row(WeightsFile("imagenet", NAME, row().pretrained.url, None, layers=5))
    for count in (5, 4):
        write_keras_weights(tmp_path / f"{count}.h5", count)
    good, other = ((tmp_path / f"{count}.h5").read_bytes() for count in (5, 4))

    server.answers = [other]
    with pytest.raises(StorageError, match="holds 4 layers with weights, not 5"):
        resolve_weights(mobile, "imagenet")
    for damaged in (good[:-100], b"<html>", b""):
        server.answers = [damaged]
        with pytest.raises(StorageError, match="no Keras weights file"):
            resolve_weights(mobile, "imagenet")
    server.answers = [good]
    assert resolve_weights(mobile, "imagenet").path.read_bytes() == good


def test_plain_http_is_refused_where_no_hash_protects(monkeypatch):
    monkeypatch.setenv("KERASTL_WEIGHTS_URL", "http://mirror.example")

    with pytest.raises(UsageError, match="'http://mirror.example' is not encrypted"):
        resolve_weights(get_base("mobilenetv2"), "imagenet")


@pytest.mark.parametrize("mirror", ["ftp://mirror", "mirror.example", "file:///etc"])
def test_a_mirror_is_a_web_address(monkeypatch, mirror):
    monkeypatch.setenv("KERASTL_WEIGHTS_URL", mirror)

    with pytest.raises(UsageError, match=f"KERASTL_WEIGHTS_URL='{mirror}'"):
        resolve_weights(row(), "imagenet")


def test_a_cache_that_cannot_be_written_names_keras_home(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))

    with pytest.raises(StorageError, match=r"file/models cannot be written.*KERAS_HOME"):
        resolve_weights(row(), "imagenet")


# What may be asked for.


def test_none_is_random_and_touches_nothing(home):
    resolved = resolve_weights(get_base("vgg16"), None)

    assert (resolved.path, resolved.source, resolved.note) == (None, "random", "")
    assert not home.exists()


@pytest.mark.parametrize(
    ("base", "given", "own"),
    [("tiny", "imagenet", "cifar10"), ("vgg16", "cifar10", "imagenet")],
)
def test_a_source_the_base_does_not_have_is_refused(base, given, own):
    with pytest.raises(UsageError, match=f"{given!r} does not exist for {base}.*{own!r}"):
        resolve_weights(get_base(base), given)


@pytest.mark.parametrize("given", ["imagnet", "weights.pkl", "model.pb", "", 3, True])
def test_anything_else_is_refused_with_what_is_allowed(given):
    with pytest.raises(
        UsageError, match=f"weights={str(given)!r} is not one of: pretrained"
    ):
        resolve_weights(get_base("vgg16"), given)


def test_the_nearest_word_is_suggested():
    with pytest.raises(UsageError, match="Did you mean 'imagenet'"):
        resolve_weights(get_base("vgg16"), "imagnet")


def test_a_path_is_taken_as_it_is(tmp_path):
    path = tmp_path / "mine.weights.h5"
    with pytest.raises(UsageError, match=r"mine.weights.h5'.*no such file"):
        resolve_weights(get_base("vgg16"), path)
    path.write_bytes(b"...")

    resolved = resolve_weights(get_base("vgg16"), path)
    assert (resolved.path, resolved.source) == (path, str(path))


def test_a_path_to_the_published_file_counts_as_published(tmp_path):
    path = tmp_path / "downloaded.h5"
    path.write_bytes(GOOD)

    assert resolve_weights(row(), str(path)).source == "imagenet"


# Weights that ship inside the package.


@pytest.fixture
def assets(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "assets"
    folder.mkdir()
    monkeypatch.setattr(files_module, "ASSETS", folder)
    return folder


def test_shipped_weights_are_checked_against_their_record(assets):
    (assets / "tiny.npz").write_bytes(b"arrays")
    digest = hashlib.sha256(b"arrays").hexdigest()
    (assets / "tiny.json").write_text(json.dumps({"sha256": digest}))

    for asked in ("pretrained", "cifar10", "auto"):
        resolved = resolve_weights(get_base("tiny"), asked)
        assert (resolved.path, resolved.source) == (assets / "tiny.npz", "cifar10")


def test_damaged_or_missing_shipped_weights_say_to_install_again(assets):
    with pytest.raises(StorageError, match=r"tiny.npz is missing or damaged.*install"):
        resolve_weights(get_base("tiny"), "cifar10")
    (assets / "tiny.npz").write_bytes(b"other")
    (assets / "tiny.json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(StorageError, match=r"tiny.npz has a wrong hash"):
        resolve_weights(get_base("tiny"), "pretrained")
    assert resolve_weights(get_base("tiny"), "auto").source == "random"


SHIPPED = files_module.ASSETS / "tiny.npz"


@pytest.mark.skipif(not SHIPPED.is_file(), reason="tiny is not trained yet")
def test_the_shipped_weights_of_tiny_are_those_of_its_record():
    record = json.loads(SHIPPED.with_suffix(".json").read_text())

    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() == record["sha256"]
    assert SHIPPED.stat().st_size <= 1_000_000
    assert resolve_weights(get_base("tiny"), "pretrained").path == SHIPPED

"""Requests on real local clusters, of two worker processes each, one of which is killed."""

import gc
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from processes import ROOT, list_processes, read_number, start_driver, wait_until

from kerastl.errors import UsageError
from kerastl.search import clusters
from kerastl.search.executors import Executor, run_requests
from kerastl.search.requests import Reply, Request
from kerastl.search.sharing import SharedArrays, share_arrays
from kerastl.search.worker import is_alive

WORK = "workers:work"
BY_ADDRESS = """
import sys
from kerastl.search.executors import run_requests
from kerastl.search.requests import Request
sys.path.append("tests")
place = {"executor": "ray", "address": sys.argv[1]}
(reply,) = run_requests([Request(0, {"do": "square"})], function="workers:work", **place)
print(reply.status, reply.message["square"])
"""
# of files that Ray and Dask leave open
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def collect_open_files() -> Iterator[None]:
    """Have them warn here, not in the next module's tests."""
    yield
    gc.collect()


@pytest.fixture(scope="module", params=["ray", "dask"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Executor]:
    pytest.importorskip({"ray": "ray", "dask": "distributed"}[request.param])
    before = set(list_processes(os.getpid()))
    with Executor(request.param, jobs=2) as executor:
        yield executor
    wait_until(lambda: set(list_processes(os.getpid())) <= before)
    gc.collect()


def ask(executor: Executor, *messages: dict, **settings) -> dict[int, Reply]:
    requests = [Request(number, message) for number, message in enumerate(messages)]
    replies = list(executor.run(requests, function=WORK, **settings))
    assert len(replies) == len(messages)
    return {reply.number: reply for reply in replies}


def squares(replies: dict[int, Reply]) -> list[int]:
    return [replies[number].message.get("square") for number in range(len(replies))]


def test_nothing_is_printed(cluster, capfd):  # first, so that the start counts
    ask(cluster, {"do": "print"})
    assert capfd.readouterr().out == ""


def test_replies_are_those_of_one_process(cluster, tmp_path):
    messages = [{"do": "square", "number": number} for number in range(6)]
    with Executor() as here:
        assert squares(ask(cluster, *messages)) == squares(ask(here, *messages))


def test_two_processes_work_at_the_same_time(cluster, tmp_path):
    messages = [{"do": "meet", "folder": str(tmp_path), "number": n} for n in range(2)]
    replies = ask(cluster, *messages, seconds=60)
    assert len({reply.message["parent"] for reply in replies.values()}) == 2


def test_a_worker_killed_in_the_middle_changes_nothing(cluster, tmp_path):
    mark = tmp_path / "mark"
    lethal = {"do": "kill_supervisor", "mark": str(mark), "once": True}
    rest = [{"do": "square", "number": number} for number in range(1, 6)]
    replies = ask(cluster, *rest[:2], lethal, *rest[2:])
    assert len(mark.read_text().split()) == 2
    assert squares(replies) == [1, 4, 49, 9, 16, 25]


def test_a_worker_that_is_done_gets_the_next_request(cluster, tmp_path):
    # the slow one waits for what follows the others, so none may wait for it
    slow = Request(0, {"do": "wait", "until": str(tmp_path / "mark")})
    fast = [Request(number, {"do": "square"}) for number in (1, 2, 3)]
    replies = cluster.run([slow, *fast], function=WORK, seconds=60)
    assert sorted(next(replies).number for _ in fast) == [1, 2, 3]
    (tmp_path / "mark").touch()
    assert [(reply.number, reply.status) for reply in replies] == [(0, "done")]


def test_failures_are_told_apart(cluster):
    replies = ask(
        cluster,
        {"do": "raise", "kind": "ValueError", "text": "loss is nan"},
        {"do": "signal", "number": 9},
        {"do": "square"},
    )
    statuses = [replies[number].status for number in range(3)]
    assert statuses == ["failed", "killed", "done"]
    assert ask(cluster, {"do": "hang"}, seconds=1)[0].status == "timeout"


def test_children_have_the_driver_s_environment(cluster):
    # Ray and Dask set it in their workers
    (reply,) = ask(cluster, {"do": "environment", "names": ["OMP_NUM_THREADS"]}).values()
    assert reply.message["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS")


def test_a_trial_s_state_travels_both_ways(cluster):
    state = {"weights": np.random.default_rng(0).normal(size=(1000, 2000))}
    (reply,) = cluster.run([Request(0, {"do": "echo"}, state)], function=WORK)
    np.testing.assert_array_equal(reply.arrays["weights"], state["weights"])


def test_shared_arrays_are_mapped_on_the_driver_s_machine(cluster):
    with share_arrays({"a": np.arange(1000)}) as shared:
        (reply,) = ask(cluster, {"do": "describe"}, shared=shared).values()
    assert reply.message["mapped"] == {"a": True}
    assert Path(reply.message["files"][0]).parent == shared.folder


def test_closing_early_ends_the_children(cluster, tmp_path):
    requests = [
        Request(0, {"do": "square"}),
        Request(1, {"do": "hang", "mark": str(tmp_path / "pid")}),
        Request(2, {"do": "hang"}),
    ]
    replies = cluster.run(requests, function=WORK)
    assert next(replies).message["square"] == 4
    process = read_number(tmp_path / "pid")
    replies.close()
    wait_until(lambda: not is_alive(process))


def test_shared_arrays_are_brought_to_another_machine(cluster, tmp_path, monkeypatch):
    ask(cluster, {"do": "square"})
    # workers look in the cache folder they were started with, and find nothing there
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with share_arrays({"a": np.arange(1000)}) as mine:
        shared = SharedArrays(Path("/nowhere", mine.folder.name))
        replies = ask(cluster, *[{"do": "describe"}] * 4, shared=shared)
    folders = {Path(reply.message["files"][0]).parent for reply in replies.values()}
    assert {folder.name for folder in folders} == {mine.folder.name}
    assert folders != {mine.folder}
    assert {reply.message["sums"]["a"] for reply in replies.values()} == {499500}
    cluster.close()
    wait_until(lambda: not any(folder.exists() for folder in folders))


# What is the user's stays


def test_a_running_dask_cluster_stays(tmp_path):
    distributed = pytest.importorskip("distributed")
    running = clusters._start_dask(clusters.Wanted(jobs=1))
    address = running.scheduler_address
    try:
        requests = [Request(0, {"do": "square"}), Request(1, {"do": "square"})]
        first, second = run_requests(
            requests, function=WORK, executor="dask", address=address
        )
        assert first.message["pid"] == second.message["pid"]
        wait_until(lambda: not is_alive(first.message["pid"]))
        with distributed.Client(address, set_as_default=False) as client:
            assert client.submit(sum, [1, 2]).result() == 3
    finally:
        running.close()


@pytest.mark.slow
def test_a_running_ray_stays():
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        (reply,) = run_requests(
            [Request(0, {"do": "square"})], function=WORK, executor="ray"
        )
        assert ray.is_initialized()
        wait_until(lambda: not is_alive(reply.message["pid"]))
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_running_ray_is_found_by_its_address():
    ray = pytest.importorskip("ray")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        address = ray.get_runtime_context().gcs_address
        script = [sys.executable, "-c", BY_ADDRESS, address]
        ended = subprocess.run(script, capture_output=True, text=True, cwd=ROOT)
        assert ended.stdout == "done 4\n", ended.stderr
        assert ray.get(ray.remote(lambda: 3).remote()) == 3
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["ray", "dask"])
def test_a_driver_killed_leaves_nothing(executor, tmp_path):
    pytest.importorskip({"ray": "ray", "dask": "distributed"}[executor])
    driver = start_driver(tmp_path, 2, executor)
    working = [read_number(tmp_path / str(number)) for number in range(2)]
    everything = list_processes(driver.pid)
    driver.kill()
    driver.wait()
    wait_until(lambda: not any(is_alive(process) for process in working))
    # Ray's agents take a minute to notice
    wait_until(lambda: not any(is_alive(process) for process in everything), 120)
    driver.communicate()


# Addresses and resources


SCHEMES = [("ray", ""), ("ray", "ray://"), ("dask", ""), ("dask", "tcp://")]


def refuse(executor: str, address: str | None, gpus: float = 0) -> str:
    """Return why a cluster is refused; nothing that was started for it may stay."""
    pytest.importorskip({"ray": "ray", "dask": "distributed"}[executor])
    threads, processes = set(threading.enumerate()), set(list_processes(os.getpid()))
    with pytest.raises(UsageError) as refusal:
        list(run_requests([Request(0, {})], executor=executor, address=address, gpus=gpus))
    wait_until(lambda: set(threading.enumerate()) <= threads)
    wait_until(lambda: set(list_processes(os.getpid())) <= processes)
    return str(refusal.value)


@pytest.mark.parametrize(("executor", "scheme"), SCHEMES)
def test_an_address_where_nobody_listens_is_named(executor, scheme):
    address = f"{scheme}127.0.0.1:1"
    kind = {"ray": "Ray cluster that", "dask": "Dask scheduler with workers that"}[executor]
    expected = rf"address='{address}' is no {kind} answers \(.*refused\); leave it out to"
    assert re.match(expected, refuse(executor, address))


@pytest.mark.parametrize(("executor", "scheme"), SCHEMES)
def test_an_address_where_nothing_is_said_is_named(executor, scheme, monkeypatch):
    monkeypatch.setattr(clusters, "PATIENCE", 0.5)
    with socket.create_server(("", 0)) as silent:
        address = f"{scheme}127.0.0.1:{silent.getsockname()[1]}"
        assert f"address='{address}' is no" in (told := refuse(executor, address))
    assert "answers (timed out); leave it out" in told


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
@pytest.mark.parametrize("executor", ["ray", "dask"])
def test_an_address_where_something_else_is_is_named(executor, words):
    with socket.create_server(("", 0)) as other:
        answering = threading.Thread(target=answer, args=(other, words))
        answering.start()
        told = refuse(executor, f"127.0.0.1:{other.getsockname()[1]}")
        answering.join()
    assert f"answers (what listens there is not {executor.capitalize()})" in told


def answer(server: socket.socket, words: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(words)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(100):  # what is unread would reset the connection
            pass


def test_a_dask_scheduler_without_workers_is_named(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(clusters, "PATIENCE", 2)
    running = clusters._start_dask(clusters.Wanted(jobs=0))
    try:
        assert "answers (Only 0/1 workers" in refuse("dask", running.scheduler_address)
    finally:
        running.close()


def test_what_made_ray_look_elsewhere_is_named(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    told = refuse("ray", None)
    assert told.startswith("address='127.0.0.1:1' is no Ray")
    assert told.endswith("unset RAY_ADDRESS to start one on this machine.")


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_cluster_that_asks_for_a_token_says_what_to_set(wrapped, monkeypatch):
    ray = pytest.importorskip("ray")

    def ask_for_token(*given: object, **options: object) -> None:
        error = ray.exceptions.AuthenticationError("InvalidAuthToken")
        if not wrapped:
            raise error
        # as Ray does where the one who connects has none
        text = f"Last connection error: {type(error).__module__}.{error!r}"
        raise ConnectionError("Failed to connect") from RuntimeError(text)

    monkeypatch.setattr(ray, "init", ask_for_token)
    monkeypatch.setattr(clusters, "knock_at_ray", lambda address, seconds: None)
    told = refuse("ray", "10.0.0.1:6379")
    assert told.startswith("address='10.0.0.1:6379' is a Ray cluster that asks for a token")
    assert re.search("RAY_AUTH_MODE=token.*RAY_AUTH_TOKEN to.*RAY_AUTH_TOKEN_PATH to", told)


def test_more_gpus_than_there_are_is_refused():
    with pytest.raises(UsageError, match="needs 2 GPU never starts: this machine has 1"):
        clusters._check_resources({"CPU": 4, "GPU": 1}, {"GPU": 2, "CPU": 1})
    clusters._check_resources({"CPU": 4}, {"GPU": 0, "CPU": 4})


@pytest.mark.slow
def test_a_ray_that_has_no_room_is_ended():
    assert "needs 99 GPU never starts: this machine has 0" in refuse("ray", None, gpus=99)

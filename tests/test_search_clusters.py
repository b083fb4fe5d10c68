"""Requests on real local clusters, of two worker processes each, one of which is killed."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from processes import list_processes, read_number, start_driver, wait_until

from kerastl.errors import UsageError
from kerastl.search import clusters
from kerastl.search.executors import Executor, run_requests
from kerastl.search.requests import Reply, Request
from kerastl.search.sharing import SharedArrays, share_arrays
from kerastl.search.worker import is_alive

WORK = "workers:work"
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


def test_replies_are_those_of_one_process(cluster, tmp_path):
    messages = [{"do": "square", "number": number} for number in range(6)]
    with Executor() as here:
        assert squares(ask(cluster, *messages)) == squares(ask(here, *messages))


def test_two_processes_work_at_the_same_time(cluster, tmp_path):
    messages = [{"do": "meet", "folder": str(tmp_path), "number": n} for n in range(2)]
    replies = ask(cluster, *messages, seconds=30)
    assert len({reply.message["parent"] for reply in replies.values()}) == 2


def test_a_worker_killed_in_the_middle_changes_nothing(cluster, tmp_path):
    mark = tmp_path / "mark"
    lethal = {"do": "kill_supervisor", "mark": str(mark), "once": True}
    rest = [{"do": "square", "number": number} for number in range(1, 6)]
    replies = ask(cluster, *rest[:2], lethal, *rest[2:])
    assert len(mark.read_text().split()) == 2
    assert squares(replies) == [1, 4, 49, 9, 16, 25]


def test_a_worker_that_is_done_gets_the_next_request(cluster):
    slow = {"do": "wait", "seconds": 4, "number": 0}
    fast = [{"do": "wait", "seconds": 0, "number": number} for number in (1, 2, 3)]
    assert [*ask(cluster, slow, *fast)][-1] == 0


def test_failures_are_told_apart(cluster):
    replies = ask(
        cluster,
        {"do": "raise", "kind": "ValueError", "text": "loss is nan"},
        {"do": "signal", "number": 9},
        {"do": "hang"},
        {"do": "square"},
        seconds=4,
    )
    assert [replies[number].status for number in range(4)] == [
        "failed", "killed", "timeout", "done",
    ]  # fmt: skip


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


def test_shared_arrays_are_brought_to_another_machine(cluster, tmp_path, monkeypatch):
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


def test_nothing_is_printed(cluster, capfd):
    ask(cluster, {"do": "print"})
    assert capfd.readouterr().out == ""


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
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        (reply,) = run_requests(
            [Request(0, {"do": "square"})], function=WORK, executor="ray"
        )
        assert ray.is_initialized()
        wait_until(lambda: not is_alive(reply.message["pid"]))
    finally:
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["ray", "dask"])
def test_a_driver_killed_leaves_nothing(executor, tmp_path):
    pytest.importorskip({"ray": "ray", "dask": "distributed"}[executor])
    driver = start_driver(tmp_path, 2, executor)
    working = [read_number(tmp_path / str(number), 60) for number in range(2)]
    everything = list_processes(driver.pid)
    driver.kill()
    driver.wait()
    wait_until(lambda: not any(is_alive(process) for process in working), 5)
    # Ray's agents take a minute to notice
    wait_until(lambda: not any(is_alive(process) for process in everything), 120)
    driver.communicate()


# Addresses and resources


def test_an_address_where_nobody_answers_is_named(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(clusters, "PATIENCE", 0.5)
    with pytest.raises(UsageError, match=r"address='tcp://127.0.0.1:9' is no Dask sch"):
        list(run_requests([Request(0, {})], executor="dask", address="tcp://127.0.0.1:9"))


def test_more_gpus_than_there_are_is_refused():
    with pytest.raises(UsageError, match="needs 2 GPU never starts: this machine has 1"):
        clusters._check_resources({"CPU": 4, "GPU": 1}, {"GPU": 2, "CPU": 1})
    clusters._check_resources({"CPU": 4}, {"GPU": 0, "CPU": 4})

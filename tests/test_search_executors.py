"""Requests in child processes: replies, failures of every kind, nothing left running."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from processes import (
    INTERRUPTIBLE,
    list_processes,
    read_number,
    start_driver,
    wait_until,
)

from kerastl.errors import UsageError
from kerastl.search import children, executors
from kerastl.search.executors import Executor, run_requests
from kerastl.search.requests import Reply, Request
from kerastl.search.worker import is_alive

WORK = "workers:work"


def ask(*messages: dict, **settings) -> dict[int, Reply]:
    requests = [Request(number, message) for number, message in enumerate(messages)]
    replies = list(run_requests(requests, function=WORK, **settings))
    assert len(replies) == len(messages)
    return {reply.number: reply for reply in replies}


def ask_one(do: str, **given) -> Reply:
    return ask({"do": do, **given})[0]


@pytest.fixture(scope="module")
def warm() -> Iterator[Callable[..., Reply]]:
    """Return `ask_one` on an executor that stays open."""
    with Executor() as executor:

        def ask_warm(do: str, seconds: float | None = None, **given) -> Reply:
            request = Request(7, {"do": do, **given})
            return next(executor.run([request], function=WORK, seconds=seconds))

        yield ask_warm


@pytest.fixture(autouse=True)
def nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    before = set(children._busy) | {c for idle in children._idle.values() for c in idle}
    yield
    after = set(children._busy) | {c for idle in children._idle.values() for c in idle}
    assert "warm" in request.fixturenames or after <= before


# Replies


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_request_has_one_reply(jobs):
    messages = [{"do": "square", "number": number} for number in range(6)]
    replies = ask(*messages, jobs=jobs)
    squares = {number: reply.message["square"] for number, reply in replies.items()}
    assert squares == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16, 5: 25}
    assert {reply.status for reply in replies.values()} == {"done"}


def test_jobs_run_at_the_same_time(tmp_path):
    messages = [{"do": "meet", "folder": str(tmp_path), "number": n} for n in range(2)]
    replies = ask(*messages, jobs=2, seconds=30)
    assert len({reply.message["parent"] for reply in replies.values()}) == 2


def test_replies_come_as_they_finish(tmp_path):
    # by then all the others must have come in: it waits for what they are followed by
    slow = Request(0, {"do": "wait", "until": str(tmp_path / "mark")})
    fast = [Request(number, {"do": "square"}) for number in (1, 2, 3)]
    replies = run_requests([slow, *fast], function=WORK, jobs=2, seconds=60)
    assert sorted(next(replies).number for _ in fast) == [1, 2, 3]
    (tmp_path / "mark").touch()
    assert [(reply.number, reply.status) for reply in replies] == [(0, "done")]


def test_messages_and_arrays_arrive_as_they_were(warm):
    message = {"nan": float("nan"), "text": "한\udc80", "list": [1, 2.5, None, True, {}]}
    reply = warm("echo", **message)
    assert json.dumps(reply.message) == json.dumps(message)


def test_big_and_odd_arrays_arrive_as_they_were():
    rng = np.random.default_rng(0)
    arrays = {
        "big": rng.normal(size=(500, 20_000)).astype("float32"),  # 40 MB
        "empty": np.zeros((0, 3), "uint8"),
        "scalar": np.array(3.5),
        "text": np.array(["a", "한글"]),
        "order": np.asfortranarray(rng.integers(0, 9, (3, 4))),
        "flags": np.array([True, False])[::-1],
    }
    (reply,) = run_requests([Request(0, {"do": "echo"}, arrays)], function=WORK)
    assert reply.status == "done"
    assert list(reply.arrays) == list(arrays)
    for name, array in arrays.items():
        assert reply.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(reply.arrays[name], array)


def test_a_child_stays_for_the_next_request_and_is_recycled(warm, monkeypatch):
    monkeypatch.setattr(children, "RECYCLED_AFTER", 3)
    with Executor() as executor:
        requests = [Request(number, {"do": "square"}) for number in range(7)]
        replies = [*executor.run(requests[:4], function=WORK)]
        replies += executor.run(requests[4:], function=WORK)
    processes = [reply.message["pid"] for reply in replies]
    assert [processes.index(process) for process in processes] == [0, 0, 0, 3, 3, 3, 6]
    assert not any(is_alive(process) for process in processes)


def test_requests_are_taken_when_a_worker_is_free():
    taken = []

    def make() -> Iterator[Request]:
        for number in range(8):
            taken.append(number)
            yield Request(number, {"do": "square"})

    replies = run_requests(make(), function=WORK, jobs=2)
    next(replies)
    # one has come back and another took its place; nothing more was looked at
    assert len(taken) <= 4
    replies.close()


def test_requests_may_end_early():
    late = threading.Event()

    def make() -> Iterator[Request]:
        for number in range(100):
            if late.is_set():
                return
            yield Request(number, {"do": "square"})

    numbers = []
    for reply in run_requests(make(), function=WORK, jobs=2):
        late.set()
        numbers.append(reply.number)
    assert set(numbers) <= set(range(4))


def test_an_error_of_whoever_makes_requests_comes_through():
    def make() -> Iterator[Request]:
        yield Request(0, {"do": "square"})
        raise LookupError("no more rows")

    with pytest.raises(LookupError, match="no more rows"):
        list(run_requests(make(), function=WORK, jobs=2))


def test_no_requests_is_no_replies():
    assert list(run_requests([], jobs=2)) == []


# Failures


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("ValueError", "loss is nan", "ValueError: loss is nan"),
        ("MemoryError", "", "MemoryError"),
        ("SystemExit", "3", "SystemExit: 3"),
        ("KeyboardInterrupt", "", "KeyboardInterrupt"),
        ("OSError", "no such file: \udcff한", "OSError: no such file: \udcff한"),
        ("Speechless", "", "Speechless: it cannot say why"),
    ],
)
def test_what_raises_has_failed(warm, kind, text, reason):
    reply = warm("raise", kind=kind, text=text)
    assert (reply.status, reply.reason, reply.message) == ("failed", reason, {})
    assert "in do_raise" in reply.traceback
    assert warm("square", number=3).message["square"] == 9


def test_a_long_complaint_is_cut(warm):
    reply = warm("raise", kind="ValueError", text="shape " * 100_000)
    assert len(reply.reason) < 2100
    assert reply.reason.endswith("...")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("none", "TypeError: the function returned NoneType, not (dict, arrays)"),
        ("json", "TypeError: Object of type object is not JSON serializable"),
        ("pickle", "TypeError: array 'a' of dtype object cannot be sent"),
    ],
)
def test_an_answer_that_cannot_be_sent_has_failed(warm, what, reason):
    reply = warm("nothing_right", what=what)
    assert reply.status == "failed"
    assert reply.reason.startswith(reason)


def test_a_function_that_is_not_there_has_failed():
    (reply,) = run_requests([Request(0, {})], function="workers:no_such_function")
    assert reply.status == "failed"
    assert "no_such_function" in reply.reason


@pytest.mark.parametrize(
    "request_", [Request(0, {"a": object()}), Request(0, {}, {"a": {}})]
)
def test_a_request_that_cannot_be_sent_has_failed(request_):
    (reply,) = run_requests([request_], function=WORK)
    assert (reply.status, reply.reason[:9]) == ("failed", "TypeError")


def test_a_child_killed_by_a_signal_says_so(warm):
    reply = warm("signal", number=signal.SIGKILL)
    assert reply.status == "killed"
    assert reply.reason == "killed by signal 9 (probably out of memory)"
    assert reply.traceback == "last words\n"
    assert warm("square", number=3).message["square"] == 9


def test_a_crash_in_a_library_says_where(warm):
    reply = warm("crash")
    assert (reply.status, reply.reason) == (
        "killed",
        "killed by signal 11 (Segmentation fault)",
    )
    assert "in do_crash" in reply.traceback


def test_a_child_that_ends_itself_is_killed(warm):
    reply = warm("exit", code=3)
    assert (reply.status, reply.reason) == (
        "killed",
        "its process ended with exit code 3",
    )


def test_what_hangs_is_ended(warm, tmp_path):
    assert warm("square").status == "done"  # so that it need not be started first
    start = time.monotonic()
    reply = warm("hang", seconds=1.5, mark=str(tmp_path / "pid"))
    assert (reply.status, reply.reason) == ("timeout", "not done after 1.5 seconds")
    assert time.monotonic() - start >= 1.5
    assert not is_alive(read_number(tmp_path / "pid"))
    assert warm("square", number=3).message["square"] == 9


def test_what_a_child_started_ends_with_it(warm, tmp_path):
    assert warm("grandchild", mark=str(tmp_path / "pid")).status == "killed"
    process = read_number(tmp_path / "pid")
    wait_until(lambda: not is_alive(process))


def test_an_idle_child_that_was_killed_is_replaced(warm):
    for _ in range(5):  # asked at once, it may be anywhere between alive and buried
        first = warm("square").message["pid"]
        os.kill(first, signal.SIGKILL)
        second = warm("square")
        assert second.status == "done"
        assert second.message["pid"] != first


def test_prints_do_no_harm(warm, capfd):
    reply = warm("print")
    assert (reply.status, reply.message) == ("done", {"asked": ""})
    assert capfd.readouterr() == ("", "")


def test_peak_memory_is_that_of_the_request(warm):
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the system does not tell")
    before = warm("square").peak_memory
    large = warm("fill", megabytes=200).peak_memory
    assert before > 1e6
    assert 200e6 < large - before < 300e6
    assert warm("square").peak_memory < before + 50e6


# Threads and environment


@pytest.mark.parametrize(
    ("threads", "expected"),
    [(None, [None, "7", None, "--some"]), (3, ["3", "3", "3", "--some"])],
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_children_get_the_same_environment_wherever_they_run(
    jobs, threads, expected, monkeypatch
):
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "XLA_FLAGS"]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    monkeypatch.setenv("XLA_FLAGS", "--some")
    message = {"do": "environment", "names": names}
    replies = ask(message, message, jobs=jobs, threads=threads)
    for reply in replies.values():
        assert list(reply.message.values()) == expected


# Ends


@pytest.mark.parametrize("jobs", [1, 2])
def test_closing_early_ends_the_children(jobs, tmp_path):
    messages = [{"do": "square"}, *[{"do": "hang", "mark": str(tmp_path / "pid")}] * 3]
    requests = [Request(number, message) for number, message in enumerate(messages)]
    replies = run_requests(requests, function=WORK, jobs=jobs)
    processes = [next(replies).message["pid"]]
    if jobs > 1:
        processes.append(read_number(tmp_path / "pid"))
    replies.close()
    wait_until(lambda: not any(is_alive(process) for process in processes))


@pytest.mark.parametrize(
    ("jobs", "signal_"),
    [
        (1, signal.SIGKILL),
        (2, signal.SIGKILL),
        (2, signal.SIGTERM),
        pytest.param(1, signal.SIGINT, marks=INTERRUPTIBLE),
        pytest.param(2, signal.SIGINT, marks=INTERRUPTIBLE),
    ],
)
def test_a_driver_that_ends_leaves_nothing(jobs, signal_, tmp_path):
    driver = start_driver(tmp_path, jobs)
    working = [read_number(tmp_path / str(number)) for number in range(jobs)]
    everything = list_processes(driver.pid)
    assert set(working) < set(everything)
    as_ctrl_c = signal_ == signal.SIGINT
    os.killpg(driver.pid, signal_) if as_ctrl_c else driver.send_signal(signal_)
    driver.communicate(timeout=60)
    assert driver.returncode == -signal_
    wait_until(lambda: not any(is_alive(process) for process in everything))


def test_a_supervisor_that_dies_is_replaced(tmp_path):
    lethal = {"do": "kill_supervisor", "mark": str(tmp_path / "mark"), "once": True}
    rest = [{"do": "square", "number": number} for number in range(1, 6)]
    replies = ask(lethal, *rest, jobs=2)
    squares = [replies[number].message["square"] for number in range(6)]
    assert squares == [49, 1, 4, 9, 16, 25]
    assert len((tmp_path / "mark").read_text().split()) == 2


def test_what_always_kills_its_supervisor_is_given_up(tmp_path):
    lethal = {"do": "kill_supervisor", "mark": str(tmp_path / "mark"), "once": False}
    rest = [{"do": "square", "number": number} for number in range(1, 4)]
    replies = ask(lethal, *rest, jobs=2)
    assert replies.pop(0).status == "killed"
    assert {reply.status for reply in replies.values()} == {"done"}
    assert len((tmp_path / "mark").read_text().split()) == executors.TRIES


# Arguments


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"executor": "lokyy"}, "executor='lokyy' is not one of: loky, ray, dask. Did you"),
        ({"jobs": 0}, "jobs=0 is not a whole number from 1"),
        ({"threads": 0}, "threads=0 is not a whole number from 1"),
        ({"seconds": 0}, "seconds=0 leaves no time"),
        ({"address": "tcp://x:1"}, "address='tcp://x:1' goes with executor='ray' or"),
        ({"gpus": -1, "executor": "ray"}, "gpus=-1 is not a number of GPUs"),
        ({"gpus": 1}, "gpus=1 goes with executor='ray'; workers of loky see"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(settings, match):
    with pytest.raises(UsageError, match=match):
        list(run_requests([Request(0, {})], **settings))


@pytest.mark.parametrize(("executor", "module"), [("ray", "ray"), ("dask", "distributed")])
def test_a_missing_package_is_named(executor, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"pip install 'kerastl\[{executor}\]'"):
        list(run_requests([Request(0, {})], executor=executor))

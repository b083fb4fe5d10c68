"""Run folders: nothing is lost to a kill, a full disk, a second process or a bad name."""

import errno
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kerastl.errors import FolderInUseError, StorageError, UsageError
from kerastl.runs import RunFolder, describe_environment, render_csv, write_atomic
from kerastl.runs.locks import FolderLock
from kerastl.runs.tables import parse_csv

# Writes every kind of file twice: version 1 is complete before a fault may fire.
SCRIPT = """
import os, sys
from pathlib import Path
import numpy as np
from kerastl.runs import RunFolder

def write_all(folder, version):
    folder.write_text("config.toml", f"version = {version}\\n")
    folder.write_json("state.json", {"version": version})
    folder.write_text("history.csv", f"version\\n{version}\\n{version}\\n")
    folder.write_bytes("figures/curve.png", bytes([version]) * 5000)
    arrays = {"weights": np.full(300, version), "file": np.array(version)}
    folder.write_arrays("checkpoint/epoch.npz", arrays)

def work(path, k):
    with RunFolder.create("finetune", path) as folder:
        write_all(folder, 1)
        os.environ["KERASTL_FAILPOINT"] = f"{k}:kill"
        write_all(folder, 2)
    os._exit(0)

# one import for all the deaths: each child is a process of its own
for k in range(1, 200):
    child = os.fork() or work(f"{sys.argv[1]}/run{k:03d}", k)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(status)
    if status != -9:
        break
"""
HOLDER = """
import sys, time
from kerastl.runs import RunFolder
with RunFolder.open(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""
RACER = """
import sys
from kerastl.errors import FolderInUseError
from kerastl.runs import RunFolder
try:
    with RunFolder.create("finetune", sys.argv[1]) as folder:
        print("won", flush=True)
        sys.stdin.read()
except FolderInUseError as error:
    print(error, flush=True)
"""
READERS = {
    "config.toml": lambda path: path.read_text().split(" = ")[1].strip(),
    "state.json": lambda path: json.loads(path.read_text())["version"],
    "history.csv": lambda path: pd.read_csv(path)["version"].unique().item(),
    "figures/curve.png": lambda path: set(path.read_bytes()),
    "checkpoint/epoch.npz": lambda path: set(np.load(path)["weights"].tolist()),
}


def run_script(script: str, *arguments: object, **settings) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **settings)


def start_script(script: str, *arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def read_version(path: Path, name: str) -> int:
    found = READERS[name](path / name)
    versions = {int(value) for value in (found if isinstance(found, set) else {found})}
    (version,) = versions  # a mixture of old and new would be two
    return version


def list_temporaries(path: Path) -> list[Path]:
    return list(path.rglob(".tmp-*"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create("finetune", tmp_path / "run")
    folder.write_text("config.toml", "")
    folder.close()
    return folder


@pytest.fixture
def small_disk(tmp_path: Path):
    """Return a function that runs a script on a file system of 256 kB."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare: a small disk cannot be mounted")
    mount = f"mount -t tmpfs -o size=256k none {tmp_path}"
    tried = subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True)
    if tried.returncode:
        pytest.skip("not permitted to mount a small disk here")

    def run_there(script: str) -> subprocess.CompletedProcess:
        python = f'{sys.executable} -c "$SCRIPT" {tmp_path}'
        command = ["unshare", "-rm", "sh", "-c", f"{mount} && {python}"]
        environment = {**os.environ, "SCRIPT": script}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=60
        )

    return run_there


# A kill, a full disk and a disk error at every step of writing


def test_kill_at_every_step_leaves_each_file_old_or_new(tmp_path):
    result = run_script(SCRIPT, tmp_path)
    *kills, last = map(int, result.stdout.split())
    assert last == 0, result.stderr
    assert set(kills) == {-signal.SIGKILL}
    assert len(kills) > 5 * len(READERS), "every file has at least five steps"
    reached = []
    for path in sorted(tmp_path.iterdir()):
        versions = [read_version(path, name) for name in READERS]
        assert versions == sorted(versions, reverse=True), "files are written in order"
        reached.append(sum(versions))
        with RunFolder.open(path):
            assert list_temporaries(path) == []
    assert reached == sorted(reached)
    assert set(reached) == set(range(len(READERS), 2 * len(READERS) + 1))


@pytest.mark.parametrize("fault", ["enospc", "eio"])
def test_error_at_every_step_is_a_storage_error_and_keeps_the_old_file(
    run, monkeypatch, fault
):
    sentences = []
    for k in range(1, 100):
        run.write_text("note.txt", "old")
        monkeypatch.setattr("kerastl.runs.faults._steps", 0)
        with monkeypatch.context() as patch:
            patch.setenv("KERASTL_FAILPOINT", f"{k}:{fault}")
            try:
                run.write_text("note.txt", "new")
            except StorageError as error:
                sentences.append(str(error))
            else:
                break
        # after the rename the new file stands, though it may not survive a power cut
        assert run.read_text("note.txt") in ("old", "new")
        assert list_temporaries(run.path) == []
    reason = os.strerror(getattr(errno, fault.upper()))
    assert len(sentences) > 5
    assert all("note.txt could not be written" in text for text in sentences)
    assert all(reason in text for text in sentences)
    assert run.read_text("note.txt") == "new"


def test_kill_from_outside_in_the_middle_of_a_long_write(tmp_path):
    script = """
import sys
from kerastl.runs import write_atomic
def write(path):
    with path.open("wb") as file:
        while True:
            file.write(b"x" * 1000)
            file.flush()
            print("writing", flush=True)
write_atomic(sys.argv[1], write)
"""
    target = tmp_path / "model.keras"
    target.write_text("old")
    process = start_script(script, target)
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert target.read_text() == "old"
    assert len(list_temporaries(tmp_path)) == 1


def test_interrupt_while_writing_keeps_the_old_file_and_no_temporary(run):
    run.write_text("model.txt", "old")

    def interrupted(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.write_with("model.txt", interrupted)
    assert run.read_text("model.txt") == "old"
    assert list_temporaries(run.path) == []


# A disk that is really full


def test_full_disk_keeps_the_old_file_and_says_what_is_needed(small_disk):
    result = small_disk("""
import sys
from pathlib import Path
from kerastl.errors import StorageError
from kerastl.runs import RunFolder
with RunFolder.create("finetune", Path(sys.argv[1]) / "run") as folder:
    folder.write_bytes("model.bin", b"old" * 10000)
    try:
        folder.write_bytes("model.bin", b"new" * 100000)
    except StorageError as error:
        print(error, error.exit_code)
    assert folder.read_bytes("model.bin") == b"old" * 10000
    folder.write_bytes("small.bin", b"fits again")
    assert not list(folder.path.rglob(".tmp-*"))
    try:
        folder.check_space(10**9)
    except StorageError as error:
        print(error)
""")
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert "run/model.bin could not be written: No space left on device" in first
    assert re.search(r"300\.0 kB needed, \d+\.\d kB free", first)
    assert first.endswith(" 5")
    assert "about 1.0 GB will be written" in second


def test_full_disk_in_steps_never_mixes_old_and_new(small_disk):
    result = small_disk("""
import sys
from pathlib import Path
import numpy as np
from kerastl.errors import StorageError
from kerastl.runs import RunFolder
outcomes = []
with RunFolder.create("finetune", Path(sys.argv[1]) / "run") as folder:
    for count in range(1, 60):
        folder.write_arrays("epoch.npz", {"a0": np.zeros(1000)})
        try:
            new = {f"a{i}": np.ones(700 + 10 * count) for i in range(count)}
            folder.write_arrays("epoch.npz", new)
            expected = [1.0] * count
        except StorageError:
            expected = [0.0]
        outcomes.append(expected[0])
        found = folder.read_arrays("epoch.npz").values()
        assert [array[-1] for array in found] == expected, count
        assert all((array == array[0]).all() for array in found), count
print(outcomes.count(0.0), outcomes.count(1.0))
""")
    assert result.returncode == 0, result.stderr
    failed, succeeded = map(int, result.stdout.split())
    assert failed > 10
    assert succeeded > 10


def test_runtime_error_on_a_full_disk_is_a_storage_error(small_disk):
    result = small_disk("""
import sys
from pathlib import Path
from kerastl.errors import StorageError
from kerastl.runs import write_atomic
def write(path):
    raise RuntimeError("Unspecified error in H5Dclose")
try:
    write_atomic(Path(sys.argv[1]) / "model.keras", write)
except StorageError as error:
    print(error)
""")
    assert "model.keras could not be written: No space left on device" in result.stdout


def test_runtime_error_with_space_left_is_a_bug_and_stays_one(run):
    def write(path: Path) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run.write_with("model.keras", write)


def test_file_size_limit_is_a_storage_error(tmp_path):
    result = run_script(
        """
import resource, sys
from kerastl.errors import StorageError
from kerastl.runs import RunFolder
with RunFolder.create("finetune", sys.argv[1]) as folder:
    folder.write_text("note.txt", "old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        folder.write_text("note.txt", "new" * 1000)
    except StorageError as error:
        print(error)
    print(folder.read_text("note.txt"))
""",
        tmp_path / "run",
    )
    assert "note.txt could not be written: File too large" in result.stdout
    assert result.stdout.endswith("old\n")


# Folders that cannot be written


def test_read_only_folder_can_be_read_and_says_so_when_written(tmp_path):
    # root may write anywhere, so the script gives up its rights first
    shared = Path(f"/tmp/kerastl-readonly-{os.getpid()}")
    shared.mkdir()
    try:
        with RunFolder.create("finetune", shared / "run") as folder:
            folder.write_text("config.toml", "kept")
        (shared / "run" / "lock").chmod(0o444)
        (shared / "run").chmod(0o555)
        result = run_script(
            """
import os, sys
from kerastl.errors import StorageError
from kerastl.runs import RunFolder
folder = RunFolder.open(sys.argv[1])
if os.geteuid() == 0:
    os.setuid(65534)
print(folder.read_text("config.toml"))
try:
    folder.write_text("config.toml", "new")
except StorageError as error:
    print(error)
""",
            shared / "run",
        )
    finally:
        (shared / "run").chmod(0o755)
        shutil.rmtree(shared)
    kept, sentence = result.stdout.splitlines()
    assert kept == "kept"
    assert "run/lock could not be written: Permission denied" in sentence
    assert sentence.endswith("Choose a folder you may write to.")


def test_folder_removed_while_running_is_a_storage_error(run):
    with run:
        shutil.rmtree(run.path)
        run.write_text("note.txt", "made again")
    shutil.rmtree(run.path)
    with pytest.raises(StorageError, match="run/lock could not be written: No such file"):
        run.write_text("note.txt", "x")


# Two processes, one folder


def test_second_process_is_told_who_holds_the_folder(run):
    holder = start_script(HOLDER, run.path)
    try:
        assert holder.stdout.readline() == "held\n"
        pattern = rf"in use by process {holder.pid} on {re.escape(socket.gethostname())}"
        before = time.monotonic()
        with pytest.raises(FolderInUseError, match=pattern) as caught, run:
            pass
        assert time.monotonic() - before < 2
        assert caught.value.exit_code == 6
        with pytest.raises(FolderInUseError, match=str(holder.pid)):
            run.write_text("note.txt", "x")
        with pytest.raises(FolderInUseError, match=str(holder.pid)):
            RunFolder.create("finetune", run.path)
        assert run.read_text("config.toml") == ""  # reading needs no lock
    finally:
        holder.kill()
        holder.communicate()


def test_folder_is_free_the_moment_its_holder_is_killed(run):
    holder = start_script(HOLDER, run.path)
    holder.stdout.readline()
    holder.kill()
    holder.communicate()
    before = time.monotonic()
    with run:
        run.write_text("note.txt", "mine")
    assert time.monotonic() - before < 1


def test_of_many_processes_exactly_one_gets_the_folder(tmp_path):
    racers = [start_script(RACER, tmp_path / "run") for _ in range(6)]
    lines = [racer.stdout.readline().strip() for racer in racers]
    for racer in racers:
        racer.communicate()
    winners = [racer for racer, line in zip(racers, lines, strict=True) if line == "won"]
    (winner,) = winners
    losers = [line for line in lines if line != "won"]
    assert all(f"in use by process {winner.pid}" in line for line in losers)


def test_two_openers_in_one_process_exclude_each_other(run):
    with run, pytest.raises(FolderInUseError, match=str(os.getpid())):
        RunFolder.open(run.path).acquire()
    with RunFolder.open(run.path):
        pass


def test_lock_is_held_for_one_write_only_outside_with(run):
    run.write_text("note.txt", "x")
    with RunFolder.open(run.path):
        pass


def test_a_discarded_folder_is_gone_and_its_lock_free(tmp_path):
    folder = RunFolder.create("finetune", tmp_path / "run")
    folder.discard()
    assert not (tmp_path / "run").exists()
    with RunFolder.create("finetune", tmp_path / "run"):
        pass


def test_a_folder_with_something_in_it_is_not_discarded(run):
    with run:
        run.discard()
        assert run.exists("config.toml")
    with RunFolder.open(run.path):
        pass


def test_what_fails_before_it_wrote_anything_leaves_no_folder(tmp_path):
    with pytest.raises(StorageError), RunFolder.create("pretrain", tmp_path / "run"):
        raise StorageError("offline")
    assert list(tmp_path.iterdir()) == []


def test_who_opened_the_lock_before_it_was_discarded_gets_the_new_one(
    tmp_path, monkeypatch
):
    """Else two processes could hold the folder: one its lock, one the removed file's."""
    first, late = (FolderLock(tmp_path) for _ in range(2))
    first.acquire()
    take = FolderLock._lock

    def discard_in_between(self, file):
        if first.held:
            first.remove()
        take(self, file)

    monkeypatch.setattr(FolderLock, "_lock", discard_in_between)
    late.acquire()
    with pytest.raises(FolderInUseError, match=str(os.getpid())):
        FolderLock(tmp_path).acquire()
    late.release()
    again = FolderLock(tmp_path)
    again.acquire()
    again.release()


# Making and opening


def test_folders_are_numbered_from_the_highest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs/finetune-7").mkdir(parents=True)
    Path("runs/finetune-x").mkdir()
    with RunFolder.create("finetune") as first, RunFolder.create("finetune") as second:
        assert first.path == Path("runs/finetune-8")
        assert second.path == Path("runs/finetune-9")
    with RunFolder.create("search") as other:
        assert other.path == Path("runs/search-1")


def test_threads_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders: list[RunFolder] = []
    threads = [
        threading.Thread(target=lambda: folders.append(RunFolder.create("finetune")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({folder.path for folder in folders}) == 8
    for folder in folders:
        folder.close()


def test_out_with_a_finished_run_is_refused(run):
    run.write_json("metrics.json", {})
    with pytest.raises(UsageError, match=f"{run.path} holds a finished run"):
        RunFolder.create("finetune", run.path)
    with RunFolder.open(run.path) as folder:  # the refusal left no lock behind
        assert folder.finished


def test_out_with_an_unfinished_run_names_resume(run):
    assert not run.finished
    with pytest.raises(UsageError, match=f"--resume {run.path}"):
        RunFolder.create("finetune", run.path)


def test_out_with_other_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.docx").write_text("")
    with pytest.raises(UsageError, match=r"not empty \('thesis.docx' is there\)"):
        RunFolder.create("finetune", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_out_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="out is a file"):
        RunFolder.create("finetune", tmp_path / "out")


def test_out_killed_before_anything_was_written_can_be_used_again(tmp_path):
    RunFolder.create("finetune", tmp_path / "run").close()
    (tmp_path / "run" / ".tmp-12-345.toml").write_text("")
    with RunFolder.create("finetune", tmp_path / "run") as folder:
        assert list_temporaries(folder.path) == []


def test_open_names_the_nearest_folder(run):
    with pytest.raises(UsageError, match=r"no run folder .*/runn\. Did you mean 'run'\?"):
        RunFolder.open(run.path.parent / "runn")


def test_open_refuses_a_folder_without_a_run(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        RunFolder.open(tmp_path)


def test_a_run_can_be_moved_and_copied(run, tmp_path, monkeypatch):
    with run:
        run.write_text("sub/note.txt", "kept")
        shutil.copytree(run.path, tmp_path / "copy")
    shutil.move(run.path, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    for name in ("copy", "moved"):
        with RunFolder.open(name) as folder:
            assert folder.read_text("sub/note.txt") == "kept"


def test_an_interrupt_carries_the_folder_out(run):
    with pytest.raises(KeyboardInterrupt) as caught, run:
        raise KeyboardInterrupt
    assert caught.value.run_folder == run.path


def test_an_interrupt_names_no_folder_that_cannot_be_gone_on_with(tmp_path):
    folder = RunFolder.create("pretrain", tmp_path / "run")
    folder.write_text("note.txt", "x")
    with pytest.raises(KeyboardInterrupt) as caught, folder:
        raise KeyboardInterrupt
    assert not hasattr(caught.value, "run_folder")


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "", "lock", "c:x", "a\\b", "x\0"]
)
def test_names_never_leave_the_folder(run, name):
    with pytest.raises(UsageError, match=re.escape(repr(name))):
        run.write_text(name, "x")
    with pytest.raises(UsageError, match="no file name inside"):
        run.read_text(name)


def test_links_out_of_the_folder_are_refused(run, tmp_path):
    (run.path / "out").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="'out/x'"):
        run.write_text("out/x", "x")


def test_other_peoples_hidden_files_are_not_removed(run):
    (run.path / ".tmp-notes").write_text("mine")
    with run:
        pass
    assert (run.path / ".tmp-notes").exists()


# Kinds of files


def test_json_writes_nan_and_infinity_as_null_and_keeps_korean(run):
    value = {"a": float("nan"), "b": [np.float32("inf"), np.int64(3)], "이름": Path("x/y")}
    run.write_json("value.json", {**value, 5: np.array([1.5, np.nan])})
    assert run.read_json("value.json") == {
        "a": None,
        "b": [None, 3],
        "이름": "x/y",
        "5": [1.5, None],
    }
    assert "이름" in run.read_text("value.json")


def test_json_refuses_what_it_has_no_form_for(run):
    with pytest.raises(TypeError, match="set"):
        run.write_json("value.json", {"a": {1, 2}})


def test_arrays_round_trip_to_the_bit_and_the_same_bytes(run):
    arrays = {
        "stem/kernel": np.random.default_rng(0).normal(size=(3, 4)).astype("float32"),
        "file": np.array(7),
        "names": np.array(["개", "고양이"]),
        "empty": np.zeros((0, 3)),
        "nan": np.array([np.nan, -0.0]),
    }
    run.write_arrays("a.npz", arrays)
    found = run.read_arrays("a.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()
    run.write_arrays("b.npz", arrays)
    assert run.read_bytes("a.npz") == run.read_bytes("b.npz")
    np.testing.assert_array_equal(np.load(run.path / "a.npz")["names"], arrays["names"])


def test_arrays_of_objects_are_refused(run):
    with pytest.raises(UsageError, match=r"'x' has dtype object"):
        run.write_arrays("a.npz", {"x": np.array([{}])})


def test_damaged_arrays_are_never_read_as_numbers(run):
    arrays = {"a": np.arange(20), "b": np.linspace(0, 1, 5)}
    run.write_arrays("a.npz", arrays)
    whole = run.read_bytes("a.npz")
    refused = []
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        for damaged in (whole[:position], bytes(flipped)):
            (run.path / "a.npz").write_bytes(damaged)
            try:
                found = run.read_arrays("a.npz")
            except StorageError as error:
                refused.append(str(error))
                continue
            # what was flipped is a date or an attribute that says nothing of the numbers
            assert list(found) == list(arrays)
            for name, array in found.items():
                np.testing.assert_array_equal(array, arrays[name])
    assert len(refused) > 1.5 * len(whole)
    assert all("a.npz is damaged" in text for text in refused)


def test_arrays_that_do_not_read_back_are_not_put_in_place(run, monkeypatch):
    run.write_arrays("a.npz", {"a": np.zeros(3)})
    original = np.lib.format.write_array
    monkeypatch.setattr(
        "numpy.lib.format.write_array",
        lambda file, array, **settings: original(file, array + 1, **settings),
    )
    with pytest.raises(StorageError, match=r"a\.npz was not replaced.*array 'a' differs"):
        run.write_arrays("a.npz", {"a": np.ones(3)})
    assert run.read_arrays("a.npz")["a"].tolist() == [0, 0, 0]


def test_damaged_json_is_a_storage_error_at_every_length(run):
    run.write_json("state.json", {"epoch": 3, "best": [1, 2]})
    whole = run.read_bytes("state.json")
    for length in range(len(whole) - 1):  # without the last newline it is whole
        (run.path / "state.json").write_bytes(whole[:length])
        if length < len(whole) - 1:
            with pytest.raises(StorageError, match=r"state\.json is damaged"):
                run.read_json("state.json")


def test_missing_file_is_a_storage_error(run):
    for read in (run.read_json, run.read_arrays, run.read_text):
        with pytest.raises(StorageError, match=r"gone\.json could not be read"):
            read("gone.json")


def test_text_that_is_not_utf8_is_a_storage_error(run):
    run.write_bytes("note.txt", b"\xff\xfe")
    with pytest.raises(StorageError, match=r"note\.txt is damaged"):
        run.read_text("note.txt")


def test_remove_forgets_a_file_and_allows_none(run):
    run.write_text("note.txt", "x")
    run.remove("note.txt")
    run.remove("note.txt")
    assert not run.exists("note.txt")


def test_remove_takes_an_empty_folder_along_and_never_the_run(run):
    run.write_text("checkpoint/a/one.txt", "x")
    run.write_text("checkpoint/two.txt", "x")
    run.remove("checkpoint/a/one.txt")
    assert [entry.name for entry in (run.path / "checkpoint").iterdir()] == ["two.txt"]
    run.remove("checkpoint/two.txt")
    assert not (run.path / "checkpoint").exists()
    run.remove("config.toml")
    assert run.path.is_dir()


def test_verify_sees_what_was_written_and_can_refuse_it(run):
    def verify(path: Path) -> None:
        with zipfile.ZipFile(path):
            pass

    run.write_text("model.keras", "old")
    with pytest.raises(StorageError, match=r"model\.keras was not replaced"):
        run.write_with("model.keras", lambda path: path.write_text("no zip"), verify)
    assert run.read_text("model.keras") == "old"


def test_write_atomic_gives_the_writer_the_suffix_and_makes_folders(tmp_path):
    seen = []
    path = write_atomic(tmp_path / "a/b/model.weights.h5", lambda p: seen.append(p.suffix))
    assert seen == [".h5"]
    assert path.exists()


# CSV


FORMULAS = ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "＝1", "'=1", "＠x"]


@pytest.mark.parametrize("text", FORMULAS)
def test_csv_cells_are_never_formulas_and_read_back_exactly(text):
    frame = pd.DataFrame({"name": [text, "plain"], "n": [-1.5, 2.0]})
    written = render_csv(frame)
    cell = pd.read_csv(io.StringIO(written), lineterminator="\n")["name"][0]
    assert cell.startswith("'")
    assert "-1.5" in written
    pd.testing.assert_frame_equal(parse_csv(written), frame)


def test_csv_headers_are_never_formulas():
    assert render_csv(pd.DataFrame({"=cmd": [1]})) == "'=cmd\n1\n"


def test_csv_keeps_names_that_look_like_missing_values_or_numbers():
    frame = pd.DataFrame({"label": ["NA", "null", "01"], "score": [0.1, None, 1 / 3]})
    found = parse_csv(render_csv(frame), text_columns=["label"])
    assert found["label"].tolist() == ["NA", "null", "01"]
    assert found["score"].tolist()[2] == 1 / 3
    assert np.isnan(found["score"][1])


def test_csv_of_a_run_reads_back(run):
    frame = pd.DataFrame({"stage": ["head"], "epoch": [1], "val_loss": [None]})
    run.write_csv("history.csv", frame)
    assert run.read_csv("history.csv")["stage"].tolist() == ["head"]


# The record of the environment


def test_environment_is_an_allow_list(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    text = json.dumps(describe_environment())
    assert "hunter2" not in text
    assert str(Path.home()) not in text
    assert describe_environment()["settings"]["OMP_NUM_THREADS"] == "1"
    assert describe_environment()["packages"]["numpy"] == np.__version__

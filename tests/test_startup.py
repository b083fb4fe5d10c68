import os
import subprocess
import sys

SCRIPT = """
import os, sys
from kerastl import startup

def load():
    os.write(2, b"I0000 00:00:17.0 1 port.cc:153] oneDNN custom operations are on.\\n")
    os.write(2, b"E0000 00:00:17.0 1 cuda_platform.cc:52] failed call to cuInit\\n")
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\\n")
    os.write(2, b"E0000 00:00:17.0 1 other.cc:1] something that matters\\n")
    {more}

startup._load = load
startup.start_tensorflow()
print("after", file=sys.stderr)
"""


def run(more: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{more}", more)],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ, PYTHONPATH=os.getcwd()),
    )


def test_known_noise_is_dropped_and_the_rest_passes():
    done = run("pass")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "E0000 00:00:17.0 1 other.cc:1] something that matters",
        "after",
    ]


def test_what_is_said_before_an_abort_gets_through():
    done = run('os.write(2, b"F0000 no AVX here\\n"); os.abort()')
    assert done.returncode < 0
    assert "F0000 no AVX here" in done.stderr


def test_an_error_while_importing_is_raised():
    done = run('raise ImportError("no tensorflow")')
    assert "ImportError: no tensorflow" in done.stderr


def test_a_tensorflow_that_runs_is_left_alone():
    done = run("sys.exit('loaded')").returncode, run("pass").returncode
    assert done == (1, 0)
    script = "import sys; sys.modules['tensorflow'] = sys; " + SCRIPT.replace(
        "{more}", "sys.exit(9)"
    )
    again = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        env=dict(os.environ, PYTHONPATH=os.getcwd()),
    )
    assert again.returncode == 0

"""Starting TensorFlow without the lines it prints whatever one asks it to."""

import os
import subprocess
import sys

# What TensorFlow's C++ logging writes before it has read TF_CPP_MIN_LOG_LEVEL, and what a
# machine without a GPU makes it say. Everything else passes.
NOISE = (
    "WARNING: All log messages before absl::InitializeLog()",
    "I0000 ",
    "E0000 00:00:",
    "To enable the following instructions:",
)
_NEEDLES = ("cuda", "oneDNN", "cpu_feature_guard", "cuInit", "absl::", "To enable")

# In a process of its own: what TensorFlow says before it aborts still gets through.
_FILTER = """
import sys
noise, needles = eval(sys.argv[1])
for line in sys.stdin.buffer:
    text = line.decode(errors="replace")
    if not (text.startswith(noise) and any(needle in text for needle in needles)):
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
"""


def start_tensorflow() -> None:
    """Import TensorFlow and look for devices, dropping known noise from stderr.

    For programs that own the terminal; in a notebook or a library call TensorFlow starts as
    it always does. Does nothing where TensorFlow runs already.
    """
    if "tensorflow" in sys.modules or os.name == "nt":
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    command = [sys.executable, "-S", "-E", "-c", _FILTER, repr((NOISE, _NEEDLES))]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=kept) as sieve:
            os.dup2(sieve.stdin.fileno(), 2)
            try:
                _load()
            finally:
                os.dup2(kept, 2)  # closes the sieve's input with `with`, which ends it
    finally:
        os.close(kept)


def _load() -> None:
    import tensorflow

    tensorflow.config.list_logical_devices()

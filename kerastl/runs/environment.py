"""What a result may depend on: an allow-list of facts, so that no secret is recorded."""

import os
import platform
from importlib import metadata

PACKAGES = (
    "kerastl",
    "keras",
    "tensorflow",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "pillow",
    "matplotlib",
)
# settings that change the last digits of what TensorFlow computes
SETTINGS = (
    "KERAS_BACKEND",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "TF_DETERMINISTIC_OPS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)


def describe_environment() -> dict[str, object]:
    """Return versions, machine and the settings that change results, without TensorFlow.

    Returns:
        dict with `python`, `system`, `machine`, `processor`, `cpus`, `packages` (name to
        version, None where not installed) and `settings` (only those that are set).

    Example:

    >>> sorted(describe_environment())
    ['cpus', 'machine', 'packages', 'processor', 'python', 'settings', 'system']
    """
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": _usable_cpus(),
        "packages": {name: _version(name) for name in PACKAGES},
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ},
    }


def _version(package: str) -> str | None:
    for name in (package, f"{package}-cpu"):  # TensorFlow is installed under two names
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _usable_cpus() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _processor() -> str:
    if platform.system() == "Linux":
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line for line in file if line.startswith("model name")]
        if names:
            return names[0].partition(":")[2].strip()
    return platform.processor()

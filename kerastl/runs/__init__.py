"""Run folders: the one place that writes results, so that a kill never leaves half a file.

A file is either the old one or the new one: it is written under a temporary name in the
same folder, flushed to the disk, read back where that is possible, and renamed into place.
"""

from kerastl.runs.atomic import write_atomic, write_bytes_atomic, write_text_atomic
from kerastl.runs.environment import describe_environment
from kerastl.runs.folders import COMPARED, COMPARISON, FINISHED, PLAN, RunFolder
from kerastl.runs.tables import render_csv

__all__ = [
    "COMPARED",
    "COMPARISON",
    "FINISHED",
    "PLAN",
    "RunFolder",
    "describe_environment",
    "render_csv",
    "write_atomic",
    "write_bytes_atomic",
    "write_text_atomic",
]

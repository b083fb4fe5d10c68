"""Classifying files with one model or several, and when to say "not sure"."""

from kerastl.predicting.files import expand_paths, predict_paths
from kerastl.predicting.members import (
    average_members,
    check_weights,
    find_model,
    load_members,
    predict_members,
)
from kerastl.predicting.thresholds import check_threshold, read_threshold

__all__ = [
    "average_members",
    "check_threshold",
    "check_weights",
    "expand_paths",
    "find_model",
    "load_members",
    "predict_members",
    "predict_paths",
    "read_threshold",
]

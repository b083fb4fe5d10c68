"""Folders of photographs outside the repository, where the environment names them."""

import os

import pytest

# `train` and `test` with a folder per class; and `train` and `val` with ants and bees
CIFAR10 = os.environ.get("KERASTL_TEST_CIFAR10", "")
HYMENOPTERA = os.environ.get("KERASTL_TEST_HYMENOPTERA", "")
needs_cifar10 = pytest.mark.skipif(
    not CIFAR10, reason="KERASTL_TEST_CIFAR10 names no folder"
)
needs_hymenoptera = pytest.mark.skipif(
    not HYMENOPTERA, reason="KERASTL_TEST_HYMENOPTERA names no folder"
)

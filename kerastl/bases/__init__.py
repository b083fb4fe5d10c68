"""Bases: networks without their top, each a row of one table.

A row says how the network is built, how pixels are prepared for it, how small an image may
be, which blocks it splits into and where its weights come from. Nothing here imports Keras
before a network is built.
"""

from kerastl.bases.choice import AUTO, BaseChoice, base_names, choose_base, get_base
from kerastl.bases.graphs import assign_blocks, build_base, find_cuts
from kerastl.bases.row import Base
from kerastl.bases.table import BASES

__all__ = [
    "AUTO",
    "BASES",
    "Base",
    "BaseChoice",
    "assign_blocks",
    "base_names",
    "build_base",
    "choose_base",
    "find_cuts",
    "get_base",
]

"""Search spaces: what is tried of each setting, as lists or scipy's distributions.

Plain data, checked when it is made: no Keras, and scipy only where a distribution is given.
"""

from kerastl.spaces.parsing import parse_parameter, parse_parameters, parse_space
from kerastl.spaces.settings import SEARCHABLE, check_point
from kerastl.spaces.space import Space, read_space
from kerastl.spaces.tutorial import TUTORIAL, TUTORIAL_SETTINGS, tutorial_space

__all__ = [  # noqa: RUF022  as `sorted` has it, which a test compares with
    "SEARCHABLE",
    "Space",
    "TUTORIAL",
    "TUTORIAL_SETTINGS",
    "check_point",
    "parse_parameter",
    "parse_parameters",
    "parse_space",
    "read_space",
    "tutorial_space",
]

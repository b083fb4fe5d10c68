"""Every option of `finetune` as one flat, checked row that is also a TOML file."""

from kerastl.options.fields import FIELDS, GROUPS, Options
from kerastl.options.files import difference, from_toml, parse_toml, to_toml

__all__ = [
    "FIELDS",
    "GROUPS",
    "Options",
    "difference",
    "from_toml",
    "parse_toml",
    "to_toml",
]

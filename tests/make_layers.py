"""Writes kerastl/assets/layers.json.gz: python -m tests.make_layers"""

import gzip
import json

import keras

from kerastl.bases import BASES
from kerastl.bases.layers import FILE
from kerastl.models import build_model, layer_table
from kerastl.stages import HEAD


def describe_layers(name: str) -> list[list]:
    model = build_model(name, weights=None, image_size=BASES[name].min_size)
    rows = [layer for layer in layer_table(model) if layer.block != HEAD]
    return [[row.name, row.block, int(row.is_batchnorm), row.parameters] for row in rows]


def main() -> None:
    found = {}
    for name in BASES:
        found[name] = describe_layers(name)
        keras.backend.clear_session()
    packed = json.dumps(found, separators=(",", ":")).encode()
    FILE.write_bytes(gzip.compress(packed, mtime=0))


if __name__ == "__main__":
    main()

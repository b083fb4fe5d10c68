import keras
import pytest

import kerastl
from kerastl.bases import BASES
from kerastl.bases.layers import list_head, list_layers, read_rows
from kerastl.bases.operations import list_operations
from kerastl.errors import UsageError
from kerastl.models import build_model, layer_table
from kerastl.stages import HEAD
from tests.make_layers import describe_layers

SMALL = ("tiny", "vgg16", "mobilenetv2")


def assert_listed(name):
    assert read_rows(name) == describe_layers(name)
    model = build_model(name, weights=None, image_size=BASES[name].min_size)
    table = tuple(layer for layer in layer_table(model) if layer.block != HEAD)
    assert list_layers(name) == table


@pytest.mark.parametrize("name", SMALL)
def test_the_list_equals_the_model(name):
    assert_listed(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(BASES) - set(SMALL)))
def test_every_list_equals_its_model(name):
    assert_listed(name)
    keras.backend.clear_session()


def test_every_base_is_listed_with_its_parameters():
    for name, base in BASES.items():
        layers = list_layers(name)
        assert sum(layer.parameters for layer in layers) == base.parameters, name
        assert {layer.block for layer in layers} == {"preprocessing", *base.blocks}, name


def test_shapes_at_the_default_size_are_those_in_the_list():
    for name, base in BASES.items():
        size = (base.image_size, base.image_size)
        shapes = [list(one.shape) for one in list_operations(name, size)]
        assert shapes == [row[5] for row in read_rows(name)], name


@pytest.mark.parametrize("hidden", [(), (8,), (8, 4)])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_head_is_the_one_that_is_built(hidden, dropout):
    model = kerastl.build_model(
        "tiny", num_classes=3, weights=None, hidden=hidden, dropout=dropout
    )
    built = tuple(layer for layer in layer_table(model) if layer.block == HEAD)
    assert built == list_head(BASES["tiny"].features, 3, hidden, dropout)


def test_a_base_without_a_list_is_refused():
    with pytest.raises(UsageError, match="base='nothing'"):
        list_layers("nothing")

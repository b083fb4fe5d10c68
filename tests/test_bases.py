"""The contract of every row: add one to the table, and it is tested here."""

import functools
import inspect
import subprocess
import sys
from dataclasses import dataclass

import keras
import numpy as np
import pytest

from kerastl.bases import (
    BASES,
    Base,
    assign_blocks,
    base_names,
    build_base,
    choose_base,
    find_cuts,
    get_base,
)
from kerastl.errors import UsageError
from kerastl.models import build_model, layer_table
from kerastl.models.normalization import preprocess
from kerastl.models.preflight import ALLOWED
from kerastl.stages import LayerInfo

SLOW_TO_BUILD = {
    *("convnextsmall", "convnextbase", "convnextlarge", "convnextxlarge"),
    *("densenet169", "densenet201", "inceptionresnetv2", "nasnetlarge"),
    *("efficientnetb1", "efficientnetb2", "efficientnetb3", "efficientnetb4"),
    *("efficientnetb5", "efficientnetb6"),
    *("efficientnetb7", "efficientnetv2b1", "efficientnetv2b2", "efficientnetv2b3"),
    *("efficientnetv2s", "efficientnetv2m", "efficientnetv2l"),
    *("resnet101", "resnet152", "resnet50v2", "resnet101v2", "resnet152v2"),
    *("efficientnetv2b0", "nasnetmobile", "resnet34", "xception"),
}
BUILT = [
    pytest.param(name, marks=pytest.mark.slow if name in SLOW_TO_BUILD else ())
    for name in BASES
]
KERAS_BASES = [base for base in BASES.values() if base.constructor[0].isupper()]


@dataclass(frozen=True)
class Facts:
    """What is kept of a built model: the model itself would fill the memory."""

    table: tuple[LayerInfo, ...]
    cuts: tuple[str, ...]
    features: int
    classes: frozenset[tuple[str, str]]
    preprocessed: np.ndarray
    pixels: np.ndarray


@functools.cache
def facts_of(name: str) -> Facts:
    base = get_base(name)
    model = build_model(name, num_classes=3, weights=None, image_size=base.min_size)
    side = base.min_size
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    facts = Facts(
        table=layer_table(model),
        cuts=tuple(find_cuts(model)),
        features=model.get_layer(base.cuts[-1][1]).output.shape[-1],
        classes=frozenset(emitted_classes(keras.saving.serialize_keras_object(model))),
        preprocessed=run_preprocessing(model, base, pixels),
        pixels=pixels,
    )
    keras.utils.clear_session()
    return facts


def emitted_classes(config):
    if isinstance(config, dict):
        if config.get("module"):
            yield config["module"], config["class_name"]
        config = list(config.values())
    if isinstance(config, list | tuple):
        for value in config:
            yield from emitted_classes(value)


def run_preprocessing(model, base, pixels):
    if base.preprocessing == "none":
        return pixels.astype("float32")
    output = model.get_layer("preprocessing").output
    return keras.Model(model.input, output).predict_on_batch(pixels)


def keras_module(base: Base):
    return sys.modules[getattr(keras.applications, base.constructor).__module__]


# Facts of the table, for every row, without building a network.


def test_every_constructor_of_keras_has_a_row():
    constructors = {name for name in dir(keras.applications) if name[0].isupper()}

    assert {base.constructor for base in KERAS_BASES} == constructors
    assert len(KERAS_BASES) == len(constructors) == 40


def test_the_table_is_keyed_by_name_and_starts_with_the_usual_ones():
    assert all(name == base.name for name, base in BASES.items())
    assert base_names()[:4] == ("tiny", "vgg16", "vgg19", "resnet50")


@pytest.mark.parametrize("base", KERAS_BASES, ids=lambda base: base.name)
def test_weights_are_those_of_keras_source(base):
    source = inspect.getsource(keras_module(base))
    if base.constructor.startswith("ResNet"):  # both generations are fetched by one module
        source += inspect.getsource(keras.src.applications.resnet)
    folder, _, published = base.pretrained.url.rpartition("/")

    assert base.pretrained.url.startswith("https://")
    assert folder in source or folder.rpartition("/")[2] in source
    assert base.pretrained.hash is None or base.pretrained.hash in source
    assert (base.pretrained.hash is None) == (base.name in {"mobilenet", "mobilenetv2"})
    assert (base.pretrained.layers is None) == (base.pretrained.hash is not None)
    assert published == base.pretrained.name or base.name.startswith("nasnet")


@pytest.mark.parametrize("base", KERAS_BASES, ids=lambda base: base.name)
def test_sizes_are_those_of_keras(base, monkeypatch):
    construct = getattr(keras.applications, base.constructor)
    if base.constructor.startswith("MobileNetV3"):  # has its own check of the size
        with pytest.raises(ValueError, match=f"at least {base.min_size}x{base.min_size}"):
            construct(input_shape=(31, 31, 3), weights=None)
        return
    asked = {}

    def remember(shape, default_size, min_size, **_):
        asked.update(default=default_size, least=min_size)
        raise InterruptedError

    module = keras_module(base)
    monkeypatch.setattr(module.imagenet_utils, "obtain_input_shape", remember)
    with pytest.raises(InterruptedError):
        construct(weights=None)

    assert asked == {"default": base.image_size, "least": base.min_size}


@pytest.mark.parametrize("base", KERAS_BASES, ids=lambda base: base.name)
def test_preprocessing_equals_the_family_s_own(base):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 5, 7, 3)).astype("float32")
    inputs = keras.Input((5, 7, 3))
    ours = keras.Model(inputs, preprocess(inputs, base))(pixels).numpy()
    theirs = keras_module(base).preprocess_input(pixels.copy())

    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("base", BASES.values(), ids=lambda base: base.name)
def test_block_names_differ_and_are_no_words_of_a_stage(base):
    assert len(set(base.blocks)) == len(base.blocks) >= 2
    assert not {"head", "all", "preprocessing"} & set(base.blocks)


# Facts of the network, built once for each row.


@pytest.mark.parametrize("name", BUILT)
def test_every_layer_is_in_one_block_and_blocks_follow_each_other(name):
    table, blocks = facts_of(name).table, get_base(name).blocks
    prefix = [] if get_base(name).preprocessing == "none" else ["preprocessing"]
    first_seen = list(dict.fromkeys(info.block for info in table))

    assert len({info.name for info in table}) == len(table)
    assert first_seen == ["preprocessing", *blocks, "head"]
    assert [i.name for i in table if i.block == "preprocessing"] == ["pixels", *prefix]
    assert [i.name for i in table if i.block == "head"] == ["pooling", "predictions"]


@pytest.mark.parametrize("name", BUILT)
def test_every_named_cut_is_crossed_by_every_path(name):
    legal = facts_of(name).cuts
    ends = [last for _, last in get_base(name).cuts]

    assert set(ends) <= set(legal)
    assert sorted(ends, key=legal.index) == ends


@pytest.mark.parametrize("name", BUILT)
def test_output_channels_and_parameters(name):
    base, facts = get_base(name), facts_of(name)
    in_base = [i.parameters for i in facts.table if i.block in base.blocks]

    assert facts.features == base.features
    assert sum(in_base) == base.parameters
    assert facts.table[-1].parameters == (base.features + 1) * 3


@pytest.mark.parametrize("name", BUILT)
def test_a_built_model_prepares_pixels_as_the_family_does(name):
    base, facts = get_base(name), facts_of(name)
    pixels = facts.pixels.astype("float32")
    if base in KERAS_BASES:
        expected = keras_module(base).preprocess_input(pixels)
    else:
        prepare = keras.applications.imagenet_utils.preprocess_input
        expected = prepare(pixels, mode=base.preprocessing)

    np.testing.assert_allclose(facts.preprocessed, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", BUILT)
def test_what_the_builder_emits_is_allowed_to_be_loaded(name):
    assert facts_of(name).classes <= ALLOWED


def test_nothing_else_is_allowed_to_be_loaded():
    rows = ("vgg16", "xception", "mobilenetv3small", "efficientnetb0", "convnexttiny")
    rows = (*rows, "densenet121", "nasnetmobile", "inceptionv3", "alexnet")
    emitted = set().union(*(facts_of(name).classes for name in rows))
    for pooling in ("max", "flatten"):
        head = {"hidden": [4], "dropout": 0.5, "pooling": pooling}
        model = build_model("tiny", weights=None, **head)
        emitted |= set(emitted_classes(keras.saving.serialize_keras_object(model)))
    slow = {("keras.src.applications.inception_resnet_v2", "CustomScaleLayer")}

    assert emitted | slow == ALLOWED


@pytest.mark.parametrize("name", BASES)
def test_one_pixel_below_the_minimum_is_refused_with_the_number(name):
    least = get_base(name).min_size

    with pytest.raises(UsageError, match=f"image_size={least - 1} .* at least {least} "):
        build_model(name, weights=None, image_size=least - 1)
    with pytest.raises(UsageError, match=f"at least {least} "):
        build_model(name, weights=None, image_size=(least, least - 1))


@pytest.mark.slow
@pytest.mark.parametrize("base", KERAS_BASES, ids=lambda base: base.name)
@pytest.mark.filterwarnings("ignore:.*`input_shape`:UserWarning")
def test_weights_file_is_exactly_what_keras_fetches(base, monkeypatch):
    asked = {}

    def remember(name, url, cache_subdir, file_hash=None):
        asked.update(name=name, url=url, folder=cache_subdir, hash=file_hash)
        raise InterruptedError

    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", remember)
    side = base.min_size
    with pytest.raises(InterruptedError):
        getattr(keras.applications, base.constructor)(
            include_top=False, weights="imagenet", input_shape=(side, side, 3)
        )
    keras.utils.clear_session()

    file = base.pretrained
    assert asked == {
        "name": file.name,
        "url": file.url,
        "folder": "models",
        "hash": file.hash,
    }


# Finding rows and cuts.


@pytest.mark.parametrize("given", ["ResNet50", "resnet-50", "RESNET_50"])
def test_names_are_found_however_they_are_written(given):
    assert get_base(given).name == "resnet50"


@pytest.mark.parametrize("given", ["vgg_small", "vgg-small", "VGGsmall"])
def test_names_with_an_underscore_are_found_without(given):
    assert get_base(given).name == "vgg_small"


@pytest.mark.parametrize("given", ["resnet5", "vgg", None, 16])
def test_an_unknown_base_is_refused_with_the_nearest(given):
    with pytest.raises(UsageError, match=f"base={given!r} is none of the 47 bases that"):
        get_base(given)


def test_the_nearest_name_is_suggested():
    with pytest.raises(UsageError, match="Did you mean 'mobilenetv2'"):
        get_base("mobilenet_v22")


def graph(build):
    inputs = keras.Input((4,), name="in")
    return keras.Model(inputs, build(inputs))


def dense(x, name):
    return keras.layers.Dense(4, name=name)(x)


def add(tensors, name):
    return keras.layers.Add(name=name)(tensors)


def test_every_layer_of_a_chain_is_a_cut():
    assert find_cuts(graph(lambda x: dense(dense(x, "a"), "b"))) == ["a", "b"]


def test_inside_a_residual_there_is_no_cut():
    def build(x):
        a = dense(x, "a")
        return dense(add([a, dense(dense(a, "b"), "c")], "sum"), "d")

    assert find_cuts(graph(build)) == ["a", "sum", "d"]


def test_a_skip_over_everything_leaves_only_the_end():
    def build(x):
        return add([x, dense(dense(x, "a"), "b")], "sum")

    assert find_cuts(graph(build)) == ["sum"]


def test_branches_that_cross_have_no_cut_between():
    def build(x):
        left, right = dense(x, "left"), dense(x, "right")
        both, other = add([left, right], "both"), dense(left, "other")
        return add([both, other], "end")

    assert find_cuts(graph(build)) == ["end"]


def test_layers_called_again_elsewhere_do_not_confuse_the_graph():
    model = graph(lambda x: dense(dense(x, "a"), "b"))
    keras.Model(other := keras.Input((4,)), model(add([other, other], "twice")))

    assert find_cuts(model) == ["a", "b"]
    assert assign_blocks(model, (("one", "a"),)) == {"in": "one", "a": "one"}


def test_operations_that_are_no_layers_are_no_cuts():
    def build(x):
        return dense(dense(x, "a") + 1.0, "b")

    assert find_cuts(graph(build)) == ["a", "b"]


@pytest.mark.parametrize("name", ["xception", "mobilenetv3small", "alexnet"])
def test_names_of_layers_do_not_depend_on_what_was_built_before(name):
    base = get_base(name)
    side = base.min_size

    def names():
        network = build_base(base, keras.Input((side, side, 3), name="pixels"))
        return [operation.name for operation in network.operations]

    first = names()
    keras.layers.Conv2D(1, 1), keras.layers.Add()
    assert names() == first


def test_auto_falls_back_to_tiny_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERASTL_WEIGHTS_URL", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    name, weights, reason = choose_base()

    assert (name, weights) == ("tiny", "pretrained")
    assert "resnet50" in reason
    assert str(tmp_path) in reason


@pytest.mark.parametrize("module", ["bases", "weights", "models", "models.preflight"])
def test_modules_that_help_and_checks_need_import_no_keras(module):
    loaded = "{'keras', 'tensorflow'} & {*sys.modules}"
    code = f"import kerastl.{module}, sys; assert not {loaded}"
    subprocess.run([sys.executable, "-c", code], check=True)

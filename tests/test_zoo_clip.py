"""Zero-shot by names: against keras-hub's own CLIP, of random weights, on real scans."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from documents import ROOT, find_blocks
from PIL import Image

import kerastl
from kerastl.errors import DataError, StorageError, UsageError
from kerastl.models import load_model
from kerastl.models.clip import load_preset

keras_hub = pytest.importorskip("keras_hub", reason="needs kerastl[zoo]")

SIDE, LENGTH = 16, 24
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NAMES = dict(zip("0123456789", DIGITS, strict=True))
PROMPTS = ("a photo of a {}.", "the number {}!", "{}")
START, END = "<|startoftext|>", "<|endoftext|>"
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711])


def make_tokenizer():
    """Letters, and some that are merged; the end has the highest number, as in CLIP."""
    letters = [*"abcdefghijklmnopqrstuvwxyz.!_"]
    merged = ["ph", "pho", "of</w>", "th", "the</w>"]
    tokens = [*letters, *(f"{each}</w>" for each in letters), *merged, START, END]
    merges = ["p h", "ph o", "o f</w>", "t h", "th e</w>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    return keras_hub.models.CLIPTokenizer(vocabulary, merges)


def make_backbone(tokenizer):
    sizes = {"hidden_dim": 16, "num_layers": 2, "num_heads": 2, "intermediate_dim": 32}
    vision = keras_hub.models.CLIPVisionEncoder(
        patch_size=4, image_shape=(SIDE, SIDE, 3), **sizes
    )
    text = keras_hub.models.CLIPTextEncoder(
        vocabulary_size=tokenizer.vocabulary_size(), embedding_dim=16,
        max_sequence_length=LENGTH, **sizes,
    )  # fmt: skip
    backbone = keras_hub.models.CLIPBackbone(vision, text, projection_dim=12)
    rng = np.random.default_rng(1)
    for weight in backbone.weights:  # with its own small ones all answers are the same
        if len(weight.shape) and weight.dtype == "float32":
            center = float("norm" in weight.path and "gamma" in weight.path)
            weight.assign(rng.normal(center, 0.3, weight.shape))
    backbone.clip_head.logit_scale.assign(np.log(17.0))
    return backbone


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo") / "tiny_clip"
    tokenizer = make_tokenizer()
    converter = keras_hub.layers.CLIPImageConverter(
        image_size=(SIDE, SIDE),
        scale=(1 / 255 / DEVIATION).tolist(),
        offset=(-MEAN / DEVIATION).tolist(),
        interpolation="bicubic",
        antialias=True,
    )
    with warnings.catch_warnings():  # Keras copies variables as NumPy 2 deprecates
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        for part in (make_backbone(tokenizer), tokenizer, converter):
            part.save_to_preset(str(folder))
    return folder


@pytest.fixture(scope="module")
def data():
    return kerastl.load_images("digits")


@pytest.fixture(scope="module")
def hub(preset):
    """What keras-hub makes of the same folder."""
    return load_preset(str(preset))


@pytest.fixture(scope="module")
def result(data, preset):
    return kerastl.zero_shot_by_names(data, preset=preset, names=NAMES)


def soften(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def ask(hub, pixels, texts):
    """The logits of keras-hub's own forward pass, from images and texts."""
    asked = hub.preprocessor(
        {"images": pixels, "prompts": list(texts)}, sequence_length=LENGTH
    )
    given = {name: asked[name] for name in ("images", "token_ids")}
    return np.asarray(hub.backbone(given)["vision_logits"], np.float64)


def test_answers_are_those_of_the_whole_network_on_every_test_image(data, hub, result):
    logits = ask(hub, data.test.pixels(SIDE), [f"a photo of a {n}." for n in DIGITS])
    np.testing.assert_allclose(result.probabilities, soften(logits), atol=1e-5)
    assert (result.probabilities.argmax(1) == logits.argmax(1)).all()
    assert len(set(logits.argmax(1))) > 3  # not one answer for all
    right = np.mean(logits.argmax(1) == data.test.labels)
    assert result.scores.accuracy.value == pytest.approx(right)
    assert result.scores.split == "test"


def test_embeddings_of_both_sides_are_those_of_the_network(data, hub, result):
    pixels = data.test.pixels(SIDE)[:20]
    converted = hub.preprocessor.image_converter(pixels)
    expected = np.array(hub.backbone.get_vision_embeddings(converted))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    side = keras.Model(result.model.input, result.model.get_layer("embedding").output)
    np.testing.assert_allclose(side.predict_on_batch(pixels), expected, atol=1e-5)
    kernel = result.model.get_layer("predictions").kernel.numpy()
    assert np.linalg.norm(kernel, axis=0) == pytest.approx(np.full(10, 17.0), rel=1e-5)


def test_several_prompts_are_the_mean_of_normalised_embeddings(data, preset, hub):
    found = kerastl.zero_shot_by_names(data, preset=preset, names=NAMES, prompts=PROMPTS)
    classes = []
    for name in DIGITS:
        each = []
        for prompt in PROMPTS:
            given = {"prompts": [prompt.replace("{}", name)], "images": None}
            tokens = hub.preprocessor(given, sequence_length=LENGTH)["token_ids"]
            embedding = np.asarray(hub.backbone.get_text_embeddings(tokens))[0]
            each.append(embedding / np.linalg.norm(embedding))
        mean = np.mean(each, axis=0)
        classes.append(17 * mean / np.linalg.norm(mean))
    kernel = found.model.get_layer("predictions").kernel.numpy()
    np.testing.assert_allclose(kernel, np.transpose(classes), atol=1e-4)
    assert "the mean of 3 prompts" in str(found)


def test_answers_go_with_the_names_and_not_with_their_places(data, preset, result):
    order = np.random.default_rng(1).permutation(10)
    swapped = {str(i): DIGITS[j] for i, j in enumerate(order)}
    found = kerastl.zero_shot_by_names(data, preset=preset, names=swapped)
    expected = result.probabilities[:, order]
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)


def test_only_test_images_are_looked_at(data, preset, result):
    import dataclasses

    noise = np.random.default_rng(0).integers(0, 256, data.train.images.shape, "uint8")
    train = dataclasses.replace(data.train, images=noise)
    other = dataclasses.replace(data, train=train, validation=None)
    found = kerastl.zero_shot_by_names(other, preset=preset, names=NAMES)
    assert found.probabilities.tobytes() == result.probabilities.tobytes()


def test_what_it_says(result):
    text, scores = str(result), result.scores
    assert "10 classes told apart by their names, 'a photo of a {}.'" in text
    assert "(tiny_clip)" in text
    assert f"{scores.accuracy.low:.3f} to {scores.accuracy.high:.3f}" in text
    assert f"would score {scores.baseline.value:.3f}" in text
    assert "not distinguishable" in text or "worse than" in text  # random weights
    assert "images and captions of the web" in text
    assert "<li>" in result._repr_html_()
    assert list(scores.per_class["class"]) == list("0123456789")


def test_a_saved_result_predicts_again(data, result, tmp_path):
    folder = result.save(tmp_path / "run")
    names = {path.name for path in folder.iterdir()} - {"lock"}
    assert names == {"clip.json", "labels.json", "predictions.csv", "metrics.json"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test"] == result.scores.to_dict()
    assert metrics["names"] == NAMES
    rows = pd.read_csv(folder / "predictions.csv", dtype={"label": str, "predicted": str})
    assert (rows["label"] == rows["predicted"]).mean() == result.scores.accuracy.value
    pixels = data.test.pixels(SIDE)[:9]
    loaded = load_model(folder / "clip.json")
    again = kerastl.predict_probabilities(loaded, pixels)
    np.testing.assert_allclose(again, result.probabilities[:9], atol=1e-6)
    assert loaded.kerastl.class_names == result.classes
    answers = result.predict(pixels)
    best = result.probabilities[:9].argmax(1)
    assert answers["label"].tolist() == [result.classes[i] for i in best]


def write_pictures(folder, data):
    pixels = data.test.pixels(SIDE)
    for place in range(120):
        name = DIGITS[data.test.labels[place]]
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[place]).save(folder / name / f"{place}.png")


def call(*arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "kerastl", *map(str, arguments)], cwd=cwd,
        capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_the_commands_from_end_to_end(data, preset, hub, tmp_path):
    write_pictures(tmp_path / "photos", data)
    done = call(
        "zero-shot", "--data", "photos", "--method", "clip", "--preset", preset, "--prompt",
        "a {}", "--prompt", "the {}", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["prompts"] == ["a {}", "the {}"]
    folder = tmp_path / "runs/zero-shot-1"
    assert found == json.loads((folder / "metrics.json").read_text())
    assert "runs/zero-shot-1 has clip.json, labels.json, predictions.csv and" in done.stderr
    done = call("predict", "runs/zero-shot-1", "photos/one", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    files = sorted((tmp_path / "photos/one").iterdir())
    pixels = np.stack([kerastl.decode_image(path) for path in files])
    texts = [f"{word} {name}" for name in sorted(DIGITS) for word in ("a", "the")]
    expected = average_by_hand(hub, ask(hub, pixels, texts) / 17, texts)
    given = {Path(row["path"]).name: row["label"] for row in rows}
    assert given == {
        path.name: sorted(DIGITS)[answer]
        for path, answer in zip(files, expected, strict=True)
    }


def average_by_hand(hub, cosines, texts):
    """Mean cosines of pairs of texts over the length of the mean of their directions."""
    asked = {"prompts": texts, "images": None}
    ids = hub.preprocessor(asked, sequence_length=LENGTH)["token_ids"]
    directions = np.array(hub.backbone.get_text_embeddings(ids))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = np.linalg.norm(directions.reshape(10, 2, -1).mean(axis=1), axis=1)
    means = cosines.reshape(len(cosines), 10, 2).mean(axis=2) / lengths
    return means.argmax(axis=1)


# What goes wrong


def test_a_preset_that_cannot_be_fetched_is_one_sentence(tmp_path):
    from kerastl.models import build_clip

    if can_resolve("www.kaggle.com"):
        pytest.skip("there is a network: this would download 600 MB")
    with pytest.raises(StorageError, match=r"could not be fetched \(.+\)\. Give"):
        build_clip("clip_vit_base_patch32", ["ant"], [["an ant"]])
    done = call("zero-shot", "--method", "clip", cwd=tmp_path)
    assert done.returncode == StorageError.exit_code
    assert "'clip_vit_base_patch32' could not be fetched" in done.stderr
    assert not list(tmp_path.glob("runs/*"))


def can_resolve(host):
    import socket

    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def test_a_name_that_keras_hub_does_not_know(data):
    with pytest.raises(UsageError, match="Did you mean 'clip_vit_base_patch32'"):
        kerastl.zero_shot_by_names(data, preset="clip_vit_base_patch23")


def test_a_folder_of_something_else(data, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="no whole CLIP preset of keras-hub"):
        kerastl.zero_shot_by_names(data, preset=tmp_path, names=NAMES)


def test_a_preset_without_its_tokenizer(data, preset, tmp_path):
    for name in ("config.json", "model.weights.h5", "metadata.json"):
        (tmp_path / name).write_bytes((preset / name).read_bytes())
    with pytest.raises(DataError, match="`tokenizer.json` doesn't exist"):
        kerastl.zero_shot_by_names(data, preset=tmp_path, names=NAMES)


def test_prompts_too_long_for_the_network(data, preset):
    with pytest.raises(DataError, match="longer than the 22 tokens"):
        kerastl.zero_shot_by_names(
            data, preset=preset, names=NAMES, prompts="{}" + "b" * 22
        )


def test_classes_that_are_the_same_tokens(data, preset):
    names = {**NAMES, "3": "six+", "7": "six="}  # neither sign is in the vocabulary
    with pytest.raises(DataError, match="'3' and '7' are the same words to CLIP"):
        kerastl.zero_shot_by_names(data, preset=preset, names=names)


def test_it_is_averaged_and_viewed_like_any_other_model(data, preset, result, tmp_path):
    other = kerastl.zero_shot_by_names(data, preset=preset, names=NAMES, prompts="{}")
    pixels = data.test.pixels(SIDE)[:3]
    paths = [tmp_path / f"{place}.png" for place in range(3)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    folders = [each.save(tmp_path / str(i)) for i, each in enumerate((result, other))]
    found = kerastl.predict_paths(folders, paths, tta="flip", top_k=1)
    views = [
        kerastl.predict_probabilities(each.model, image)
        for each in (result, other)
        for image in (pixels, pixels[:, :, ::-1])
    ]
    expected = np.mean(views, axis=0)
    assert found["label"].tolist() == [str(i) for i in expected.argmax(axis=1)]
    np.testing.assert_allclose(found["confidence"], expected.max(axis=1), atol=1e-5)


def test_it_is_not_fine_tuned(data, result):
    with pytest.raises(UsageError, match="base='clip' is none of the 4"):
        kerastl.finetune(result.model, data, epochs=1)


def test_it_is_not_saved_as_a_model_file_or_explained(data, result, tmp_path):
    with pytest.raises(UsageError, match=r"save the zero-shot result, whose clip\.json"):
        kerastl.save_model(result.model, tmp_path / "model.keras")
    with pytest.raises(UsageError, match="not convolutional"):
        kerastl.explain(result.model, data.test.pixels(SIDE)[:2])


def test_the_example_of_the_guide_runs(preset, tmp_path, monkeypatch):
    from documents import write_photos

    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    text = (ROOT / "docs/zero-shot.md").read_text(encoding="utf-8")
    (block,) = find_blocks(text, "py")
    whole = kerastl.zero_shot_by_names
    monkeypatch.setattr(
        kerastl, "zero_shot_by_names", lambda *a, **k: whole(*a, **{**k, "preset": preset})
    )
    exec(compile(block.code, "zero-shot.md", "exec"), {})
    assert (tmp_path / "runs/zero-shot-1/clip.json").is_file()

"""Rows of networks of our own: to train from scratch, to compare, or from a preset."""

from collections.abc import Iterator

from kerastl.bases.row import Base
from kerastl.weights import WeightsFile


def resnets() -> Iterator[Base]:
    """Yield ResNet18 and ResNet34, which `keras.applications` does not have.

    Both presets are the weights `a1_in1k` of timm (Wightman et al., 2021, "ResNet strikes
    back"). keras-hub publishes ResNet18's, and converts ResNet34's by itself; its own
    `resnet_vd_34_imagenet` is another network.
    """
    for name, parameters, units, preset in (
        (
            "resnet18",
            11_186_112,
            (2, 2, 2, 2),
            "kaggle://keras/resnetv1/keras/resnet_18_imagenet/3",
        ),
        ("resnet34", 21_301_696, (3, 4, 6, 3), "hf://timm/resnet34.a1_in1k"),
    ):
        levels = enumerate(units, start=2)
        yield Base(
            name=name,
            constructor=name,
            preprocessing="torch",
            image_size=224,
            min_size=32,
            features=512,
            parameters=parameters,
            cuts=(
                ("conv1", "pool1_pool"),
                *((f"conv{n}", f"conv{n}_block{last}_out") for n, last in levels),
            ),
            pretrained=WeightsFile("imagenet", f"kerastl_{name}_imagenet.npz", preset),
        )


def classics() -> Iterator[Base]:
    """Yield AlexNet and GoogLeNet, as published."""
    # 0-255 with the mean taken off, the scale that the constants of their local response
    # normalisation are for
    yield Base(
        name="alexnet",
        constructor="alexnet",
        preprocessing="caffe",
        image_size=227,
        min_size=67,
        features=256,
        parameters=2_334_080,
        cuts=(
            ("block1", "pool1"),
            ("block2", "pool2"),
            ("block3", "conv3"),
            ("block4", "conv4"),
            ("block5", "pool5"),
        ),
        pretrained=None,
    )
    yield Base(
        name="googlenet",
        constructor="googlenet",
        preprocessing="caffe",
        image_size=224,
        min_size=32,
        features=1024,
        parameters=5_973_552,
        cuts=(
            ("conv1", "pool1"),
            ("conv2", "pool2"),
            ("inception3", "pool3"),
            ("inception4", "pool4"),
            ("inception5", "inception_5b"),
        ),
        pretrained=None,
        auxiliaries=("inception_4a", "inception_4d"),
    )


def small_nets() -> Iterator[Base]:
    """Yield the nets that courses build for images of 32 pixels."""
    for name, parameters in (("vgg_small", 540_192), ("resnet_small", 1_189_696)):
        yield Base(
            name=name,
            constructor=name,
            preprocessing="tf",
            image_size=32,
            min_size=8,
            features=256,
            parameters=parameters,
            cuts=tuple((f"block{n}", f"block{n}_pool") for n in (1, 2, 3)),
            pretrained=None,
        )

"""Networks of this project's own, built like those of `keras.applications`."""

from kerastl.networks.grouped import alexnet
from kerastl.networks.inception import add_auxiliary_head, googlenet
from kerastl.networks.residual import resnet18, resnet34
from kerastl.networks.small import (
    TINY_NORM,
    TINY_OUT,
    add_tiny_top,
    resnet_small,
    tiny,
    vgg_small,
)

# what a row of the table of bases calls its constructor
CONSTRUCTORS = {
    "tiny": tiny,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "alexnet": alexnet,
    "googlenet": googlenet,
    "vgg_small": vgg_small,
    "resnet_small": resnet_small,
}

__all__ = [
    "CONSTRUCTORS",
    "TINY_NORM",
    "TINY_OUT",
    "add_auxiliary_head",
    "add_tiny_top",
    "alexnet",
    "googlenet",
    "resnet18",
    "resnet34",
    "resnet_small",
    "tiny",
    "vgg_small",
]

"""A row of the table of bases: how one is built, what it eats, where it splits."""

from dataclasses import dataclass

from kerastl.weights import WeightsFile

Cuts = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Base:
    """One pretrained network without its top.

    Args:
        name: How users call it.
        constructor: Its function in `keras.applications`, or `"tiny"` of this package.
        preprocessing: How 0-255 pixels become its input: `"caffe"` (BGR, mean taken off),
            `"tf"` (-1 to 1), `"torch"` (standardised RGB) or `"none"` (done by the base).
        image_size: Height and width it was pretrained at, the default.
        min_size: The smallest height and width it accepts.
        features: Channels of its output.
        parameters: Its weights, counted one by one.
        cuts: For each block, from the input up, its name and its last layer, whose output
            every path through the network crosses.
        pretrained: Its weights.
        head_rate: Learning rate at which a new head on it learns well with Adam; the named
            schedules take it. Default 1e-3.
    """

    name: str
    constructor: str
    preprocessing: str
    image_size: int
    min_size: int
    features: int
    parameters: int
    cuts: Cuts
    pretrained: WeightsFile
    head_rate: float = 1e-3

    @property
    def source(self) -> str:
        """The data set its weights were trained on: `"imagenet"` or `"cifar10"`."""
        return self.pretrained.source

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of its blocks, from the input up."""
        return tuple(block for block, _ in self.cuts)


STORAGE = "https://storage.googleapis.com/"
KERAS_FOLDER = f"{STORAGE}tensorflow/keras-applications/"
NOTOP = "_weights_tf_dim_ordering_tf_kernels_notop.h5"


def keras_base(
    constructor: str,
    image_size: int,
    features: int,
    parameters: int,
    cuts: Cuts,
    *,
    preprocessing: str,
    file: str,
    folder: str,
    digest: str | None,
    min_size: int = 32,
    published_as: str | None = None,
    layers: int | None = None,
) -> Base:
    """Fill a row for a constructor of `keras.applications`, named like it in lower case."""
    return Base(
        name=constructor.lower(),
        constructor=constructor,
        preprocessing=preprocessing,
        image_size=image_size,
        min_size=min_size,
        features=features,
        parameters=parameters,
        cuts=cuts,
        pretrained=WeightsFile(
            "imagenet", file, f"{folder}{published_as or file}", digest, layers
        ),
    )

"""A row of the table of bases: how one is built, what it eats, where it splits."""

from dataclasses import dataclass

from kerastl.bases.scaling import Scale, scale_like
from kerastl.weights import WeightsFile

Cuts = tuple[tuple[str, str], ...]
AUXILIARY_WEIGHT = 0.3  # of each auxiliary head's loss: Szegedy et al. (2014), section 5


@dataclass(frozen=True)
class Base:
    """One network without its top.

    Args:
        name: How users call it.
        constructor: Its function in `keras.applications`, or in `kerastl.networks`, whose
            names are in lower case.
        preprocessing: How 0-255 pixels become its input: `"caffe"` (BGR, mean taken off),
            `"tf"` (-1 to 1), `"torch"` (standardised RGB) or `"none"` (done by the base).
        image_size: Height and width it was pretrained or published at, the default.
        min_size: The smallest height and width it accepts.
        features: Channels of its output.
        parameters: Its weights, counted one by one.
        cuts: For each block, from the input up, its name and its last layer, whose output
            every path through the network crosses.
        pretrained: Its weights; None where it has none and starts from random ones.
        head_rate: Learning rate at which a new head on it learns well with Adam; the named
            schedules take it. Default 1e-3.
        auxiliaries: Layers off which a head branches that exists in training alone.
    """

    name: str
    constructor: str
    preprocessing: str
    image_size: int
    min_size: int
    features: int
    parameters: int
    cuts: Cuts
    pretrained: WeightsFile | None
    head_rate: float = 1e-3
    auxiliaries: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """What its weights were trained on: `"imagenet"`, `"cifar10"`, or `"none"`."""
        return self.pretrained.source if self.pretrained else "none"

    @property
    def origin(self) -> str:
        """Where they come from: `"package"`, `"web"`, `"keras-hub"`, or `"none"`."""
        return self.pretrained.origin if self.pretrained else "none"

    @property
    def scaling(self) -> tuple[Scale, Scale]:
        """Factor and offset that 0-255 pixels get, for all channels or each."""
        return scale_like(self.preprocessing)

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

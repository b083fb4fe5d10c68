"""The table of bases."""

from collections.abc import Iterator

from kerastl.bases import efficient, scratch
from kerastl.bases.row import KERAS_FOLDER, NOTOP, Base, keras_base
from kerastl.weights import WeightsFile


def _tiny() -> Iterator[Base]:
    yield Base(
        name="tiny",
        constructor="tiny",
        preprocessing="tf",
        image_size=32,
        min_size=8,
        features=80,
        parameters=207_904,
        cuts=(("stem", "stem_relu"), ("block1", "block1_out"), ("block2", "block2_norm")),
        pretrained=WeightsFile("cifar10", "tiny.npz"),
        head_rate=1e-2,  # 80 features move a head less than 2,048 do
    )


def _vggs() -> Iterator[Base]:
    cuts = tuple((f"block{n}", f"block{n}_pool") for n in range(1, 6))
    for constructor, parameters, digest in (
        ("VGG16", 14_714_688, "6d6bbae143d832006294945121d1f1fc"),
        ("VGG19", 20_024_384, "253f8cb515780f3b799900260a226db6"),
    ):
        name = constructor.lower()
        yield keras_base(
            constructor,
            224,
            512,
            parameters,
            cuts,
            preprocessing="caffe",
            file=f"{name}{NOTOP}",
            folder=f"{KERAS_FOLDER}{name}/",
            digest=digest,
        )


def _resnets() -> Iterator[Base]:
    for constructor, parameters, units, digest in (
        ("ResNet50", 23_587_712, (3, 4, 6, 3), "4d473c1dd8becc155b73f8504c6f6626"),
        ("ResNet101", 42_658_176, (3, 4, 23, 3), "88cf7a10940856eca736dc7b7e228a21"),
        ("ResNet152", 58_370_944, (3, 8, 36, 3), "ee4c566cf9a93f14d82f913c2dc6dd0c"),
        ("ResNet50V2", 23_564_800, (3, 4, 6, 3), "fac2f116257151a9d068a22e544a4917"),
        ("ResNet101V2", 42_626_560, (3, 4, 23, 3), "c0ed64b8031c3730f411d2eb4eea35b5"),
        ("ResNet152V2", 58_331_648, (3, 8, 36, 3), "ed17cf2e0169df9d443503ef94b23b33"),
    ):
        second = constructor.endswith("V2")
        ends = [f"conv{n}_block{last}_out" for n, last in enumerate(units, start=2)]
        if second:
            ends[-1] = "post_relu"
        yield keras_base(
            constructor,
            224,
            2048,
            parameters,
            (("conv1", "pool1_pool"), *_name_levels(ends)),
            preprocessing="tf" if second else "caffe",
            file=f"{constructor.lower()}{NOTOP}",
            folder=f"{KERAS_FOLDER}resnet/",
            digest=digest,
        )


def _name_levels(ends: list[str]) -> Iterator[tuple[str, str]]:
    return ((f"conv{n}", end) for n, end in enumerate(ends, start=2))


def _densenets() -> Iterator[Base]:
    ends = ["pool2_pool", "pool3_pool", "pool4_pool", "relu"]
    for constructor, features, parameters, digest in (
        ("DenseNet121", 1024, 7_037_504, "30ee3e1110167f948a6b9946edeeb738"),
        ("DenseNet169", 1664, 12_642_880, "b8c4d4c20dd625c148057b9ff1c1176b"),
        ("DenseNet201", 1920, 18_321_984, "c13680b51ded0fb44dff2d8f86ac8bb1"),
    ):
        yield keras_base(
            constructor,
            224,
            features,
            parameters,
            (("conv1", "pool1"), *_name_levels(ends)),
            preprocessing="torch",
            file=f"{constructor.lower()}{NOTOP}",
            folder=f"{KERAS_FOLDER}densenet/",
            digest=digest,
        )


def _inceptions() -> Iterator[Base]:
    yield keras_base(
        "InceptionV3",
        299,
        2048,
        21_802_784,
        (
            ("stem", "max_pooling2d_1"),
            ("mixed0", "mixed2"),
            ("mixed3", "mixed7"),
            ("mixed8", "mixed8"),
            ("mixed9", "mixed10"),
        ),
        preprocessing="tf",
        file=f"inception_v3{NOTOP}",
        folder=f"{KERAS_FOLDER}inception_v3/",
        digest="bcbd6486424b2319ff4ef7d526e38f63",
        min_size=75,
    )
    yield keras_base(
        "InceptionResNetV2",
        299,
        1536,
        54_336_736,
        (
            ("stem", "mixed_5b"),
            ("block35", "block35_10_ac"),
            ("block17", "block17_20_ac"),
            ("block8", "conv_7b_ac"),
        ),
        preprocessing="tf",
        file=f"inception_resnet_v2{NOTOP}",
        folder=f"{KERAS_FOLDER}inception_resnet_v2/",
        digest="d19885ff4a710c122648d3b5c3b684e4",
        min_size=75,
    )
    yield keras_base(
        "Xception",
        299,
        2048,
        20_861_480,
        (
            ("block1", "block1_conv2_act"),
            ("block2", "add"),
            ("block3", "add_1"),
            ("block4", "add_2"),
            ("block5", "add_10"),
            ("block13", "add_11"),
            ("block14", "block14_sepconv2_act"),
        ),
        preprocessing="tf",
        file=f"xception{NOTOP}",
        folder=f"{KERAS_FOLDER}xception/",
        digest="b0042744bf5b25fce3cb969f33bebb97",
        min_size=71,
    )


def _nasnets() -> Iterator[Base]:
    for variant, size, features, parameters, last, digest in (
        ("Mobile", 224, 1056, 4_269_716, 187, "1ed92395b5b598bdda52abe5c0dbfd63"),
        ("Large", 331, 4032, 84_916_818, 259, "d81d89dc07e6e56530c4e77faddd61b5"),
    ):
        # Each cell reads the two before it, so nothing can be split between cells.
        yield keras_base(
            f"NASNet{variant}",
            size,
            features,
            parameters,
            (("stem", "stem_bn1"), ("cells", f"activation_{last}")),
            preprocessing="tf",
            file=f"nasnet_{variant.lower()}_no_top.h5",
            folder=f"{KERAS_FOLDER}nasnet/",
            digest=digest,
            published_as=f"NASNet-{variant.lower()}-no-top.h5",
        )


BASES: dict[str, Base] = {
    base.name: base
    for family in (
        _tiny(),
        _vggs(),
        _resnets(),
        efficient.mobilenets(),
        efficient.mobilenets_v3(),
        efficient.efficientnets(),
        efficient.efficientnets_v2(),
        efficient.convnexts(),
        _densenets(),
        _inceptions(),
        _nasnets(),
        scratch.resnets(),
        scratch.classics(),
        scratch.small_nets(),
    )
    for base in family
}

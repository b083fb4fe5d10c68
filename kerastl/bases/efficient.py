"""Rows of the families made to be cheap or wide: MobileNet, EfficientNet, ConvNeXt."""

from collections.abc import Iterator

from kerastl.bases.row import KERAS_FOLDER, STORAGE, Base, Cuts, keras_base


def mobilenets() -> Iterator[Base]:
    """Rows of the first two generations of MobileNet, at their full width."""
    yield keras_base(
        "MobileNet",
        224,
        1024,
        3_228_864,
        (
            ("conv1", "conv_pw_1_relu"),
            ("conv_dw_2", "conv_pw_3_relu"),
            ("conv_dw_4", "conv_pw_5_relu"),
            ("conv_dw_6", "conv_pw_11_relu"),
            ("conv_dw_12", "conv_pw_13_relu"),
        ),
        preprocessing="tf",
        file="mobilenet_1_0_224_tf_no_top.h5",
        folder=f"{KERAS_FOLDER}mobilenet/",
        digest=None,
        layers=54,
    )
    yield keras_base(
        "MobileNetV2",
        224,
        1280,
        2_257_984,
        (
            ("stem", "expanded_conv_project_BN"),
            ("block_1", "block_2_add"),
            ("block_3", "block_5_add"),
            ("block_6", "block_9_add"),
            ("block_10", "block_12_add"),
            ("block_13", "block_16_project_BN"),
            ("top", "out_relu"),
        ),
        preprocessing="tf",
        file="mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        folder=f"{KERAS_FOLDER}mobilenet_v2/",
        digest=None,
        layers=104,
    )


def mobilenets_v3() -> Iterator[Base]:
    """Rows of the third generation of MobileNet, small and large."""
    yield keras_base(
        "MobileNetV3Small",
        224,
        576,
        939_120,
        (
            ("stem", "expanded_conv_project_bn"),
            ("expanded_conv_1", "expanded_conv_2_add"),
            ("expanded_conv_3", "expanded_conv_7_add"),
            ("expanded_conv_8", "expanded_conv_10_add"),
            ("top", "activation_17"),
        ),
        preprocessing="none",
        file="weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        folder=f"{KERAS_FOLDER}mobilenet_v3/",
        digest="d3e8ec802a04aa4fc771ee12a9a9b836",
    )
    yield keras_base(
        "MobileNetV3Large",
        224,
        960,
        2_996_352,
        (
            ("stem", "expanded_conv_add"),
            ("expanded_conv_1", "expanded_conv_2_add"),
            ("expanded_conv_3", "expanded_conv_5_add"),
            ("expanded_conv_6", "expanded_conv_11_add"),
            ("expanded_conv_12", "expanded_conv_14_add"),
            ("top", "activation_19"),
        ),
        preprocessing="none",
        file="weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
        folder=f"{KERAS_FOLDER}mobilenet_v3/",
        digest="07fb09a5933dd0c8eaafa16978110389",
    )


def _name_blocks(last_units: str, alone: str) -> Cuts:
    """Name block1, block2, ... by the letter of each one's last unit in Keras' names."""
    ends = [
        f"block{n}{unit}_{'add' if unit != 'a' else alone}"
        for n, unit in enumerate(last_units, start=1)
    ]
    blocks = tuple((f"block{n}", end) for n, end in enumerate(ends, start=1))
    return (("stem", "stem_activation"), *blocks, ("top", "top_activation"))


def efficientnets() -> Iterator[Base]:
    """Rows of the eight sizes of EfficientNet."""
    for variant, size, features, parameters, last_units, digest in (
        ("B0", 224, 1280, 4_049_571, "abbccda", "50bc09e76180e00e4465e1a485ddc09d"),
        ("B1", 240, 1280, 6_575_239, "bccddeb", "74c4e6b3e1f6a1eea24c589628592432"),
        ("B2", 260, 1408, 7_768_569, "bccddeb", "111f8e2ac8aa800a7a99e3239f7bfb39"),
        ("B3", 300, 1536, 10_783_535, "bcceefb", "af6d107764bb5b1abb91932881670226"),
        ("B4", 380, 1792, 17_673_823, "bddffhb", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
        ("B5", 456, 2048, 28_513_527, "ceeggic", "38879255a25d3c92d5e44e04ae6cec6f"),
        ("B6", 528, 2304, 40_960_143, "cffhhkc", "9ecce42647a20130c1f39a5d4cb75743"),
        ("B7", 600, 2560, 64_097_687, "dggjjmd", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
    ):
        yield keras_base(
            f"EfficientNet{variant}",
            size,
            features,
            parameters,
            _name_blocks(last_units, alone="project_bn"),
            preprocessing="none",
            file=f"efficientnet{variant.lower()}_notop.h5",
            folder=f"{STORAGE}keras-applications/",
            digest=digest,
        )


def efficientnets_v2() -> Iterator[Base]:
    """Rows of the seven sizes of EfficientNetV2."""
    for variant, size, features, parameters, last_units, digest in (
        ("B0", 224, 1280, 5_919_312, "abbceh", "893217f2bb855e2983157299931e43ff"),
        ("B1", 240, 1280, 6_931_124, "bccdfi", "0e80663031ca32d657f9caa404b6ec37"),
        ("B2", 260, 1408, 8_769_374, "bccdfj", "1dfe2e7a5d45b6632553a8961ea609eb"),
        ("B3", 300, 1536, 12_930_622, "bccegl", "f6abf7b5849ac99a89b50dd3fd532856"),
        ("S", 384, 1280, 20_331_360, "bddfio", "af0682fb74e8c54910f2d4393339c070"),
        ("M", 480, 1280, 53_150_388, "ceegnre", "1b8dc055df72dde80d614482840fe342"),
        ("L", 480, 1280, 117_746_848, "dggjsyg", "b0b66b5c863aef5b46e8608fe1711615"),
    ):
        yield keras_base(
            f"EfficientNetV2{variant}",
            size,
            features,
            parameters,
            _name_blocks(last_units, alone="project_activation"),
            preprocessing="none",
            file=f"efficientnetv2-{variant.lower()}_notop.h5",
            folder=f"{KERAS_FOLDER}efficientnet_v2/",
            digest=digest,
        )


def convnexts() -> Iterator[Base]:
    """Rows of the five sizes of ConvNeXt."""
    for variant, features, parameters, digest in (
        (
            "Tiny",
            768,
            27_820_128,
            "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
        ),
        (
            "Small",
            768,
            49_454_688,
            "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
        ),
        (
            "Base",
            1024,
            87_566_464,
            "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
        ),
        (
            "Large",
            1536,
            196_230_336,
            "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
        ),
        (
            "XLarge",
            2048,
            348_147_968,
            "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
        ),
    ):
        name = f"convnext_{variant.lower()}"
        units = [f"{name}_downsampling_block_{n}" for n in range(3)]
        stages = tuple(
            (f"stage_{n}", end) for n, end in enumerate([*units, "layer_normalization"])
        )
        yield keras_base(
            f"ConvNeXt{variant}",
            224,
            features,
            parameters,
            (("stem", f"{name}_stem"), *stages),
            preprocessing="none",
            file=f"{name}_notop.h5",
            folder=f"{KERAS_FOLDER}convnext/",
            digest=digest,
        )

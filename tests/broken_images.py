"""Valid images of every kind, and seeded ways of breaking their bytes."""

import io

import numpy as np
from PIL import Image


def picture(seed: int = 0, side: int = 40) -> Image.Image:
    """A smooth picture with a little noise, so that it compresses like a photo."""
    random = np.random.default_rng(seed)
    grid = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype="uint8"))
    smooth = np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
    noisy = smooth + random.integers(-6, 7, smooth.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype("uint8"))


def save(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def valid_images() -> dict[str, bytes]:
    """One small file of each kind, by a name with its suffix."""
    colour = picture()
    depth = Image.fromarray(np.asarray(colour)[..., 0].astype("uint16") * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "baseline.jpg": save(colour, "JPEG", quality=90, exif=exif),
        "progressive.jpg": save(colour, "JPEG", progressive=True),
        "cmyk.jpg": save(colour.convert("CMYK"), "JPEG"),
        "grey.jpg": save(colour.convert("L"), "JPEG"),
        "colour.png": save(colour, "PNG"),
        "alpha.png": save(colour.convert("RGBA"), "PNG", exif=exif),
        "depth.png": save(depth, "PNG"),
        "palette.png": save(colour.quantize(32), "PNG", transparency=3),
        "still.gif": save(colour.quantize(32), "GIF"),
        "moving.gif": save(
            colour.quantize(32),
            "GIF",
            save_all=True,
            append_images=[picture(1).quantize(32)],
        ),
        "colour.bmp": save(colour, "BMP"),
        "palette.bmp": save(colour.quantize(16), "BMP"),
        "lossy.webp": save(colour, "WEBP"),
        "lossless.webp": save(colour.convert("RGBA"), "WEBP", lossless=True, exif=exif),
    }


def corrupt(data: bytes, seed: int) -> bytes:
    """Break a file in one of six ways; the same seed breaks it the same way."""
    random = np.random.default_rng(seed)
    way, place = seed % 6, int(random.integers(len(data)))
    broken = bytearray(data)
    if way == 0:
        return data[:place]
    if way in (1, 2):
        for spot in random.integers(len(data), size=1 if way == 1 else 8):
            broken[spot] ^= 1 << int(random.integers(8))
    elif way == 3:
        broken[place : place + 512] = bytes(len(broken[place : place + 512]))
    elif way == 4:
        return data[place:] + data[:place]
    else:
        broken[place:place] = random.bytes(int(random.integers(1, 20)))
    return bytes(broken)


def corrupted_images(per_kind: int) -> dict[str, bytes]:
    """Return `per_kind` broken files of each kind, by name."""
    return {
        f"{seed:04}-{name}": corrupt(data, seed)
        for name, data in valid_images().items()
        for seed in range(per_kind)
    }

"""One decoder: every colour mode against a reference array, every broken file a reason."""

import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from kerastl.data.decoding import decode_image, decode_paths
from kerastl.errors import DataError, UsageError

HEIGHT, WIDTH = 24, 40


def scene(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A smooth coloured picture with noise, (height, width, 3) uint8."""
    rows, columns = np.mgrid[0:height, 0:width]
    random = np.random.default_rng(seed)
    colours = [rows * 255 / height, columns * 255 / width, (rows + columns) * 2 % 256]
    noise = random.integers(-9, 9, (height, width, 3))
    return np.clip(np.stack(colours, -1) + noise, 0, 255).astype("uint8")


def encode(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png(rows: np.ndarray, colour_type: int, depth: int, *chunks: bytes) -> bytes:
    """A PNG written by hand, for what Pillow does not write; `rows` as big-endian bytes."""
    height, width = rows.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    body = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(lines)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    part = alpha[..., None] / 255
    return rgb * part + 255 * (1 - part)


def as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, -1)


def close(actual: np.ndarray, expected: np.ndarray, within: float) -> bool:
    return actual.shape == expected.shape and bool(
        np.abs(actual.astype(float) - expected).max() <= within
    )


# ---- colour modes


def test_lossless_formats_give_the_very_pixels():
    pixels = scene()
    image = Image.fromarray(pixels)
    files = [
        encode(image, "PNG"),
        encode(image, "BMP"),
        encode(image, "WEBP", lossless=True),
    ]
    for data in files:
        assert np.array_equal(decode_image(data), pixels)


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_close_to_its_source(progressive):
    data = encode(Image.fromarray(scene()), "JPEG", quality=95, progressive=progressive)
    assert np.abs(decode_image(data).astype(float) - scene()).mean() < 6


def test_grey():
    grey = scene()[..., 0]
    for format in ("PNG", "BMP"):
        assert np.array_equal(
            decode_image(encode(Image.fromarray(grey), format)), as_rgb(grey)
        )


def test_grey_jpeg_has_three_equal_channels():
    decoded = decode_image(encode(Image.fromarray(scene()[..., 0]), "JPEG", quality=95))
    assert decoded.shape == (HEIGHT, WIDTH, 3)
    assert np.ptp(decoded, axis=-1).max() == 0


def test_black_and_white():
    bits = scene()[..., 0] > 128
    data = encode(Image.fromarray(bits), "PNG")
    assert Image.open(io.BytesIO(data)).mode == "1"
    assert np.array_equal(decode_image(data), as_rgb(bits * np.uint8(255)))


def test_grey_with_alpha_lies_on_white():
    pixels = scene()
    grey, alpha = pixels[..., 0], pixels[..., 1]
    image = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])
    expected = on_white(as_rgb(grey), alpha)
    assert close(decode_image(encode(image, "PNG")), expected, 1)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_alpha_lies_on_white_and_hidden_colours_stay_hidden(format):
    alpha = scene(1)[..., 1]
    alpha[:8] = 0
    image = Image.fromarray(np.dstack([scene(), alpha]))
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    decoded = decode_image(encode(image, format, **options))
    assert close(decoded, on_white(scene(), alpha), 1)
    assert (decoded[:8] == 255).all()


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP"])
def test_palette(format):
    image = Image.fromarray(scene()).quantize(64)
    expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(decode_image(encode(image, format)), expected)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palette_with_one_transparent_colour(format):
    image = Image.fromarray(scene()).quantize(16)
    indices = np.asarray(image)
    expected = np.asarray(image.convert("RGB")).copy()
    expected[indices == 3] = 255
    decoded = decode_image(encode(image, format, transparency=3))
    assert np.array_equal(decoded, expected)


def test_palette_with_an_alpha_per_colour():
    image = Image.fromarray(scene()).quantize(16)
    alphas = np.linspace(0, 255, 16).astype("uint8")
    expected = on_white(np.asarray(image.convert("RGB")), alphas[np.asarray(image)])
    data = encode(image, "PNG", transparency=alphas.tobytes())
    assert close(decode_image(data), expected, 1)


def test_rgb_with_one_transparent_colour():
    pixels = scene()
    pixels[:4] = (10, 20, 30)
    data = encode(Image.fromarray(pixels), "PNG", transparency=(10, 20, 30))
    pixels[:4] = 255
    assert np.array_equal(decode_image(data), pixels)


def test_cmyk_jpeg():
    cmyk = np.dstack([scene(), scene(2)[..., 0] // 2])
    image = Image.fromarray(cmyk, "CMYK")
    data = encode(image, "JPEG", quality=100, subsampling=0)
    stored = np.asarray(Image.open(io.BytesIO(data))).astype(float)
    expected = (255 - stored[..., :3]) * (255 - stored[..., 3:]) / 255
    assert close(decode_image(data), expected, 2)
    assert np.abs(stored - cmyk).mean() < 4


def test_16_bit_grey_does_not_turn_white():
    values = (scene()[..., 0].astype("uint16") * 257).astype(">u2")
    decoded = decode_image(png(values, colour_type=0, depth=16))
    assert np.array_equal(decoded, as_rgb(scene()[..., 0]))


def test_16_bit_grey_with_a_transparent_value():
    values = (scene()[..., 0].astype("uint16") * 257).astype(">u2")
    values[:4] = 4321
    transparent = chunk(b"tRNS", struct.pack(">H", 4321))
    decoded = decode_image(png(values, 0, 16, transparent))
    assert (decoded[:4] == 255).all()
    assert np.array_equal(decoded[4:], as_rgb(scene()[4:, :, 0]))


def test_16_bit_colour():
    values = (scene().astype("uint16") * 257).astype(">u2")
    assert np.array_equal(decode_image(png(values, colour_type=2, depth=16)), scene())


@pytest.mark.parametrize("channels", [2, 4])
def test_16_bit_with_alpha(channels):
    pixels = np.dstack([scene(), scene(1)[..., 1]])[..., -channels:]
    values = (pixels.astype("uint16") * 257).astype(">u2")
    decoded = decode_image(png(values, colour_type=4 if channels == 2 else 6, depth=16))
    colours = pixels[..., :-1]
    colours = np.repeat(colours, 3, -1) if channels == 2 else colours
    assert close(decoded, on_white(colours, pixels[..., -1]), 1)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(format):
    frames = [Image.fromarray(scene(seed)).quantize(32) for seed in range(3)]
    if format != "GIF":
        frames = [frame.convert("RGB") for frame in frames]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encode(
        frames[0], format, save_all=True, append_images=frames[1:], duration=50, **options
    )
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert np.array_equal(decode_image(data), np.asarray(frames[0].convert("RGB")))


def test_phone_jpeg_with_several_pictures_is_its_first():
    first, second = Image.fromarray(scene(0)), Image.fromarray(scene(1))
    data = encode(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert np.abs(decode_image(data).astype(float) - scene(0)).mean() < 6


# ---- orientation and size


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_equals_pillows_reference(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(scene()), format, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert np.array_equal(decode_image(data), expected)
    assert expected.shape[:2] == ((40, 24) if orientation >= 5 else (24, 40))


def test_broken_exif_counts_as_none():
    data = encode(Image.fromarray(scene()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert decode_image(data).shape == (HEIGHT, WIDTH, 3)


def test_resizing_is_pillows_bilinear_with_antialiasing():
    image = Image.fromarray(scene(0, 200, 300))
    expected = np.asarray(image.resize((31, 17), Image.Resampling.BILINEAR))
    assert np.array_equal(decode_image(encode(image, "PNG"), (17, 31)), expected)
    assert decode_image(encode(image, "PNG"), 17).shape == (17, 17, 3)


def test_resizing_comes_after_the_turn_and_the_alpha():
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.dstack([scene(), scene(1)[..., 1]])
    data = encode(Image.fromarray(pixels), "PNG", exif=exif)
    whole = Image.fromarray(decode_image(data))
    expected = np.asarray(whole.resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(decode_image(data, 16), expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (3000, 1)])
def test_thin_images(shape):
    data = encode(Image.fromarray(scene(0, *shape)), "PNG")
    assert np.array_equal(decode_image(data), scene(0, *shape))
    assert decode_image(data, 8).shape == (8, 8, 3)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "224", (8, 0), (8, 8, 3), None])
def test_a_size_that_is_none_is_refused(size, tmp_path):
    with pytest.raises(UsageError, match="image_size="):
        decode_paths([tmp_path / "a.png"], size)


# ---- files that cannot be decoded


def jpeg() -> bytes:
    return encode(Image.fromarray(scene()), "JPEG")


BROKEN = {
    "empty": (b"", r"is empty \(0 bytes\)"),
    "one byte": (b"\xff", r"is not a readable JPEG, PNG, GIF, BMP or WebP .* b'\\xff'"),
    "web page": (b"<!DOCTYPE html><html>404", r"is not a readable JPEG.*b'<!DOCTYPE ht'"),
    "tiff": (encode(Image.fromarray(scene()), "TIFF"), r"is not a readable JPEG"),
    "truncated jpeg": (jpeg()[:-200], "is truncated or damaged"),
    "truncated png": (encode(Image.fromarray(scene()), "PNG")[:-300], "is truncated"),
    "jpeg header": (jpeg()[:20], "is (truncated|not a readable JPEG)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named_with_the_reason(name, tmp_path):
    data, reason = BROKEN[name]
    path = tmp_path / f"{name}.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"{name}.jpg {reason}"):
        decode_image(path)


def test_missing_file_folder_and_pipe_are_reasons(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    paths = [tmp_path / "none.jpg", tmp_path, tmp_path / "pipe.jpg", "nul\0.jpg"]
    pixels, readable, failures = decode_paths(paths, 4)
    assert not readable.any()
    assert not pixels.any()
    reasons = [reason for _, reason in failures]
    assert reasons[0] == "cannot be read (No such file or directory)"
    assert reasons[1:3] == ["is not a regular file"] * 2
    assert "null byte" in reasons[3]


def bomb(side: int) -> bytes:
    body = chunk(b"IDAT", zlib.compress(bytes(side * (side // 8 + 1)), 9))
    return b"\x89PNG\r\n\x1a\n" + size_chunk(side) + body + chunk(b"IEND", b"")


def size_chunk(side: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))


SMALL, HUGE = size_chunk(8), size_chunk(60_000)


def test_bombs_are_refused_from_the_header(tmp_path):
    """A fresh process, so that the peak of memory is that of the refusals alone."""
    (tmp_path / "a.png").write_bytes(bomb(12_000))
    (tmp_path / "b.png").write_bytes(bomb(8).replace(SMALL, HUGE))
    canvas = bytearray(encode(Image.fromarray(scene()), "GIF"))
    canvas[6:10] = b"\xff\xff\xff\xff"
    (tmp_path / "c.gif").write_bytes(bytes(canvas))
    large = bytearray(jpeg())
    frame = large.index(b"\xff\xc0")
    large[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    (tmp_path / "d.jpg").write_bytes(bytes(large))
    program = (
        "import resource, sys; from kerastl.data.decoding import *;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024;"
        "before = peak();"
        "_, _, failures = decode_paths(sys.argv[1:], 8);"
        "assert peak() - before < 50, peak() - before;"
        "print([reason for _, reason in failures])"
    )
    paths = sorted(map(str, tmp_path.iterdir()))
    command = [sys.executable, "-W", "error", "-c", program, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "is 12000 x 12000 pixels, 144 megapixels; at most 50" in done.stdout
    assert done.stdout.count("megapixels") == 4


def test_fifty_megapixels_is_the_limit():
    with pytest.raises(DataError, match="is 7200 x 7200 pixels, 52 megapixels"):
        decode_image(bomb(7200))


# ---- Pillow's global state


def test_leniency_set_elsewhere_is_not_used_and_not_lost(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match="is truncated"):
        decode_image(jpeg()[:-200])
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_warning_filters_survive_threads():
    before = list(warnings.filters)
    data = jpeg()
    threads = [
        threading.Thread(target=lambda: [decode_image(data) for _ in range(50)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_many_files_in_threads_keep_their_order(tmp_path):
    images = [scene(seed, 8, 8) for seed in range(100)]
    for index, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"{index:03}.png")
    (tmp_path / "050.png").write_bytes(b"")
    pixels, readable, failures = decode_paths(sorted(tmp_path.iterdir()), 8)
    assert np.flatnonzero(~readable).tolist() == [50]
    assert failures == [(str(tmp_path / "050.png"), "is empty (0 bytes)")]
    good = [index for index in range(100) if index != 50]
    assert np.array_equal(pixels[good], np.stack([images[index] for index in good]))

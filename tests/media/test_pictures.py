"""Decoding pictures, and making them square."""

import struct
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mlabench.errors import UserError
from mlabench.media import UnreadableError
from mlabench.media.pictures import MOST_PIXELS, read_picture, resize
from tests.datasets.media_files import truncate, write_picture

COLOUR = (200, 40, 90)
#: Luma of COLOUR by ITU-R BT.601, as Pillow makes grey of it.
GREY = round(0.299 * 200 + 0.587 * 40 + 0.114 * 90)


def halves(picture: np.ndarray) -> tuple[list[int], list[int]]:
    """The colours in the middle of the left and of the right half."""
    height, width, _ = picture.shape
    return picture[height // 2, width // 4].tolist(), picture[height // 2, -width // 4].tolist()


@pytest.mark.parametrize(
    ("name", "mode", "left", "tolerance"),
    [
        ("a.png", "RGB", COLOUR, 0),
        ("a.jpg", "RGB", COLOUR, 4),
        ("a.webp", "RGB", COLOUR, 8),
        ("a.bmp", "RGB", COLOUR, 0),
        ("a.tiff", "RGB", COLOUR, 0),
        ("a.jpg", "CMYK", COLOUR, 4),
        ("a.tiff", "CMYK", COLOUR, 1),
        ("a.jpg", "L", (GREY,) * 3, 2),
        ("a.png", "L", (GREY,) * 3, 0),
        ("a.png", "I;16", (GREY,) * 3, 0),
        ("a.png", "P", COLOUR, 0),
        ("a.png", "1", None, 0),  # dithered
        ("a.png", "RGBA", COLOUR, 0),
        ("a.png", "LA", (GREY,) * 3, 0),
    ],
)
def test_any_kind_of_picture_becomes_rgb(
    tmp_path: Path, name: str, mode: str, left: tuple[int, int, int] | None, tolerance: int
) -> None:
    picture = read_picture(write_picture(tmp_path / name, COLOUR, mode=mode))
    assert (picture.shape, picture.dtype) == ((48, 64, 3), np.uint8)
    found, right = halves(picture)
    if left is not None:
        np.testing.assert_allclose(found, left, atol=tolerance)
    np.testing.assert_allclose(right, (255, 255, 255), atol=tolerance)  # white, or transparent on white


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 32_896, 65_535]], np.uint16)).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png")[0, :, 0].tolist() == [0, 1, 128, 255]


def test_half_transparency_is_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (0, 100, 200, 51)).save(tmp_path / "a.png")  # a fifth
    np.testing.assert_allclose(read_picture(tmp_path / "a.png")[0, 0], (204, 224, 244), atol=1)


def test_a_transparent_palette_is_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.paste(0, (0, 0, 2, 4))
    image.save(tmp_path / "a.gif", transparency=0)
    picture = read_picture(tmp_path / "a.gif")
    assert picture[0].tolist() == [[255] * 3] * 2 + [[10, 20, 30]] * 2


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, lambda picture: picture),
        (2, lambda picture: picture[:, ::-1]),
        (3, lambda picture: picture[::-1, ::-1]),
        (4, lambda picture: picture[::-1]),
        (5, lambda picture: picture.transpose(1, 0, 2)),
        (6, lambda picture: np.rot90(picture, -1)),
        (7, lambda picture: picture[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90),
    ],
)
def test_pictures_are_turned_as_their_camera_was_held(tmp_path: Path, orientation: int, expected) -> None:
    plain = read_picture(write_picture(tmp_path / "plain.jpg", COLOUR))
    turned = read_picture(write_picture(tmp_path / "turned.jpg", COLOUR, exif_orientation=orientation))
    np.testing.assert_array_equal(turned, expected(plain))


def test_damaged_metadata_do_not_matter(tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.new("RGB", (8, 8), COLOUR).save(buffer, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\0\0 nonsense")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert read_picture(tmp_path / "a.jpg").shape == (8, 8, 3)


def test_a_vector_picture_is_drawn_on_white(tmp_path: Path) -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="2" height="1"><rect width="1" height="1" fill="#f00"/></svg>'
    (tmp_path / "a.svg").write_text(svg)
    picture = read_picture(tmp_path / "a.svg")
    assert picture.shape == (256, 512, 3)
    assert halves(picture) == ([255, 0, 0], [255, 255, 255])


def test_the_suffix_does_not_matter_for_pixels(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png", COLOUR).rename(tmp_path / "a.jpg")
    assert halves(read_picture(path))[0] == list(COLOUR)


def test_links_and_folders_with_blanks_are_followed(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "my pictures é" / "a b.png", COLOUR)
    (tmp_path / "link.png").symlink_to(path)
    np.testing.assert_array_equal(read_picture(tmp_path / "link.png"), read_picture(path))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.gif", "a.tiff", "a.bmp"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
def test_a_truncated_picture_is_unreadable(tmp_path: Path, name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    with pytest.raises(UnreadableError, match=r"^unreadable picture$"):
        read_picture(truncate(tmp_path / name, share))


@pytest.mark.parametrize("name", ["nowhere.png", "broken.png", "folder.png", "text.jpg", "text.svg", "page.eps"])
def test_what_is_no_picture_is_unreadable(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "text.jpg").write_text("<html>404 Not Found</html>")
    (tmp_path / "text.svg").write_text("<svg")
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    with pytest.raises(UnreadableError, match=r"^unreadable picture$"):
        read_picture(tmp_path / name)


def test_a_file_that_declares_too_many_pixels_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (10_001, 60_000):  # Pillow itself would warn of, or refuse, more than that
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
        content = header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
        with pytest.raises(UnreadableError, match="picture"):
            read_picture(tmp_path / "a.png")
    assert MOST_PIXELS < 10_001**2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_unreadable_at_worst(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["a.png", "a.jpg", "a.gif", "a.webp", "a.tiff", "a.bmp", "a.ppm"]))
    content = bytearray(write_picture(tmp_path / name, COLOUR, size=(16, 12)).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    (tmp_path / name).write_bytes(data.draw(st.one_of(st.just(bytes(content[:end])), st.binary(max_size=200))))
    try:
        picture = read_picture(tmp_path / name)
    except UnreadableError:
        return
    assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)


def gradient(height: int, width: int) -> np.ndarray:
    """Red rises from left to right, green from top to bottom."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 255, width)
    picture[..., 1] = np.linspace(0, 255, height)[:, None]
    return picture


def test_stretching_keeps_all_of_the_picture() -> None:
    square = resize(gradient(40, 120), 30, "stretch")
    assert (square.shape, square.dtype, square.flags["C_CONTIGUOUS"]) == ((3, 30, 30), np.uint8, True)
    for length, values in ((120, square[0, 15]), (40, square[1, :, 15])):
        centres = (np.arange(30) + 0.5) / 30 * length - 0.5  # of the new pixels, in old ones
        np.testing.assert_allclose(values, centres / (length - 1) * 255, atol=1.5)


def test_covering_keeps_the_middle_and_its_proportions() -> None:
    square = resize(gradient(40, 120), 40, "cover")
    np.testing.assert_array_equal(square, gradient(40, 120)[:, 40:80].transpose(2, 0, 1))
    np.testing.assert_array_equal(resize(gradient(120, 40), 40, "cover"), gradient(120, 40)[40:80].transpose(2, 0, 1))


def test_containing_puts_margins_on_both_sides() -> None:
    square = resize(gradient(40, 120), 120, "contain")
    assert (square[:, :40] == 255).all()
    assert (square[:, 80:] == 255).all()
    np.testing.assert_array_equal(square[:, 40:80], gradient(40, 120).transpose(2, 0, 1))


@pytest.mark.parametrize("fit", ["stretch", "contain", "cover"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1), (2, 7)])
def test_extreme_proportions_are_no_trouble(fit, shape: tuple[int, int]) -> None:
    assert resize(gradient(*shape), 16, fit).shape == (3, 16, 16)


def test_bicubic_enlargement_is_that_of_the_kernel() -> None:
    """Keys's kernel with a = -0.5, evaluated by hand on a step enlarged twofold."""
    row = np.array([0, 0, 0, 0, 200, 200, 200, 200], np.float64)
    picture = np.repeat(np.repeat(row.astype(np.uint8)[None, :, None], 8, axis=0), 3, axis=2)

    def kernel(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        return np.where(x < 1, near, np.where(x < 2, far, 0))

    weights = kernel((np.arange(16) + 0.5)[:, None] / 2 - (np.arange(8) + 0.5))
    expected = (weights / weights.sum(axis=1, keepdims=True) @ row).clip(0, 255)
    np.testing.assert_allclose(resize(picture, 16, "stretch")[0, 8], expected, atol=1)


def test_a_missing_decoder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_picture(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UserError, match=r"'PIL'.*pip install"):
        read_picture(path)

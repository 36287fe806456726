"""Faults of real collections, each in the smallest file that shows it."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mlabench.media import Audio, UnreadableError, Video, caught_messages
from mlabench.media.pictures import read_picture
from mlabench.media.sound import read_sound
from mlabench.media.video import middle_frame, read_frames
from tests.datasets.media_files import COLOURS


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def damaged_fax(path: Path) -> Path:
    """A TIFF whose lines in Group 4 code hold words that are no code: it is decoded, and libtiff complains."""
    noise = np.random.default_rng(0).integers(0, 2, (64, 64)).astype(bool)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "TIFF", compression="group4")
    data = bytearray(buffer.getvalue())
    middle = len(data) // 2
    data[middle : middle + 40] = b"\xff" * 40
    path.write_bytes(data)
    return path


# -- what libraries write on the terminal -----------------------------------------------------------


def test_what_libtiff_writes_on_the_terminal_is_caught(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = damaged_fax(tmp_path / "a.tif")
    assert read_picture(path).shape == (64, 64, 3)
    assert "Bad code word" in capfd.readouterr().err, "else there is nothing to catch"
    with caught_messages() as said:
        read_picture(path)
        assert "Bad code word" in said()
    assert capfd.readouterr() == ("", "")


def test_messages_are_caught_whoever_writes_them_and_only_then(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before ")
    with caught_messages() as said:
        assert said() == ""
        os.write(2, b"library \xff")
        assert said() == "library \N{REPLACEMENT CHARACTER}"
        assert said() == "library \N{REPLACEMENT CHARACTER}", "asking takes nothing away"
    with pytest.raises(UnreadableError), caught_messages():
        os.write(2, b"lost")
        raise UnreadableError("broken")
    os.write(2, b"after")
    assert capfd.readouterr().err == "before after"


def test_without_standard_error_there_is_nothing_to_catch() -> None:
    code = (
        "import os; os.close(2)\n"
        "from mlabench.media import caught_messages\n"
        "with caught_messages() as said: print('in', repr(said()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "in ''\n"


# -- a few bytes that want gigabytes ----------------------------------------------------------------


def huge_png() -> bytes:
    """Announces 60,000 x 60,000 pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def png_with_a_huge_comment() -> bytes:
    """A picture of one pixel with a comment of 100 MB, packed into 100 kB."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    comment = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000), 9))
    pixels = chunk(b"IDAT", zlib.compress(bytes(4)))
    return b"\x89PNG\r\n\x1a\n" + header + comment + pixels + chunk(b"IEND", b"")


def huge_gif() -> bytes:
    """Announces 65,535 x 65,535 pixels in 13 bytes."""
    return b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0)


def huge_bmp() -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


def billion_laughs() -> bytes:
    """Ten entities, each ten times the one before."""
    entities = "".join(f'<!ENTITY e{at} "{f"&e{at - 1};" * 10}">' for at in range(1, 10))
    doctype = f'<!DOCTYPE svg [<!ENTITY e0 "ha">{entities}]>'
    return f'{doctype}<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><text>&e9;</text></svg>'.encode()


BOMBS = {
    "a.png": huge_png,
    "b.png": png_with_a_huge_comment,
    "a.gif": huge_gif,
    "a.bmp": huge_bmp,
    "laughs.svg": billion_laughs,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_takes_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    code = (
        "import resource, sys; from pathlib import Path; from mlabench.media import UnreadableError\n"
        "from mlabench.media.pictures import read_picture\n"
        "import numpy, PIL.Image, resvg_py\n"
        "PIL.Image.init()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_picture(Path(sys.argv[1]))\n"
        "except UnreadableError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    reason, grown = done.stdout.splitlines()
    assert reason in {"unreadable picture", "picture with too many pixels"}
    assert int(grown) < 300, "MiB"


def test_a_vector_picture_as_high_as_a_tower_is_drawn_smaller(tmp_path: Path) -> None:
    page = '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="{}"><rect width="1" height="2"/></svg>'
    sizes = {2: (1024, 512), 50: (25_600, 512), 200: (51_200, 256), 100_000: (51_200, 1)}
    for height, size in sizes.items():
        (tmp_path / "a.svg").write_text(page.format(height))
        assert read_picture(tmp_path / "a.svg").shape[:2] == size


# -- videos -----------------------------------------------------------------------------------------


def write_mpg(path: Path, seconds: int) -> Path:
    """A programme stream of MPEG-1, as GRID's talkers are in: one colour per second, with noise, and a tone."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg1video", rate=25, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        voice = container.add_stream("mp2", rate=44_100, layout="mono")
        for number in range(25 * seconds):
            noise = rng.integers(-30, 31, (48, 64, 1))
            picture = (np.array(COLOURS[number // 25]) + noise).clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            wave = 0.5 * np.sin(2 * np.pi * 220 * np.arange(1764 * number, 1764 * (number + 1)) / 44_100)
            sound = av.AudioFrame.from_ndarray((32_767 * wave).astype(np.int16)[None], format="s16", layout="mono")
            sound.sample_rate, sound.pts = 44_100, 1764 * number
            container.mux(voice.encode(sound))
        container.mux(stream.encode(None))
        container.mux(voice.encode(None))
    return path


def shown(frames: list[np.ndarray]) -> list[int]:
    """The second that each frame is of."""
    return [int(np.abs(np.array(COLOURS) - frame.mean(axis=(0, 1))).sum(axis=1).argmin()) for frame in frames]


def test_of_a_truncated_mpg_the_beginning_is_right(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_mpg(tmp_path / "whole.mpg", 4).read_bytes()
    assert shown(read_frames(Video(tmp_path / "whole.mpg"))) == [0, 1, 2, 3]
    lengths = []
    for share in (0.9, 0.6, 0.3):
        (tmp_path / "cut.mpg").write_bytes(data[: int(share * len(data))])
        frames = shown(read_frames(Video(tmp_path / "cut.mpg")))
        assert frames == list(range(len(frames)))
        assert shown([middle_frame(Video(tmp_path / "cut.mpg", end=1.0))]) == [0]
        wave = read_sound(Audio(tmp_path / "cut.mpg"), 16_000)
        assert np.isfinite(wave).all()
        lengths.append((len(frames), len(wave)))
    assert lengths == sorted(lengths, reverse=True)
    assert 0 < lengths[-1][0] < lengths[0][0]
    (tmp_path / "cut.mpg").write_bytes(data[:40])
    with pytest.raises(UnreadableError, match=r"^corrupt video$"):
        read_frames(Video(tmp_path / "cut.mpg"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_video_of_a_turned_telephone_is_upright(tmp_path: Path, turns: int) -> None:
    """The camera stores the picture as the sensor lies, and by how much it is to be turned clockwise."""
    corner = np.zeros((48, 64, 3), np.uint8)
    corner[:24, :32] = 240  # top left when stored
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corner, format="rgb24")))
        container.mux(stream.encode(None))
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
    values = [cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30]
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    start = data.index(b"tkhd") + 4 + 40  # ISO 14496-12, 8.3.2
    data[start : start + 36] = struct.pack(">9i", *values)
    (tmp_path / "a.mp4").write_bytes(data)
    for frame in (*read_frames(Video(tmp_path / "a.mp4")), middle_frame(Video(tmp_path / "a.mp4"))):
        np.testing.assert_allclose(frame, np.rot90(corner, -turns), atol=40)

"""Frames of videos and of folders with pictures."""

import sys
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlabench.errors import UserError
from mlabench.media import UnreadableError, Video
from mlabench.media.video import middle_frame, read_frames
from tests.datasets.media_files import COLOURS, truncate, write_picture, write_video, write_wav

NAMES = ("a.flv", "a.mp4", "a.avi")


def second(frame: np.ndarray) -> int:
    """The second in which a video shows this frame."""
    colour = frame[frame.shape[0] // 2, 4].astype(int)
    distances = [np.abs(colour - other).sum() for other in COLOURS]
    assert min(distances) < 25
    return int(np.argmin(distances))


def seconds(frames: list[np.ndarray]) -> list[int]:
    return [second(frame) for frame in frames]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [5, 25])
def test_there_is_one_frame_a_second(tmp_path: Path, name: str, rate: int) -> None:
    frames = read_frames(Video(write_video(tmp_path / name, seconds=3.4, rate=rate)))
    assert seconds(frames) == [0, 1, 2, 3]
    assert {(frame.shape, frame.dtype.name) for frame in frames} == {((48, 64, 3), "uint8")}


def test_colours_are_right_on_both_sides(tmp_path: Path) -> None:
    frame = read_frames(Video(write_video(tmp_path / "a.mp4", seconds=1.0)))[0]
    np.testing.assert_allclose(frame[10, 10], (240, 0, 0), atol=4)
    np.testing.assert_allclose(frame[10, 50], (120, 0, 0), atol=4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, 2.0, [0, 1]),
        (1.0, None, [1, 2, 3, 4, 5]),
        (2.5, 4.6, [2, 3, 4]),
        (3.3, 3.4, [3]),
        (4.0, 100.0, [4, 5]),
    ],
)
def test_an_interval_is_cut_out(
    tmp_path: Path, name: str, start: float, end: float | None, expected: list[int]
) -> None:
    path = write_video(tmp_path / name, seconds=6.0)
    assert seconds(read_frames(Video(path, start, end))) == expected


def test_more_frames_a_second_can_be_had(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=2.0)
    assert seconds(read_frames(Video(path, rate=2.0))) == [0, 0, 1, 1]


def test_a_chosen_number_is_spread_evenly(tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / "a.mp4", seconds=7.0))
    assert seconds(read_frames(video, count=3)) == [0, 2, 4]  # i * 7 // 3
    short = Video(write_video(tmp_path / "b.mp4", seconds=2.0))
    assert seconds(read_frames(short, count=3)) == [0, 0, 1]  # i * 2 // 3


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_under_a_second_has_a_frame(tmp_path: Path, name: str) -> None:
    video = Video(write_video(tmp_path / name, seconds=0.1))
    assert seconds(read_frames(video)) == [0]
    assert second(middle_frame(video)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_middle_frame_is_in_the_middle(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, seconds=5.0)
    assert second(middle_frame(Video(path))) == 2
    assert second(middle_frame(Video(path, start=3.0))) == 4  # the colour changes at 4.0
    assert second(middle_frame(Video(path, start=0.0, end=3.0))) == 1
    assert second(middle_frame(Video(path, start=2.2, end=4.4))) == 3
    assert second(middle_frame(Video(path, start=3.0, end=60.0))) == 4  # the file ends before


def test_halves_are_cut_out(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=1.0, size=(66, 48))
    left, right = (read_frames(Video(path, half=half))[0] for half in ("left", "right"))
    assert left.shape == right.shape == (48, 33, 3)
    np.testing.assert_allclose(left[:, 2:-2], np.full((48, 29, 3), (240, 0, 0)), atol=8)
    np.testing.assert_allclose(right[:, 2:-2], np.full((48, 29, 3), (120, 0, 0)), atol=8)
    np.testing.assert_array_equal(middle_frame(Video(path, half="right")), right)


def write_with_b_frames(path: Path, frames: int) -> None:
    """As DivX files are: frames are stored in another order than they are shown in."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options={"bf": "2"})
        stream.width, stream.height = 64, 48
        for number in range(frames):
            picture = np.full((48, 64, 3), COLOURS[number // 10 % len(COLOURS)], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def test_frames_come_in_the_order_they_are_shown_in(tmp_path: Path) -> None:
    write_with_b_frames(tmp_path / "a.avi", frames=60)
    assert seconds(read_frames(Video(tmp_path / "a.avi", start=0.5))) == [0, 1, 2, 3, 4, 5]
    assert seconds(read_frames(Video(tmp_path / "a.avi", start=3.5, end=5.0))) == [3, 4]


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize("start", [1.5, 2.5, 3.5, 5.2])
def test_a_file_without_an_index_is_read_from_its_beginning(tmp_path: Path, codec: str, start: float) -> None:
    """A jump into a transport stream ends between two pictures that can be decoded by themselves."""
    with av.open(str(tmp_path / "a.ts"), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "75", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(150):
            picture = np.full((48, 64, 3), COLOURS[number // 25], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    expected = [int(time) for time in np.arange(start, 5.96)]  # the last frame begins at 5.96 s
    assert seconds(read_frames(Video(tmp_path / "a.ts", start=start))) == expected


def test_a_telephone_held_upright_is_turned(tmp_path: Path) -> None:
    """Writes the matrix for a quarter turn clockwise into the track's header (ISO 14496-12, 8.3.2)."""
    path = write_video(tmp_path / "a.mp4", seconds=0.5, sound=False)
    plain = read_frames(Video(path))[0]
    data = path.read_bytes()
    start = data.index(b"tkhd") + 4 + 40
    one, minus_one = (0x10000).to_bytes(4, "big"), (-0x10000).to_bytes(4, "big", signed=True)
    zero, w = bytes(4), (0x40000000).to_bytes(4, "big")
    width = (48 << 16).to_bytes(4, "big")
    matrix = b"".join([zero, one, zero, minus_one, zero, zero, width, zero, w])
    path.write_bytes(data[:start] + matrix + data[start + 36 :])
    np.testing.assert_array_equal(read_frames(Video(path))[0], np.rot90(plain, -1))


def write_with_a_pause(path: Path, seconds: int) -> Path:
    """A frame at 0.0 s, and the next ones ``seconds`` later."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"threads": "1", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, pts in ((0, 0), (3, 10 * seconds), (3, 10 * seconds + 1)):
            picture = np.full((48, 64, 3), COLOURS[number], np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = pts
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_pause_repeats_the_frame_that_is_shown(tmp_path: Path) -> None:
    assert seconds(read_frames(Video(write_with_a_pause(tmp_path / "a.mp4", 3)))) == [0, 0, 0, 3]


def test_a_pause_that_cannot_be_is_damage(tmp_path: Path) -> None:
    """It would else fill the memory with copies."""
    with pytest.raises(UnreadableError, match=r"^corrupt video$"):
        read_frames(Video(write_with_a_pause(tmp_path / "a.mp4", 36_000)))


def make_folder(folder: Path, names: list[str]) -> Path:
    for number, name in enumerate(names):
        write_picture(folder / name, COLOURS[number])
    return folder


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    names = ["frame1.jpg", "frame2.jpg", "frame10.png", "frame11.jpeg", "frame100.JPG"]
    folder = make_folder(tmp_path / "my frames é", names)
    (folder / ".DS_Store").write_bytes(b"")
    (folder / "._frame1.jpg").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("not a picture")
    assert seconds(read_frames(Video(folder))) == [0, 1, 2, 3, 4]
    assert seconds(read_frames(Video(folder, start=3.0, end=4.0))) == [0, 1, 2, 3, 4]
    assert seconds(read_frames(Video(folder), count=3)) == [0, 1, 3]
    assert second(middle_frame(Video(folder))) == 2
    assert second(middle_frame(Video(folder, start=3.0, end=4.0))) == 2


@pytest.mark.parametrize(
    "names",
    [
        ["00002.jpg", "00010.jpg"],
        ["a.jpg", "b.jpg"],
        ["2.jpg", "a.jpg"],
        ["1_2.jpg", "1_10.jpg"],
        ["01.jpg", "1.jpg"],
        ["2²٣.jpg", "10²٣.jpg"],
    ],
)
def test_any_names_have_an_order(tmp_path: Path, names: list[str]) -> None:
    assert seconds(read_frames(Video(make_folder(tmp_path / "frames", names)))) == [0, 1]


def test_a_folder_without_pictures_has_no_frames(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    for read in (read_frames, middle_frame):
        with pytest.raises(UnreadableError, match=r"^video without frames$"):
            read(Video(tmp_path))


def test_a_damaged_picture_in_a_folder_is_unreadable_if_it_is_needed(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "frames", ["1.jpg", "2.jpg", "3.jpg"])
    truncate(folder / "3.jpg")
    assert seconds(read_frames(Video(folder), count=2)) == [0, 1]
    with pytest.raises(UnreadableError, match=r"^unreadable picture$"):
        read_frames(Video(folder))


@pytest.mark.parametrize("read", [read_frames, middle_frame])
@pytest.mark.parametrize("name", [*NAMES, "gone.mp4", "text.mp4"])
def test_what_is_no_video_is_corrupt(tmp_path: Path, name: str, read, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("<html>This video is no longer available</html>")
    if name in NAMES:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UnreadableError, match=r"^corrupt video$"):
        read(Video(tmp_path / name))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("read", [read_frames, middle_frame])
def test_sound_alone_has_no_frames(tmp_path: Path, read) -> None:
    with pytest.raises(UnreadableError, match=r"^video without frames$"):
        read(Video(write_wav(tmp_path / "a.wav")))


@pytest.mark.parametrize("read", [read_frames, middle_frame])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("start", "end"), [(9.0, None), (9.0, 10.0), (0.5, 0.5), (0.7, 0.3)])
def test_an_interval_outside_has_no_frames(tmp_path: Path, name: str, start: float, end: float | None, read) -> None:
    path = write_video(tmp_path / name, seconds=1.0)
    with pytest.raises(UnreadableError, match=r"^video without frames$"):
        read(Video(path, start, end))


@pytest.mark.parametrize("name", ["a.flv", "a.avi"])
def test_of_a_truncated_video_the_beginning_is_right(tmp_path: Path, name: str) -> None:
    path = truncate(write_video(tmp_path / name, seconds=6.0), 0.6)
    assert seconds(read_frames(Video(path))) == [0, 1, 2, 3]
    assert seconds(read_frames(Video(path, start=2.5))) == [2, 3]


def test_a_frame_that_is_only_there_in_part_is_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with av.open(str(tmp_path / "a.flv"), "w") as container:
        stream = container.add_stream("flv", rate=10)
        stream.width, stream.height = 64, 48
        for _ in range(10):
            picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    data = (tmp_path / "a.flv").read_bytes()
    whole = read_frames(Video(tmp_path / "a.flv", rate=10.0))
    assert len(whole) == 10
    counts = set()
    for share in np.linspace(0.4, 0.9, 25):
        (tmp_path / "b.flv").write_bytes(data[: int(share * len(data))])
        try:
            frames = read_frames(Video(tmp_path / "b.flv", rate=10.0))
        except UnreadableError:
            continue
        counts.add(len(frames))
        np.testing.assert_array_equal(frames, whole[: len(frames)])
    assert len(counts) > 3


def test_a_truncated_mp4_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"^corrupt video$"):
        read_frames(Video(truncate(write_video(tmp_path / "a.mp4"), 0.9)))


def test_links_are_followed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "my videos é" / "a: b %d.mp4", seconds=1.0)
    (tmp_path / "link.mp4").symlink_to(path)
    (tmp_path / "folder").symlink_to(make_folder(tmp_path / "frames", ["1.jpg"]))
    for video in (path, tmp_path / "link.mp4", tmp_path / "folder"):
        assert seconds(read_frames(Video(video))) == [0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_unreadable_at_worst(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(NAMES))
    path = tmp_path / f"whole-{name}"
    if not path.exists():
        write_video(path, seconds=2.5, rate=4)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    (tmp_path / name).write_bytes(data.draw(st.one_of(st.just(bytes(content[:end])), st.binary(max_size=200))))
    video = Video(tmp_path / name, start=data.draw(st.sampled_from([0.0, 1.5])))
    for read in (read_frames, lambda video: [middle_frame(video)]):
        try:
            frames = read(video)
        except UnreadableError:
            continue
        assert frames
        assert all(frame.dtype == np.uint8 and frame.shape[2:] == (3,) for frame in frames)
    assert capfd.readouterr() == ("", "")


def test_a_missing_decoder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=0.5)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"'av'.*pip install"):
        read_frames(Video(path))

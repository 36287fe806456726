"""Finding faces, in a photograph in the public domain that comes with Matplotlib."""

import sys
from pathlib import Path

import av
import numpy as np
import pytest
from matplotlib import cbook
from PIL import Image

from mlabench.errors import UserError
from mlabench.media import UnreadableError, Video
from mlabench.media.faces import find_face, largest_face, mouth_of
from mlabench.media.pictures import read_picture
from mlabench.media.video import middle_frame, read_frames
from tests.datasets.media_files import write_picture

#: Where Grace Hopper's face is in her portrait of 512 x 600 pixels, from chin to brow: left, top, right, bottom.
FACE = (170, 105, 335, 330)
#: Her lips, likewise.
LIPS = (228, 270, 313, 298)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return read_picture(Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))))


def place_of(part: np.ndarray, whole: np.ndarray) -> tuple[int, int]:
    """Row and column at which ``part`` was cut out of ``whole``."""
    first = (whole == part[0, 0]).all(axis=2)
    for row, column in zip(*np.nonzero(first), strict=True):
        if np.array_equal(whole[row : row + len(part), column : column + part.shape[1]], part):
            return int(row), int(column)
    raise AssertionError("not a part of it")


def test_a_face_is_cut_out_as_a_square_with_a_margin(portrait: np.ndarray) -> None:
    face = largest_face(portrait)
    assert face is not None
    side = len(face)
    assert face.shape == (side, side, 3)
    top, left = place_of(face, portrait)
    assert left < FACE[0] < FACE[2] < left + side
    assert top < FACE[1] < FACE[3] < top + side
    assert side < 1.8 * (FACE[3] - FACE[1])


def test_it_is_the_same_face_every_time(portrait: np.ndarray) -> None:
    first, second = largest_face(portrait), largest_face(portrait.copy())
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first, second)


def test_the_largest_of_two_faces_is_taken(portrait: np.ndarray) -> None:
    small = np.asarray(Image.fromarray(portrait).resize((256, 300)))
    both = np.full((600, 768, 3), 128, np.uint8)
    both[:300, :256], both[:, 256:] = small, portrait
    face = largest_face(both)
    assert face is not None
    assert place_of(face, both)[1] >= 256


def test_a_face_at_the_edge_stays_inside(portrait: np.ndarray) -> None:
    found = largest_face(portrait)
    assert found is not None
    edge = np.ascontiguousarray(found[30:-30, 30:-30])  # without most of the margin
    face = largest_face(edge)
    assert face is not None
    assert face.shape[0] == face.shape[1] <= len(edge)
    assert len(face) > 0.9 * len(edge)


@pytest.mark.parametrize("shape", [(48, 64), (600, 512), (8, 8), (1, 500)])
def test_where_there_is_no_face_there_is_none(shape: tuple[int, int]) -> None:
    assert largest_face(np.full((*shape, 3), 200, np.uint8)) is None


def write_frames(folder: Path, portrait: np.ndarray, faces: list[bool]) -> Path:
    """Frames of a dialogue: the face, if any, is in the right half; each frame has its number on her forehead."""
    folder.mkdir()
    for number, shown in enumerate(faces):
        frame = np.full((300, 512, 3), 128, np.uint8)
        if shown:
            frame[:, 256:] = Image.fromarray(portrait).resize((256, 300))
            frame[70:80, 256 + 100 : 256 + 110] = 10 * number
        Image.fromarray(frame).save(folder / f"{number}.png")
    return folder


def number_of(face: np.ndarray) -> int:
    """The number of the frame that a face was cut out of."""
    values = [number for number in range(1, 10) if (face == 10 * number).all(axis=2).sum() >= 100]
    assert len(values) == 1
    return values[0]


def test_frames_without_a_face_are_skipped(tmp_path: Path, portrait: np.ndarray) -> None:
    folder = write_frames(tmp_path / "frames", portrait, [False, True, False, True, True])
    for half in (None, "right"):
        faces = read_frames(Video(folder, half=half, face=True))
        assert [number_of(face) for face in faces] == [1, 3, 4]
        assert [number_of(face) for face in read_frames(Video(folder, half=half, face=True), count=2)] == [1, 3]


def test_the_face_nearest_the_middle_is_taken(tmp_path: Path, portrait: np.ndarray) -> None:
    folder = write_frames(tmp_path / "frames", portrait, [False, True, False, False, True])
    assert number_of(middle_frame(Video(folder, face=True))) == 1  # of 1 and 4, as far from 2 as 1 and 2


def test_the_other_half_has_no_face(tmp_path: Path, portrait: np.ndarray) -> None:
    folder = write_frames(tmp_path / "frames", portrait, [True, True])
    for read in (read_frames, middle_frame):
        with pytest.raises(UnreadableError, match=r"^no face$"):
            read(Video(folder, half="left", face=True))


def test_a_face_is_found_in_a_video(tmp_path: Path, portrait: np.ndarray) -> None:
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width, stream.height, stream.bit_rate = 512, 600, 4_000_000
        for number in range(4):
            picture = portrait if number >= 2 else np.full_like(portrait, 128)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    faces = read_frames(Video(tmp_path / "a.avi", face=True))
    assert len(faces) == 1
    assert middle_frame(Video(tmp_path / "a.avi", face=True)).shape == faces[0].shape
    with pytest.raises(UnreadableError, match=r"^no face$"):
        read_frames(Video(tmp_path / "a.avi", end=1.0, face=True))


# -- mouths ---------------------------------------------------------------------------------------


def test_a_mouth_is_cut_out_as_a_square_around_the_lips(portrait: np.ndarray) -> None:
    face = find_face(portrait)
    assert face is not None
    mouth = mouth_of(portrait, face)
    side = len(mouth)
    assert mouth.shape == (side, side, 3)
    top, left = place_of(mouth, portrait)
    assert left < LIPS[0] < LIPS[2] < left + side
    assert top < LIPS[1] < LIPS[3] < top + side
    assert side < 1.6 * (LIPS[2] - LIPS[0])


def test_a_mouth_at_the_edge_stays_inside(portrait: np.ndarray) -> None:
    cut = portrait[: LIPS[3] + 10]
    mouth = mouth_of(cut, (149, 100, 231))
    assert mouth.shape == (116, 116, 3)  # half of 231, rounded to the even one
    np.testing.assert_array_equal(mouth[-1], cut[-1, 206 : 206 + 116])


def test_a_small_face_has_no_mouth_to_read(portrait: np.ndarray) -> None:
    picture = np.full((600, 600, 3), 128, np.uint8)
    picture[:200, :171] = Image.fromarray(portrait).resize((171, 200))
    assert find_face(picture) is not None
    assert find_face(picture, smallest=0.25) is None


def test_a_mouth_stays_at_its_place_in_all_frames(tmp_path: Path, portrait: np.ndarray) -> None:
    frames = [np.full((640, 560, 3), 128, np.uint8) for _ in range(4)]
    for frame, shift in zip(frames, (0, 0, 24), strict=False):  # in the last there is no face
        frame[shift : shift + 600, shift : shift + 512] = portrait
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    mouths = read_frames(Video(tmp_path, mouth=True))
    top, left = place_of(mouths[0], frames[0])
    side = len(mouths[0])
    assert top < LIPS[1] < LIPS[3] < top + side
    assert left < LIPS[0] < LIPS[2] < left + side
    for mouth, frame in zip(mouths, frames, strict=True):
        np.testing.assert_array_equal(mouth, frame[top : top + side, left : left + side])
    chosen = read_frames(Video(tmp_path, mouth=True), count=2)
    np.testing.assert_array_equal(chosen, [mouths[0], mouths[2]])
    np.testing.assert_array_equal(middle_frame(Video(tmp_path, mouth=True)), mouths[2])


def test_without_a_face_there_is_no_mouth(tmp_path: Path, portrait: np.ndarray) -> None:
    folder = write_frames(tmp_path / "frames", portrait, [False, False])
    for read in (read_frames, middle_frame):
        with pytest.raises(UnreadableError, match=r"^no face$"):
            read(Video(folder, mouth=True))


def test_a_missing_detector_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_picture(tmp_path / "1.png")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"'cv2'.*pip install"):
        read_frames(Video(tmp_path, face=True))

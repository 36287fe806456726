"""Pictures and frames as an encoder reads them."""

from pathlib import Path

import numpy as np
import pytest

from mlabench.media import Audio, Image, Text, UnreadableError, Video
from mlabench.media.pictures import read_picture, resize
from mlabench.media.preprocessing.pictures import Frames, Picture
from tests.datasets.media_files import COLOURS, write_picture, write_video


@pytest.mark.parametrize("fit", ["stretch", "contain", "cover"])
def test_a_picture_is_decoded_and_made_square(tmp_path: Path, fit) -> None:
    path = write_picture(tmp_path / "a.png")
    step = Picture(32, fit)
    values = step(Image(path))
    assert (values.shape, values.dtype) == (step.shape, step.dtype) == ((3, 32, 32), np.uint8)
    np.testing.assert_array_equal(values, resize(read_picture(path), 32, fit))


def test_of_a_video_the_middle_is_taken(tmp_path: Path) -> None:
    values = Picture(16)(Video(write_video(tmp_path / "a.mp4", seconds=3.0)))
    np.testing.assert_allclose(values[:, 8, 2], COLOURS[1], atol=5)


def test_frames_are_spread_over_a_video(tmp_path: Path) -> None:
    step = Frames(3, 16)
    values = step(Video(write_video(tmp_path / "a.flv", seconds=6.0)))
    assert (values.shape, values.dtype) == (step.shape, step.dtype) == ((3, 3, 16, 16), np.uint8)
    np.testing.assert_allclose(values[:, :, 8, 2], [COLOURS[0], COLOURS[2], COLOURS[4]], atol=5)


def test_a_picture_is_repeated(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "a.png")
    values = Frames(2, 16, "cover")(Image(path))
    np.testing.assert_array_equal(values, np.stack([Picture(16, "cover")(Image(path))] * 2))


def test_what_cannot_be_read_is_passed_on(tmp_path: Path) -> None:
    for step in (Picture(16), Frames(2, 16)):
        with pytest.raises(UnreadableError, match="picture"):
            step(Image(tmp_path / "gone.png"))


def test_other_media_are_a_mistake(tmp_path: Path) -> None:
    for step in (Picture(16), Frames(2, 16)):
        for item in (Text("a"), Audio(tmp_path)):
            with pytest.raises(TypeError, match=type(item).__name__):
                step(item)


def test_settings_identify_a_step() -> None:
    assert Picture(16).identity() == {"name": "Picture", "version": 1, "size": 16, "fit": "stretch"}
    assert Frames(3, 16, "cover").identity() == {"name": "Frames", "version": 1, "count": 3, "size": 16, "fit": "cover"}

"""The raw loader, on small folders in the layout of the Debian package."""

from pathlib import Path

import numpy as np
import pytest

from mlabench.datasets.embedded.networks import SPEECH_RATE
from mlabench.datasets.embedded.rebuild import normalise
from mlabench.datasets.embedded.stamps.raw_files import (
    SPEECH_LIMIT,
    concepts,
    find_stamps,
    list_samples,
    read_picture,
    read_speech,
)
from mlabench.errors import UserError
from mlabench.media import UnreadableError
from tests.datasets.embedded.stamps_tree import add_stamp, make_tree, write_ogg


def test_samples_are_listed_with_their_text_and_class(tmp_path: Path) -> None:
    listing = list_samples(make_tree(tmp_path))
    samples = {sample.id: sample for sample in listing.samples}
    assert list(samples) == [
        "animals/butterfly:fr",
        "animals/marsupials/kangaroo:fr",
        "animals/marsupials/kangaroo:ru",
        "household/box:fr",
        "seasonal/butterfly:fr",
        "town/flags/blueflag:fr",
        "town/flags/redflag:fr",
    ]
    kangaroo = samples["animals/marsupials/kangaroo:ru"]
    assert (kangaroo.text, kangaroo.stamp.english, kangaroo.stamp.label) == ("Кенгуру.", "A kangaroo.", "animals")
    assert samples["household/box:fr"].stamp.picture.suffix == ".svg"


def test_every_skip_is_counted_by_reason(tmp_path: Path) -> None:
    listing = list_samples(make_tree(tmp_path))
    assert listing.skipped == {
        "stamp outside the ten classes": 1,
        "stamp without a picture": 1,
        "stamp without a description": 2,
        "empty recording": 1,
        "no text in this language": 1,
        # Seven stamps in nine languages, less the seven samples and the two pairs above.
        "no recording in this language": 7 * 9 - 7 - 2,
    }


def test_a_folder_without_any_complete_stamp_comes_with_a_remedy(tmp_path: Path) -> None:
    add_stamp(tmp_path, "food/bread", "Bread.", {})
    with pytest.raises(UserError, match=r"no stamp with picture, text and recording.*dpkg -x"):
        list_samples(find_stamps(tmp_path))


def test_twins_share_a_concept(tmp_path: Path) -> None:
    concept = {sample.stamp.name: sample.stamp.concept for sample in list_samples(make_tree(tmp_path)).samples}
    assert concept["town/flags/redflag"] == concept["town/flags/blueflag"] == "flag"
    assert concept["animals/butterfly"] == concept["seasonal/butterfly"] == "butterfly"
    # Kangaroo and red flag are the same picture file in this tree.
    assert concept["animals/marsupials/kangaroo"] == "flag"
    assert concept["household/box"] == "box"


def test_a_family_of_pictures_shares_a_concept() -> None:
    name = "symbols/alphabets/english/filled/lowercase/{}_filled"
    stamps = [(name.format(letter), f"The letter {letter}.", letter.encode()) for letter in "abd"]
    concept = concepts(stamps)
    assert concept[name.format("b")] == concept[name.format("d")] == "letter b"
    assert concept[name.format("a")] == "letter a"


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("A red flag.", "flag"),
        ("A blue and yellow flag.", "flag"),
        ("An orange.", "orange"),
        ("A sliced orange.", "sliced orange"),
        ("A pair of white pants.", "pants"),
        ("The letter a.", "letter a"),
        ("“Give Way” means you have to…", "give way means you have to"),
        ("Red.", "red"),
    ],
)
def test_descriptions_lose_case_punctuation_articles_and_colours(description: str, expected: str) -> None:
    assert normalise(description) == expected


def test_a_transparent_picture_is_enlarged_onto_white(tmp_path: Path) -> None:
    picture = read_picture(make_tree(tmp_path) / "animals/marsupials/kangaroo.png")
    assert (picture.shape, picture.dtype) == ((224, 224, 3), np.uint8)
    assert (picture[:56] == 255).all()  # twice as wide as high, so there is a margin above
    assert (picture[60:160, :100] == 255).all()
    assert (picture[60:160, 124:] == (255, 0, 0)).all()


def test_a_vector_picture_keeps_its_proportions(tmp_path: Path) -> None:
    picture = read_picture(make_tree(tmp_path) / "household/box.svg")
    assert (picture[:, :54] == 255).all()
    assert (picture[4:220, 60:164] == (255, 0, 0)).all()


@pytest.mark.parametrize("name", ["broken.png", "broken.svg"])
def test_a_broken_picture_is_unreadable(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a picture")
    with pytest.raises(UnreadableError, match="unreadable picture"):
        read_picture(tmp_path / name)


def test_speech_becomes_mono_at_16_khz(tmp_path: Path) -> None:
    write_ogg(tmp_path / "a.ogg", seconds=1.0, pitch=1000)
    speech = read_speech(tmp_path / "a.ogg")
    assert (speech.shape, speech.dtype) == ((SPEECH_RATE,), np.float32)
    spectrum = np.abs(np.fft.rfft(speech))
    assert abs(int(spectrum.argmax()) - 1000) <= 2
    assert np.abs(speech).max() == pytest.approx(0.375, abs=0.03)  # the mean of 0.5 and 0.25


def test_long_speech_is_cut(tmp_path: Path) -> None:
    write_ogg(tmp_path / "a.ogg", seconds=8)
    assert len(read_speech(tmp_path / "a.ogg")) == SPEECH_RATE * SPEECH_LIMIT


@pytest.mark.parametrize("content", [b"", b"OggS but no sound"])
def test_broken_speech_is_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.ogg").write_bytes(content)
    with pytest.raises(UnreadableError, match="unreadable recording"):
        read_speech(tmp_path / "a.ogg")


def test_silence_is_no_speech(tmp_path: Path) -> None:
    write_ogg(tmp_path / "a.ogg", pitch=0)
    with pytest.raises(UnreadableError, match="silent"):
        read_speech(tmp_path / "a.ogg")

"""The raw loader of OpenMoji, on a small folder in the layout of the npm package."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from mlabench.datasets.embedded.openmoji.raw_files import (
    Emoji,
    concepts,
    find_openmoji,
    list_emoji,
    read_picture,
)
from mlabench.datasets.listing import Listing
from mlabench.errors import UserError
from mlabench.media import UnreadableError
from tests.datasets.embedded.openmoji_tree import EMOJI, make_tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def listing(folder: Path) -> Listing[Emoji]:
    return list_emoji(folder)


def test_emoji_are_listed_with_their_name_tags_and_group(folder: Path, listing: Listing[Emoji]) -> None:
    expected = [(code, group, name, tags) for group, several in EMOJI.items() for code, name, tags in several]
    assert [(emoji.id, emoji.label, emoji.name, emoji.tags) for emoji in listing.samples] == expected
    assert listing.samples[0].picture == folder / "color/svg/1F408.svg"


def test_every_line_left_out_is_counted_by_reason(listing: Listing[Emoji]) -> None:
    assert listing.skipped == {
        "variant by skin tone": 1,
        "part of other emoji: a skin tone or hair": 1,
        "extra of OpenMoji's, not in Unicode": 2,
        "character of Unicode's that is no emoji": 1,
        "outside the nine groups": 1,
        "without a name or tags": 1,
        "without a picture": 1,
        "without a code": 1,
        "listed twice": 1,
    }


def test_twins_share_a_concept_and_others_do_not(listing: Listing[Emoji]) -> None:
    members = defaultdict(set)
    for emoji in listing.samples:
        members[emoji.concept].add(emoji.name)
    assert sorted(map(sorted, (names for names in members.values() if len(names) > 1))) == [
        ["black cat", "cat"],
        ["flag: France", "flag: St. Martin"],
        ["man", "woman"],
        ["man student", "student", "woman student"],
        ["one o’clock", "one-thirty"],
        ["person walking", "woman walking: facing right"],
    ]


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        (("1F46E-200D-2642-FE0F", "man police officer"), ("1F46E", "police officer"), True),
        (("2640", "female sign"), ("2642", "male sign"), False),
        (("27A1", "right arrow"), ("1F519", "BACK arrow"), False),
        (("2B05", "left arrow"), ("2197", "up-right arrow"), True),
        (("1F3F9", "bow and arrow"), ("1F498", "heart with arrow"), False),
        (("2764", "red heart"), ("1F49A", "green heart"), True),
        (("1F49A", "green heart"), ("1F494", "broken heart"), False),
        (("1F600", "grinning face"), ("1F603", "grinning face with big eyes"), False),
        (("1F1F3-1F1F4", "flag: Norway"), ("1F1E7-1F1FB", "flag: Bouvet Island"), True),
        (("1F1F3-1F1F4", "flag: Norway"), ("1F1EE-1F1F8", "flag: Iceland"), False),
        (("1F468", "man"), ("1F468-200D-1F33E", "man farmer"), False),
    ],
)
def test_what_makes_a_concept(one: tuple[str, str], other: tuple[str, str], joined: bool) -> None:
    concept = concepts([(*one, b"1"), (*other, b"2")])
    assert (concept[one[0]] == concept[other[0]]) is joined


def test_pictures_are_squares_on_white(folder: Path) -> None:
    picture = read_picture(folder / "color/svg/1F418.svg")
    assert (picture.shape, picture.dtype) == ((224, 224, 3), np.uint8)
    assert (picture[0] == 255).all()
    # The disc of radius 24 in a page of 72.
    assert (picture != 255).any(axis=2).mean() == pytest.approx(np.pi / 9, abs=0.01)


def test_a_damaged_picture_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text("<svg")
    with pytest.raises(UnreadableError):
        read_picture(tmp_path / "a.svg")


def test_the_folder_that_data_get_fills_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_tree(tmp_path / "raw")
    installed = tmp_path / "data" / "OpenMoji"
    installed.parent.mkdir()
    folder.rename(installed)
    assert find_openmoji(tmp_path) == installed
    monkeypatch.chdir(tmp_path)
    assert find_openmoji() == Path("data/OpenMoji")
    monkeypatch.chdir(tmp_path / "raw")
    with pytest.raises(UserError, match=r"^no folder with data/openmoji\.csv .* \(looked for data/OpenMoji\)\."):
        find_openmoji()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hexcode,group,annotation,tags\n", r"openmoji\.csv: there is no column 'skintone'"),
        (b"\xff\xfe\x00", r"openmoji\.csv: cannot be read"),
        (b"hexcode,group,annotation,tags,skintone\n", "holds no emoji with a picture"),
        (b"hexcode,group,annotation,tags,skintone\n1F408,animals-nature\n", "holds no emoji with a picture"),
    ],
)
def test_another_table_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    folder = make_tree(tmp_path)
    (folder / "data/openmoji.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        list_emoji(folder)
    assert "mlabench data get openmoji" in str(error.value)

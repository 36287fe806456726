"""The raw loader of clip art, on small folders in the layout of the Debian packages."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlabench.datasets.embedded.clipart.raw_files import (
    CLASSES,
    FOLDERS,
    PIXELS,
    Drawing,
    concepts,
    find_clipart,
    list_drawings,
    read_picture,
)
from mlabench.datasets.listing import Listing
from mlabench.errors import UserError
from mlabench.media import UnreadableError
from tests.datasets.embedded.clipart_tree import TITLES, add_picture, declare_size, make_tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def listing(folder: Path) -> Listing[Drawing]:
    return list_drawings(folder)


def test_pictures_are_listed_with_their_title_and_class(listing: Listing[Drawing]) -> None:
    pictures = {picture.id: picture for picture in listing.samples}
    assert list(pictures) == sorted(pictures)
    assert len(pictures) == sum(map(len, TITLES.values())) + 2
    crow = pictures["animals/birds/crow_01"]
    assert (crow.title, crow.label, crow.path.suffix) == ("Crow", "animals", ".png")
    assert pictures["people/clothing/hats/beret_01"].label == "clothing"


def test_every_picture_left_out_is_counted_by_reason(listing: Listing[Drawing]) -> None:
    assert listing.skipped == {
        "outside the thirteen classes": 1,
        "one of a series of near-identical pictures": 2,
        "in more than one class": 2,
        "the same picture again": 1,
        "not stated to be in the Public Domain": 2,
        "without a title": 1,
        "with an image that is in another file": 1,
        "unreadable description": 1,
    }


def test_thirteen_classes_of_distinct_folders() -> None:
    assert len(CLASSES) == 13
    assert len({folder for folders in FOLDERS.values() for folder in folders}) == 14


def test_a_picture_without_a_usable_png_is_drawn_from_its_svg(tmp_path: Path) -> None:
    folder = make_tree(tmp_path)
    names = ["an_apple", "grapes", "pera", "banana"]
    apple, grapes, pera, _ = (folder / f"png/food/fruit/{name}_01.png" for name in names)
    declare_size(apple, PIXELS // 1000 + 1, 1000)
    grapes.write_bytes(b"")
    pera.write_bytes(b"GIF89a" + bytes(40))
    suffixes = {picture.id: picture.path.suffix for picture in list_drawings(folder).samples}
    assert {suffixes[f"food/fruit/{name}_01"] for name in names} == {".svg"}
    declare_size(apple, PIXELS // 1000, 1000)
    suffixes = {picture.id: picture.path.suffix for picture in list_drawings(folder).samples}
    assert suffixes["food/fruit/an_apple_01"] == ".png"


def test_a_link_to_nothing_is_counted(tmp_path: Path) -> None:
    folder = make_tree(tmp_path)
    (folder / "svg/tools/lost.svg").symlink_to("nowhere.svg")
    assert list_drawings(folder).skipped["unreadable picture"] == 1


def test_a_folder_without_any_picture_comes_with_a_remedy(tmp_path: Path) -> None:
    add_picture(tmp_path, "food/untitled", "", shade=1)
    with pytest.raises(UserError, match=r"no picture with a title.*dpkg -x"):
        list_drawings(find_clipart(tmp_path))


def test_twins_share_a_concept(listing: Listing[Drawing]) -> None:
    concept = {picture.id: picture.concept for picture in listing.samples}
    assert concept["food/fruit/cherries_bw"] == concept["food/fruit/cherries_01"] == "cherries"
    # The same name of a file, another title.
    assert concept["animals/birds/owl_on_a_branch_02"] == concept["animals/birds/owl_on_a_branch_01"] == "nocturnal"
    assert len(set(concept.values())) == len(concept) - 2


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Croissant (B and W)", "croissant"),
        ("flan_bw", "flan"),
        ("Truck2", "truck"),
        ("glace_01_bw", "glace"),
        ("A red pin", "pin"),
        ("Trumpet B Flat (colour)", "trumpet b flat"),
        ("45", "45"),
    ],
)
def test_titles_lose_what_twins_differ_in(title: str, expected: str) -> None:
    assert concepts([("food/x", title)]) == {"food/x": expected}


def test_titles_that_were_escaped_twice_are_fixed(tmp_path: Path) -> None:
    add_picture(tmp_path, "food/ice", "Gelato  all&#39;italiana\n(B &amp; W)", shade=1)
    assert [picture.title for picture in list_drawings(find_clipart(tmp_path)).samples] == [
        "Gelato all'italiana (B & W)"
    ]


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_margins_are_cut_off(folder: Path, kind: str) -> None:
    picture = read_picture(folder / f"{kind}/food/fruit/pera_01.{kind}")
    assert (picture.shape, picture.dtype) == ((224, 224, 3), np.uint8)
    # Half as wide as high, so it fills the height and the middle half of the width.
    drawn = (picture < 250).any(axis=2)
    assert drawn[:, 60:164].all()
    assert not drawn[:, :54].any()
    assert not drawn[:, 170:].any()


def test_a_blank_picture_is_unreadable(tmp_path: Path) -> None:
    Image.new("RGBA", (30, 30), (255, 0, 0, 0)).save(tmp_path / "blank.png")
    with pytest.raises(UnreadableError, match="blank picture"):
        read_picture(tmp_path / "blank.png")

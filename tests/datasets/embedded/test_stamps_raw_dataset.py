"""The stamps as files: the samples of ``stamps``, with the files that its features were made from."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from mlabench.datasets.embedded.stamps.dataset import Stamps
from mlabench.datasets.embedded.stamps.raw_dataset import RawStamps
from mlabench.errors import UserError
from mlabench.media import Audio, Image, Text
from mlabench.media.preprocessing.pictures import Picture
from mlabench.media.preprocessing.sound import LogMel
from mlabench.media.preprocessing.text import Characters
from tests.datasets.embedded.stamps_tree import make_splittable_tree

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_splittable_tree(tmp_path_factory.mktemp("root"))


def raw_stamps(**options: object) -> RawStamps:
    return RawStamps(RawStamps.Config.model_validate(options))


def test_a_sample_has_its_three_files(root: Path) -> None:
    folder = root / "usr/share/tuxpaint/stamps"
    samples = {sample.id: sample for sample in raw_stamps(root=root).listing().samples}
    kangaroo = samples["animals/marsupials/kangaroo:ru"]
    assert kangaroo.items == {
        "audio": Audio(folder / "animals/marsupials/kangaroo_desc_ru.ogg", start=0.0, end=6.0),
        "image": Image(folder / "animals/marsupials/kangaroo.png"),
        "text": Text("Кенгуру."),
    }
    assert (kangaroo.label, kangaroo.group) == ("animals", "flag")  # the red flag's picture, in this tree
    assert samples["household/box:fr"].items["image"] == Image(folder / "household/box.svg")


def test_counts_skips_and_notes(root: Path) -> None:
    dataset = raw_stamps(root=root)
    data = dataset.load()
    found = dataset.check()
    expected = Stamps(Stamps.Config()).check(root)
    assert (found.samples, found.skipped) == (expected.samples, expected.skipped)
    assert {name: len(getattr(data, name)) for name in SPLITS} == expected.samples
    assert min(expected.samples.values()) >= 4
    assert data.skipped == expected.skipped
    (note,) = data.notes
    assert "not the paper's" in note


def test_modalities_keep_the_order_they_are_given_in(root: Path) -> None:
    dataset = raw_stamps(root=root, modalities=["text", "image"])
    assert dataset.media == {"text": "text", "image": "image"}
    assert list(dataset.load().train.inputs) == ["text", "image"]
    with pytest.raises(ValidationError, match="once only"):
        raw_stamps(modalities=["text", "text"])


def test_no_concept_is_in_two_splits(root: Path) -> None:
    data = raw_stamps(root=root).load()
    groups = [set(getattr(data, name).groups) for name in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_the_files_can_be_decoded(root: Path) -> None:
    samples = {sample.id: sample for sample in raw_stamps(root=root).listing().samples}
    drawn = Picture(size=20, fit="contain")(samples["household/box:fr"].items["image"])  # an SVG
    assert (drawn[:, 2:18, 7:13] == np.array([255, 0, 0])[:, None, None]).all()
    items = samples["food/thing0:fr"].items
    picture = Picture(size=20, fit="contain")(items["image"])
    assert (picture[:, 5:15, 12:] == np.array([0, 1, 1])[:, None, None]).all()  # its right half is of one colour
    assert LogMel(seconds=1.0)(items["audio"]).astype(np.float32).std() > 1
    assert bytes(Characters(length=8)(items["text"]).astype(np.uint8)) == b"Chose 0."


def test_files_that_are_not_there_come_with_a_remedy(tmp_path: Path) -> None:
    message = (
        r"'raw_stamps' are not there.*apt-get download tuxpaint-stamps-default.*dataset\.root=DIR.*--dataset stamps"
    )
    with pytest.raises(UserError, match=message):
        raw_stamps(root=tmp_path).load()

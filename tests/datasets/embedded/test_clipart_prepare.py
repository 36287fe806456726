"""Making the features of clip art from raw files, on a small folder and with the real encoders."""

from pathlib import Path

import numpy as np
import pytest

from mlabench.datasets import Inventory
from mlabench.datasets.embedded.clipart.dataset import Clipart
from mlabench.datasets.embedded.clipart.raw_files import list_drawings, read_picture
from mlabench.datasets.embedded.networks import encode_pictures, encode_sentences
from mlabench.datasets.embedded.storage import read_features, restore
from mlabench.errors import UserError
from tests.datasets.embedded.clipart_tree import make_tree


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    folder = make_tree(root)
    damaged = folder / "png/animals/birds/hen_01.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    return root


@pytest.fixture(scope="module")
def calls() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def prepared(raw: Path, calls: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    out = tmp_path_factory.mktemp("out") / "features"
    return Clipart(Clipart.Config()).prepare(raw, out, progress=lambda *call: calls.append(call))


def test_pictures_that_cannot_be_decoded_are_counted(raw: Path, prepared: Inventory) -> None:
    rows, tensors, _ = read_features(prepared.folder)
    listed = [picture.id for picture in list_drawings(raw / "usr/share/openclipart").samples]
    assert [row["id"] for row in rows] == [name for name in listed if name != "animals/birds/hen_01"]
    assert prepared.skipped["unreadable picture"] == 1
    assert sum(prepared.samples.values()) == len(rows) == len(tensors["image"])


def test_a_check_counts_without_decoding(raw: Path, prepared: Inventory) -> None:
    found = Clipart(Clipart.Config()).check(raw)
    assert found.folder == raw / "usr/share/openclipart"
    assert all(found.samples.values())
    assert sum(found.samples.values()) == sum(prepared.samples.values()) + 1
    assert found.skipped["not stated to be in the Public Domain"] == 2


def test_progress_reaches_the_end_of_every_stage(prepared: Inventory, calls: list[tuple[str, int, int]]) -> None:
    assert {stage: done for stage, done, total in calls if done == total} == {"pictures": 20, "titles": 19}


def test_the_folder_has_all_that_the_shipped_one_has(prepared: Inventory) -> None:
    assert {path.name for path in prepared.folder.iterdir()} == {path.name for path in Clipart.folder.iterdir()}


def test_features_are_those_of_the_encoders(raw: Path, prepared: Inventory) -> None:
    rows, tensors, _ = read_features(prepared.folder)
    pictures = {picture.id: picture for picture in list_drawings(raw / "usr/share/openclipart").samples}
    own = [pictures[row["id"]] for row in rows]
    text = (encode_sentences([picture.title for picture in own]) - tensors["text.mean"]) / tensors["text.std"]
    np.testing.assert_allclose(text, tensors["text"][[int(row["text"]) for row in rows]], rtol=1e-3, atol=5e-3)
    image = encode_pictures(read_picture(picture.path) for picture in own)
    image = (image - tensors["image.mean"]) / tensors["image.std"]
    assert (np.abs(image - restore(tensors, "image")) <= 0.5 * tensors["image.step"] + 1e-3).all()


def test_pictures_use_the_whole_range_of_a_byte(prepared: Inventory) -> None:
    _, tensors, _ = read_features(prepared.folder)
    assert tensors["image"].dtype == np.int8
    largest = np.abs(tensors["image"].astype(int)).max(axis=0)
    assert set(largest) <= {0, 127}  # 0 where no picture differs from another
    assert (largest == 127).mean() > 0.5


def test_a_folder_without_training_pictures_is_reported(tmp_path: Path) -> None:
    folder = make_tree(tmp_path)
    (folder / "svg/food/fruit/banana_01.svg").unlink()  # the only one without a PNG
    for png in folder.glob("png/**/*_*.png"):
        png.write_bytes(png.read_bytes()[:40])
    with pytest.raises(UserError, match=r"no sample of the training split is left\. Unpack"):
        Clipart(Clipart.Config()).prepare(tmp_path, tmp_path / "out")

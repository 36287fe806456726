"""The shipped clip art: counts, splits, options, and what it costs to load."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mlabench.datasets import Data, Split
from mlabench.datasets.embedded.clipart.dataset import Clipart
from mlabench.datasets.embedded.clipart.raw_files import CLASSES
from mlabench.datasets.embedded.rebuild import SHARES
from mlabench.datasets.embedded.storage import read_features, restore
from mlabench.errors import UserError

SHIPPED = Clipart.folder
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def data() -> Data:
    return load()


def load(**options: Any) -> Data:
    return Clipart(Clipart.Config(**options)).load()


def parts(data: Data) -> dict[str, Split]:
    return {name: getattr(data, name) for name in SPLITS}


def test_counts(data: Data) -> None:
    assert {name: len(split) for name, split in parts(data).items()} == {"train": 1281, "validation": 188, "test": 369}
    assert data.task.classes == CLASSES


def test_classes_stand_in_the_order_of_their_size(data: Data) -> None:
    sizes = np.sum([np.bincount(split.labels, minlength=13) for split in parts(data).values()], axis=0)
    assert list(sizes) == sorted(sizes, reverse=True)


def test_arrays_have_the_promised_shapes_and_types(data: Data) -> None:
    assert data.task.modalities == ("image", "text")
    assert data.task.shapes == {"image": (1280,), "text": (384,)}
    for split in parts(data).values():
        assert len(split.ids) == len(split.groups) == len(set(split.ids))
        assert (split.labels.shape, split.labels.dtype) == ((len(split),), np.int64)
        for modality, shape in data.task.shapes.items():
            assert (split.inputs[modality].shape, split.inputs[modality].dtype) == ((len(split), *shape), np.float32)
            assert np.isfinite(split.inputs[modality]).all()


def test_features_are_standardised_by_the_training_split(data: Data) -> None:
    image, text = (data.train.inputs[modality] for modality in ("image", "text"))
    np.testing.assert_allclose(text.mean(axis=0), 0, atol=2e-3)
    varies = text.std(axis=0) > 0
    np.testing.assert_allclose(text.std(axis=0)[varies], 1, atol=2e-3)
    assert varies.mean() > 0.99
    # Rounding to a byte moves all drawings that lack a feature alike, by up to half a step.
    assert (np.abs(image.mean(axis=0)) < 0.5 * read_features(SHIPPED)[1]["image.step"]).all()
    np.testing.assert_allclose(image.std(axis=0), 1, atol=2e-2)


def test_no_concept_is_in_two_splits(data: Data) -> None:
    for first, second in combinations(parts(data).values(), 2):
        assert not set(first.groups) & set(second.groups)


def test_no_text_and_no_near_identical_picture_is_in_two_splits() -> None:
    rows, tensors, _ = read_features(SHIPPED)
    assert [int(row["image"]) for row in rows] == list(range(len(rows)))
    assert len({(row["text"], row["split"]) for row in rows}) == len({row["text"] for row in rows})
    split = np.array([row["split"] for row in rows])
    image = restore(tensors, "image")
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    # The closest that remain are outlines of different countries.
    assert (image @ image.T)[split[:, None] != split].max() < 0.9


def test_splits_are_stratified(data: Data) -> None:
    sizes = np.stack([np.bincount(split.labels, minlength=13) for split in parts(data).values()])
    assert sizes.min() > 0
    large = sizes.sum(axis=0) >= 100
    shares = sizes[:, large] / sizes[:, large].sum(axis=0)
    np.testing.assert_allclose(shares, np.tile([[share] for share in SHARES.values()], large.sum()), atol=0.07)


def test_any_ordered_subset_of_modalities_can_be_chosen(data: Data) -> None:
    swapped = load(modalities=["text", "image"])
    assert list(swapped.task.shapes) == list(swapped.test.inputs) == ["text", "image"]
    np.testing.assert_array_equal(swapped.test.inputs["image"], data.test.inputs["image"])
    assert load(modalities=["text"]).task.modalities == ("text",)


def test_the_media_need_no_loading() -> None:
    assert Clipart(Clipart.Config(modalities=("text", "image"))).media == {"text": "features", "image": "features"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": []}, "at least 1 item"),
        ({"modalities": ["text", "text"]}, "named once only, got text, text"),
        ({"modalities": ["audio"]}, "'image' or 'text'"),
        ({"text": "english"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Clipart.Config(**options)


def test_the_fingerprint_depends_on_the_modalities() -> None:
    def fingerprint(**options: Any) -> str:
        return Clipart(Clipart.Config(**options)).fingerprint()

    assert fingerprint() == fingerprint()
    assert fingerprint() != fingerprint(modalities=("text", "image")) != fingerprint(modalities=("text",))


def test_missing_files_come_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clipart, "folder", tmp_path)
    for read in (Clipart(Clipart.Config()).load, Clipart(Clipart.Config()).fingerprint):
        with pytest.raises(UserError, match=r"features\.safetensors is missing\. .*mlabench data prepare clipart"):
            read()


def test_notes_name_the_twin_and_what_was_left_out(data: Data) -> None:
    notes = " ".join(data.notes)
    for part in ("Food-101", "not independent", "in more than one class (320)", "blank picture (3)"):
        assert part in notes


def test_loading_does_not_import_torch() -> None:
    code = (
        "import sys; from mlabench.datasets.embedded.clipart.dataset import Clipart;"
        "dataset = Clipart(Clipart.Config());"
        "dataset.load(); dataset.fingerprint(); sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_shipped_folder_is_small_and_says_that_it_is_free() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 5.5e6
    assert "Public Domain" in (SHIPPED / "LICENSE.PUBLIC-DOMAIN").read_text()


def test_the_data_card_tells_the_truth(data: Data) -> None:
    card = (SHIPPED / "README.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in card.splitlines() if line.startswith("| ")]
    numbers = {row[0]: [cell.replace(",", "") for cell in row[1:4]] for row in rows}
    splits = parts(data).values()
    for label, name in enumerate(CLASSES):
        assert numbers[name] == [str((split.labels == label).sum()) for split in splits]
    assert numbers["samples"] == [str(len(split)) for split in splits]
    assert numbers["concepts"] == [str(len(set(split.groups))) for split in splits]

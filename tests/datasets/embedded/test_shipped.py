"""The shipped datasets: counts, splits, options, and what it costs to load them."""

import re
import subprocess
import sys
import time
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from pydantic import ValidationError

from mlabench import registry
from mlabench.datasets import Data, Dataset, Split
from mlabench.datasets.embedded.base import Embedded
from mlabench.datasets.embedded.clipart.dataset import Clipart
from mlabench.datasets.embedded.fitting import standardise
from mlabench.datasets.embedded.openmoji.dataset import Openmoji
from mlabench.datasets.embedded.rebuild import SHARES
from mlabench.datasets.embedded.stamps.dataset import Stamps
from mlabench.datasets.embedded.stamps.raw_files import LANGUAGES
from mlabench.datasets.embedded.storage import read_features, restore
from mlabench.errors import UserError

SPLITS = ("train", "validation", "test")


class Shipped(NamedTuple):
    """What is known of a dataset without loading it.

    Attributes:
        sizes: Samples by split.
        shapes: Shape of each modality.
        stratified: The largest difference of a class's share of a split from the split's.
        from_size: Of the classes with at least so many samples.
        closest: More than the cosine of any two pictures in different splits. The closest that remain are, of stamps,
            a polo shirt and a T-shirt, and E and F; of clip art, outlines of different countries; of emoji, two faces.
        bytes: More than the size of the folder.
        licence: A file in it, and what it says.
        notes: What reports say.
    """

    kind: type[Embedded]
    sizes: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    stratified: float
    from_size: int
    closest: float
    bytes: float
    licence: tuple[str, str]
    notes: tuple[str, ...]


SHIPPED = {
    "stamps": Shipped(
        Stamps,
        {"train": 4634, "validation": 675, "test": 1316},
        {"audio": (130,), "image": (128,), "text": (128,)},
        stratified=0.035,
        from_size=1,
        closest=0.95,
        bytes=6.5e6,
        licence=("LICENSE.GPL-2", "GNU GENERAL PUBLIC LICENSE"),
        notes=("IEMOCAP", "Audio is weak", "not independent", "no recording in this language (1257)"),
    ),
    "clipart": Shipped(
        Clipart,
        {"train": 1281, "validation": 188, "test": 369},
        {"image": (1280,), "text": (384,)},
        stratified=0.07,
        from_size=100,
        closest=0.9,
        bytes=5.5e6,
        licence=("LICENSE.PUBLIC-DOMAIN", "Public Domain"),
        notes=("Food-101", "not independent", "in more than one class (320)", "blank picture (3)"),
    ),
    "openmoji": Shipped(
        Openmoji,
        {"train": 1333, "validation": 199, "test": 382},
        {"image": (128,), "name": (128,), "tags": (128,)},
        stratified=0.05,
        from_size=1,
        closest=0.975,
        bytes=4.1e6,
        licence=("LICENSE.CC-BY-SA-4.0", "All emojis designed by OpenMoji"),
        notes=("both texts", "not independent", "variant by skin tone (2030)", "not in Unicode (405)"),
    ),
}


@pytest.fixture(params=SHIPPED, scope="module")
def shipped(request: pytest.FixtureRequest) -> Shipped:
    return SHIPPED[request.param]


@pytest.fixture(scope="module")
def data(shipped: Shipped) -> Data:
    return load(shipped.kind)


def make(kind: type[Embedded], **options: Any) -> Embedded:
    return kind(kind.Config(**options))


def load(kind: type[Embedded], **options: Any) -> Data:
    """As methods see it."""
    dataset = make(kind, **options)
    return dataset.fit(dataset.load())


def parts(data: Data) -> dict[str, Split]:
    return {name: getattr(data, name) for name in SPLITS}


def test_counts(shipped: Shipped, data: Data) -> None:
    assert {name: len(split) for name, split in parts(data).items()} == shipped.sizes
    assert data.task.classes == shipped.kind.classes


def test_every_language_has_enough_samples() -> None:
    languages = Counter(id_.rpartition(":")[2] for split in parts(load(Stamps)).values() for id_ in split.ids)
    assert set(languages) == set(LANGUAGES)
    assert min(languages.values()) >= 300


@pytest.mark.parametrize("kind", [Clipart, Openmoji])
def test_classes_stand_in_the_order_of_their_size(kind: type[Embedded]) -> None:
    sizes = np.sum([np.bincount(split.labels) for split in parts(load(kind)).values()], axis=0)
    assert list(sizes) == sorted(sizes, reverse=True)


def test_arrays_have_the_promised_shapes_and_types(shipped: Shipped, data: Data) -> None:
    assert data.task.modalities == tuple(shipped.shapes)
    assert data.task.shapes == shipped.shapes
    for split in parts(data).values():
        assert len(split.ids) == len(split.groups) == len(set(split.ids))
        assert (split.labels.shape, split.labels.dtype) == ((len(split),), np.int64)
        for modality, shape in data.task.shapes.items():
            assert (split.inputs[modality].shape, split.inputs[modality].dtype) == ((len(split), *shape), np.float32)
            assert np.isfinite(split.inputs[modality]).all()


def test_ids_and_labels_of_stamps_agree() -> None:
    for split in parts(load(Stamps)).values():
        assert [id_.partition("/")[0] for id_ in split.ids] == [Stamps.classes[label] for label in split.labels]


def test_no_concept_is_in_two_splits(data: Data) -> None:
    for first, second in combinations(parts(data).values(), 2):
        assert not set(first.groups) & set(second.groups)


def test_no_text_and_no_near_identical_picture_is_in_two_splits(shipped: Shipped) -> None:
    rows, tensors, _ = read_features(shipped.kind.folder)
    for column in ("image", next(name for name in ("english", "name", "text") if name in rows[0])):
        owner = {(row[column], row["split"]) for row in rows}
        assert len(owner) == len({row[column] for row in rows})
    owner_of = {int(row["image"]): row["split"] for row in rows}
    split = np.array([owner_of[number] for number in range(len(owner_of))])
    image = standardise(restore(tensors, "image"), np.array([owner_of[row] == "train" for row in range(len(split))]))
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    assert (image @ image.T)[split[:, None] != split].max() < shipped.closest


@pytest.mark.parametrize("kind", [Clipart, Openmoji])
def test_every_drawing_has_features_of_its_own(kind: type[Embedded]) -> None:
    rows, *_ = read_features(kind.folder)
    assert [int(row["image"]) for row in rows] == list(range(len(rows)))


def test_splits_are_stratified(shipped: Shipped, data: Data) -> None:
    sizes = np.stack([np.bincount(split.labels, minlength=len(data.task.classes)) for split in parts(data).values()])
    assert sizes.min() > 0
    large = sizes.sum(axis=0) >= shipped.from_size
    shares = sizes[:, large] / sizes[:, large].sum(axis=0)
    expected = np.tile([[share] for share in SHARES.values()], large.sum())
    np.testing.assert_allclose(shares, expected, atol=shipped.stratified)


def test_any_ordered_subset_of_modalities_can_be_chosen(shipped: Shipped, data: Data) -> None:
    first, *_, last = shipped.shapes
    swapped = load(shipped.kind, modalities=[last, first])
    assert swapped.task.modalities == (last, first)
    assert list(swapped.task.shapes) == list(swapped.test.inputs) == [last, first]
    np.testing.assert_array_equal(swapped.test.inputs[first], data.test.inputs[first])
    assert load(shipped.kind, modalities=[last]).task.modalities == (last,)


def test_the_media_need_no_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Clipart, "folder", Path("nowhere"))
    assert make(Clipart, modalities=("text", "image")).media == {"text": "features", "image": "features"}


def test_english_texts_repeat_over_languages() -> None:
    split = load(Stamps, text="english", modalities=["text"]).test
    assert split.inputs["text"].shape[1:] == (128,)
    stamps_of = [id_.rpartition(":")[0] for id_ in split.ids]
    rows = {stamp: row for row, stamp in enumerate(stamps_of)}
    np.testing.assert_array_equal(split.inputs["text"], split.inputs["text"][[rows[stamp] for stamp in stamps_of]])


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Stamps, {"modalities": []}, "at least 1 item"),
        (Stamps, {"modalities": ["audio", "audio"]}, "named once only, got audio, audio"),
        (Stamps, {"modalities": ["video"]}, "'audio', 'image' or 'text'"),
        (Stamps, {"text": "latin"}, "'same_language' or 'english'"),
        (Stamps, {"language": "fr"}, "Extra inputs are not permitted"),
        (Stamps, {"components": 0}, "greater than or equal to 1"),
        (Clipart, {"modalities": []}, "at least 1 item"),
        (Clipart, {"modalities": ["text", "text"]}, "named once only, got text, text"),
        (Clipart, {"modalities": ["audio"]}, "'image' or 'text'"),
        (Clipart, {"text": "english"}, "Extra inputs are not permitted"),
        (Openmoji, {"modalities": ["text"]}, "'image', 'name' or 'tags'"),
    ],
)
def test_wrong_options_are_refused(kind: type[Embedded], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        kind.Config(**options)


def test_the_registry_knows_the_options_and_the_twin() -> None:
    entry = registry.get("datasets", "stamps")
    assert entry.config().model_dump() == {
        "modalities": ("audio", "image", "text"),
        "text": "same_language",
        "components": 128,
    }
    assert Stamps.twin_of == "IEMOCAP"


def test_the_fingerprint_depends_on_the_options_that_matter(shipped: Shipped) -> None:
    def fingerprint(**options: Any) -> str:
        return make(shipped.kind, **options).fingerprint()

    first, *_, last = shipped.shapes
    assert fingerprint() == fingerprint()
    assert len({fingerprint(), fingerprint(modalities=(last, first)), fingerprint(modalities=(last,))}) == 3


def test_the_language_of_the_text_matters_only_where_there_is_text() -> None:
    def fingerprint(**options: Any) -> str:
        return make(Stamps, **options).fingerprint()

    assert fingerprint() != fingerprint(text="english")
    without_text = {"modalities": ("audio", "image")}
    assert fingerprint(**without_text) == fingerprint(**without_text, text="english") != fingerprint()


def test_missing_files_come_with_a_remedy(shipped: Shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped.kind, "folder", tmp_path)
    dataset = make(shipped.kind)
    for read in (dataset.load, dataset.fingerprint):
        message = rf"features\.safetensors is missing\. .*mlabench data prepare {dataset.name}"
        with pytest.raises(UserError, match=message):
            read()


def test_a_dataset_without_raw_files_says_so() -> None:
    class Bare(Dataset):
        def fingerprint(self) -> str:
            return "f"

        def load(self) -> Data:
            raise NotImplementedError

    bare = Bare(Bare.Config())
    for call in (bare.check, bare.prepare):
        with pytest.raises(UserError, match="Bare is not made from raw files"):
            call()


def test_notes_name_the_twin_and_what_was_left_out(shipped: Shipped, data: Data) -> None:
    notes = " ".join(data.notes)
    for part in shipped.notes:
        assert part in notes
    assert "Audio is weak" not in " ".join(load(shipped.kind, modalities=["image"]).notes)


def test_loading_is_quick_and_imports_neither_torch_nor_a_decoder() -> None:
    code = (
        "import sys; from mlabench.datasets.embedded.stamps.dataset import Stamps;"
        "from mlabench.datasets.embedded.clipart.dataset import Clipart;"
        "from mlabench.datasets.embedded.openmoji.dataset import Openmoji\n"
        "for kind in (Stamps, Clipart, Openmoji): d = kind(kind.Config()); d.fit(d.load()); d.fingerprint()\n"
        "sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    before = time.process_time()
    load(Stamps)
    assert time.process_time() - before < 3  # about 0.6 s on an idle machine


def test_the_shipped_folder_is_small_and_carries_its_licence(shipped: Shipped) -> None:
    assert sum(path.stat().st_size for path in shipped.kind.folder.iterdir()) < shipped.bytes
    file, text = shipped.licence
    assert text in (shipped.kind.folder / file).read_text()


def test_the_data_card_tells_the_truth(shipped: Shipped, data: Data) -> None:
    card = (shipped.kind.folder / "README.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in card.splitlines() if line.startswith("| ")]
    numbers = {row[0]: [cell.replace(",", "") for cell in row[1:4]] for row in rows}
    splits = parts(data).values()
    for label, name in enumerate(data.task.classes):
        assert numbers[name] == [str((split.labels == label).sum()) for split in splits]
    for language in LANGUAGES if shipped.kind is Stamps else ():
        assert numbers[language] == [str(sum(id_.endswith(f":{language}") for id_ in split.ids)) for split in splits]
    assert numbers["samples"] == [str(len(split)) for split in splits]
    assert numbers["concepts"] == [str(len(set(split.groups))) for split in splits]

"""The shipped dataset: counts, splits, options, and what it costs to load."""

import re
import subprocess
import sys
import time
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from mlabench import registry
from mlabench.datasets import Data, Dataset, Split
from mlabench.datasets.embedded.rebuild import SHARES
from mlabench.datasets.embedded.stamps.dataset import Stamps
from mlabench.datasets.embedded.stamps.raw_files import CLASSES, LANGUAGES
from mlabench.datasets.embedded.storage import read_features
from mlabench.errors import UserError

SHIPPED = Stamps.folder
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def data() -> Data:
    return load()


def load(**options: Any) -> Data:
    return Stamps(Stamps.Config(**options)).load()


def parts(data: Data) -> dict[str, Split]:
    return {name: getattr(data, name) for name in SPLITS}


def test_counts(data: Data) -> None:
    assert {name: len(split) for name, split in parts(data).items()} == {"train": 4634, "validation": 675, "test": 1316}
    assert data.task.classes == CLASSES
    languages = Counter(id_.rpartition(":")[2] for split in parts(data).values() for id_ in split.ids)
    assert set(languages) == set(LANGUAGES)
    assert min(languages.values()) >= 300


def test_arrays_have_the_promised_shapes_and_types(data: Data) -> None:
    assert data.task.modalities == ("audio", "image", "text")
    assert data.task.shapes == {"audio": (130,), "image": (1280,), "text": (1024,)}
    for split in parts(data).values():
        assert len(split.ids) == len(split.groups) == len(set(split.ids))
        assert (split.labels.shape, split.labels.dtype) == ((len(split),), np.int64)
        for modality, shape in data.task.shapes.items():
            assert (split.inputs[modality].shape, split.inputs[modality].dtype) == ((len(split), *shape), np.float32)
            assert np.isfinite(split.inputs[modality]).all()


def test_ids_and_labels_agree(data: Data) -> None:
    for split in parts(data).values():
        assert [id_.partition("/")[0] for id_ in split.ids] == [CLASSES[label] for label in split.labels]


def test_features_are_standardised_by_the_training_split(data: Data) -> None:
    english = load(modalities=("text",), text="english")
    for array in (*data.train.inputs.values(), english.train.inputs["text"]):
        np.testing.assert_allclose(array.mean(axis=0), 0, atol=2e-3)
        varies = array.std(axis=0) > 0
        np.testing.assert_allclose(array.std(axis=0)[varies], 1, atol=2e-3)
        assert varies.mean() > 0.99


def test_no_concept_is_in_two_splits(data: Data) -> None:
    for first, second in combinations(parts(data).values(), 2):
        assert not set(first.groups) & set(second.groups)


def test_no_picture_and_no_english_text_is_in_two_splits() -> None:
    rows, tensors, _ = read_features(SHIPPED)
    for column in ("image", "english"):
        owner = {(row[column], row["split"]) for row in rows}
        assert len(owner) == len({row[column] for row in rows})
    # Nor are near-identical pictures: the closest that remain are a polo shirt and a T-shirt, and E and F.
    owner_of = {int(row["image"]): row["split"] for row in rows}
    split = np.array([owner_of[number] for number in range(len(owner_of))])
    image = tensors["image"].astype(np.float32)
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    assert (image @ image.T)[split[:, None] != split].max() < 0.95


def test_splits_are_stratified(data: Data) -> None:
    sizes = np.stack([np.bincount(split.labels, minlength=10) for split in parts(data).values()])
    shares = sizes / sizes.sum(axis=0)
    np.testing.assert_allclose(shares, np.tile([[share] for share in SHARES.values()], 10), atol=0.035)


def test_any_ordered_subset_of_modalities_can_be_chosen(data: Data) -> None:
    pair = load(modalities=["text", "audio"])
    assert pair.task.modalities == ("text", "audio")
    assert list(pair.task.shapes) == list(pair.test.inputs) == ["text", "audio"]
    np.testing.assert_array_equal(pair.test.inputs["audio"], data.test.inputs["audio"])


def test_english_texts_repeat_over_languages() -> None:
    split = load(text="english", modalities=["text"]).test
    assert split.inputs["text"].shape[1:] == (384,)
    stamps_of = [id_.rpartition(":")[0] for id_ in split.ids]
    rows = {stamp: row for row, stamp in enumerate(stamps_of)}
    np.testing.assert_array_equal(split.inputs["text"], split.inputs["text"][[rows[stamp] for stamp in stamps_of]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modalities": []}, "at least 1 item"),
        ({"modalities": ["audio", "audio"]}, "named once only, got audio, audio"),
        ({"modalities": ["video"]}, "'audio', 'image' or 'text'"),
        ({"text": "latin"}, "'same_language' or 'english'"),
        ({"language": "fr"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        Stamps.Config(**options)


def test_what_the_registry_says_of_it() -> None:
    entry = registry.get("datasets", "stamps")
    assert entry.config().model_dump() == {"modalities": ("audio", "image", "text"), "text": "same_language"}
    assert entry.about.defaults == {"modalities": ["audio", "image", "text"], "text": "same_language"}
    assert entry.about.twin_of == "IEMOCAP"


def test_the_fingerprint_depends_on_the_options_that_matter() -> None:
    def fingerprint(**options: Any) -> str:
        return Stamps(Stamps.Config(**options)).fingerprint()

    assert fingerprint() == fingerprint()
    assert fingerprint() != fingerprint(text="english")
    assert fingerprint() != fingerprint(modalities=("audio", "image"))
    without_text = {"modalities": ("audio", "image")}
    assert fingerprint(**without_text) == fingerprint(**without_text, text="english")


def test_missing_files_come_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stamps, "folder", tmp_path)
    for read in (Stamps(Stamps.Config()).load, Stamps(Stamps.Config()).fingerprint):
        with pytest.raises(UserError, match=r"features\.safetensors is missing\. .*mlabench data prepare stamps"):
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


def test_notes_name_the_twin_and_what_was_left_out(data: Data) -> None:
    notes = " ".join(data.notes)
    for part in ("IEMOCAP", "Audio is weak", "not independent", "no recording in this language (1257)"):
        assert part in notes
    assert "Audio is weak" not in " ".join(load(modalities=["image"]).notes)


def test_loading_is_quick_and_does_not_import_torch() -> None:
    code = (
        "import sys; from mlabench.datasets.embedded.stamps.dataset import Stamps; dataset = Stamps(Stamps.Config());"
        "dataset.load(); dataset.fingerprint(); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    before = time.process_time()
    load()
    assert time.process_time() - before < 2  # about 0.1 s on an idle machine


def test_the_shipped_folder_is_small_and_carries_its_licence() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 6.5e6
    assert "GNU GENERAL PUBLIC LICENSE" in (SHIPPED / "LICENSE.GPL-2").read_text()


def test_the_data_card_tells_the_truth(data: Data) -> None:
    card = (SHIPPED / "README.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in card.splitlines() if line.startswith("| ")]
    numbers = {row[0]: [cell.replace(",", "") for cell in row[1:4]] for row in rows}
    splits = parts(data).values()
    for label, name in enumerate(CLASSES):
        assert numbers[name] == [str((split.labels == label).sum()) for split in splits]
    for language in LANGUAGES:
        assert numbers[language] == [str(sum(id_.endswith(f":{language}") for id_ in split.ids)) for split in splits]
    assert numbers["samples"] == [str(len(split)) for split in splits]
    assert numbers["concepts"] == [str(len(set(split.groups))) for split in splits]

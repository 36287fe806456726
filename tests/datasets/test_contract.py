"""What holds for every registered dataset."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlabench import registry
from mlabench.datasets import Data, Dataset
from mlabench.datasets.published.base import RawDataset
from mlabench.errors import UserError
from mlabench.media import Audio, Image, Text, Video
from tests.datasets.trees import TREES

EMBEDDED = ("clipart", "openmoji", "stamps", "synthetic")
MEDIA = {"image": (Image, Video), "video": (Video,), "audio": (Audio,), "text": (Text,)}
SPLITS = ("train", "validation", "test")


def test_every_dataset_is_here() -> None:
    assert {*TREES, *EMBEDDED} == set(registry.entries("datasets"))


def options(name: str, root: Path) -> dict[str, Any]:
    if name == "manifest":
        modalities = {"photo": "image", "clip": "video", "speech": "audio", "caption": "text"}
        return {"file": root / "table.csv", "modalities": modalities}
    return {"root": root}


def make(name: str, root: Path | None) -> Dataset:
    kind = registry.get("datasets", name).load()
    dataset: Dataset = kind(kind.Config(**(options(name, root) if root else {})))
    return dataset


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tree of each raw dataset, in a folder with spaces; no test changes them."""
    folder = tmp_path_factory.mktemp("raw files of ours")
    return {name: make_tree(folder / name) for name, make_tree in TREES.items()}


@pytest.fixture(params=[*TREES, *EMBEDDED])
def dataset(request: pytest.FixtureRequest, trees: dict[str, Path]) -> Dataset:
    return make(request.param, trees.get(request.param))


def test_splits_are_whole_and_disjoint(dataset: Dataset) -> None:
    data = dataset.load()
    ids = [sample for split in SPLITS for sample in getattr(data, split).ids]
    assert len(ids) == len(set(ids))
    for name in SPLITS:
        split = getattr(data, name)
        assert len(split) == len(split.labels) == len(split.groups) > 0
        assert split.labels.dtype == np.int64
        assert ((split.labels >= 0) & (split.labels < len(data.task.classes))).all()
        assert tuple(split.inputs) == data.task.modalities == tuple(dataset.media)
        assert all(len(values) == len(split) for values in split.inputs.values())
    assert len(set(data.task.classes)) == len(data.task.classes) > 1


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_class_can_be_learned_and_tested(name: str) -> None:
    data = make(name, None).load()
    for split in SPLITS:
        assert set(getattr(data, split).labels) == set(range(len(data.task.classes)))


def test_inputs_are_what_the_dataset_says(dataset: Dataset) -> None:
    data = dataset.fit(dataset.load())
    for modality, medium in dataset.media.items():
        for name in SPLITS:
            values = getattr(data, name).inputs[modality]
            if medium == "features":
                assert values.dtype == np.float32
                assert np.isfinite(values).all()
                assert values.shape[1:] == data.task.shapes[modality]
            else:
                assert all(isinstance(item, MEDIA[medium]) for item in values)
                assert modality not in data.task.shapes


def test_a_second_reading_is_the_same(dataset: Dataset) -> None:
    again = type(dataset)(dataset.config)
    assert again.fingerprint() == dataset.fingerprint()
    first, second = dataset.load(), again.load()
    assert content(first) == content(second)


def content(data: Data) -> list[Any]:
    return [(part.ids, part.labels.tolist(), part.groups) for part in (data.train, data.validation, data.test)]


def test_it_introduces_itself(dataset: Dataset) -> None:
    kind = type(dataset)
    assert registry.get("datasets", dataset.name).load() is kind
    assert kind.source.endswith(".")
    assert (kind.__doc__ or "").splitlines()[0].endswith(".")
    assert all(field.description for field in kind.Config.model_fields.values())
    for field, value in kind.defaults.items():
        assert field in ("encoders", "training")
        assert value


# -- raw files ------------------------------------------------------------------------------------


def test_listing_needs_no_decoder(trees: dict[str, Path]) -> None:
    code = (
        "import sys, pathlib; from tests.datasets.test_contract import make\n"
        "heavy = {'torch', 'PIL', 'av', 'soundfile', 'cv2', 'torchaudio', 'transformers', 'pandas'}\n"
        "for module in [name for name in sys.modules if name.split('.')[0] in heavy]: del sys.modules[module]\n"
        f"for name, root in {[(name, str(root)) for name, root in trees.items()]!r}:\n"
        "    dataset = make(name, pathlib.Path(root)); dataset.fingerprint(); dataset.load()\n"
        "    assert not heavy & set(sys.modules), (name, sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", TREES)
def test_where_the_files_lie_does_not_matter(name: str, trees: dict[str, Path], tmp_path: Path) -> None:
    here = make(name, trees[name])
    moved = Path(shutil.copytree(trees[name], tmp_path / "elsewhere (1)" / trees[name].name))
    (tmp_path / "link").symlink_to(moved, target_is_directory=True)
    folders = [moved, *(path for path in moved.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        for root in (moved, tmp_path / "link"):
            there = make(name, root)
            assert there.fingerprint() == here.fingerprint()
            assert content(there.load()) == content(here.load())
    finally:
        for folder in folders:
            folder.chmod(0o755)


@pytest.mark.parametrize("name", TREES)
def test_files_may_be_links(name: str, trees: dict[str, Path], tmp_path: Path) -> None:
    root = tmp_path / trees[name].name
    for path in sorted(trees[name].rglob("*")):
        place = root / path.relative_to(trees[name])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir() if path.is_dir() else place.symlink_to(path)
    assert make(name, root).fingerprint() == make(name, trees[name]).fingerprint()
    shutil.rmtree(root)
    root.mkdir()
    for path in trees[name].iterdir():
        (root / path.name).symlink_to(path)
    assert content(make(name, root).load()) == content(make(name, trees[name]).load())


@pytest.mark.parametrize("name", TREES)
def test_what_the_files_are_does_matter(name: str, trees: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(trees[name], tmp_path / "changed"))
    dataset = make(name, root)
    before = dataset.fingerprint()
    modality = next(key for key, medium in dataset.media.items() if medium in ("image", "audio"))
    item = dataset.load().train.inputs[modality][0]
    assert isinstance(item, Image | Audio | Video)
    with item.path.open("ab") as file:
        file.write(b"\0")
    assert make(name, root).fingerprint() != before


@pytest.mark.parametrize("name", TREES)
def test_a_wrong_folder_says_what_to_get(name: str, tmp_path: Path) -> None:
    for method in ("fingerprint", "load"):
        with pytest.raises(UserError) as caught:
            getattr(make(name, tmp_path), method)()
        assert caught.value.remedy


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is forbidden here")
@pytest.mark.parametrize("name", TREES)
def test_a_folder_that_may_not_be_read(name: str, trees: dict[str, Path], tmp_path: Path) -> None:
    root = Path(shutil.copytree(trees[name], tmp_path / "forbidden"))
    root.chmod(0)
    try:
        with pytest.raises(UserError):
            make(name, root).fingerprint()
    finally:
        root.chmod(0o755)


@pytest.mark.parametrize("name", TREES)
def test_check_agrees_with_what_is_loaded(name: str, trees: dict[str, Path]) -> None:
    dataset = make(name, trees[name])
    assert isinstance(dataset, RawDataset)
    data, found = dataset.load(), dataset.check()
    assert found.samples == {split: len(getattr(data, split)) for split in SPLITS}
    assert found.skipped == data.skipped

"""Making features from raw files, on a small folder and with the real encoders."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mlabench.datasets import Inventory
from mlabench.datasets.embedded import networks as frozen_features
from mlabench.datasets.embedded.networks import count_ngrams, encode_speech
from mlabench.datasets.embedded.rebuild import _staged
from mlabench.datasets.embedded.stamps.dataset import Stamps
from mlabench.datasets.embedded.storage import read_features, restore
from mlabench.errors import UserError
from tests.datasets.embedded.stamps_tree import make_tree


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    folder = make_tree(root)
    (folder / "animals/butterfly.png").write_bytes(b"damaged")
    (folder / "town/flags/redflag_desc_fr.ogg").write_bytes(b"damaged")
    return root


@pytest.fixture(scope="module")
def calls() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def prepared(raw: Path, calls: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    out = tmp_path_factory.mktemp("out") / "features"
    return Stamps(Stamps.Config()).prepare(raw, out, progress=lambda *call: calls.append(call))


def test_samples_that_cannot_be_decoded_are_counted(prepared: Inventory) -> None:
    rows, _, _ = read_features(prepared.folder)
    assert [row["id"] for row in rows] == [
        "animals/marsupials/kangaroo:fr",
        "animals/marsupials/kangaroo:ru",
        "household/box:fr",
        "seasonal/butterfly:fr",
        "town/flags/blueflag:fr",
    ]
    assert prepared.skipped["stamp with an unreadable picture"] == 1
    assert prepared.skipped["unreadable recording"] == 1
    assert sum(prepared.samples.values()) == 5


def test_a_check_counts_without_decoding(raw: Path) -> None:
    found = Stamps(Stamps.Config()).check(raw)
    assert found.folder == raw / "usr/share/tuxpaint/stamps"
    assert set(found.samples) == {"train", "validation", "test"}
    assert sum(found.samples.values()) == 7
    assert found.skipped["empty recording"] == 1


def test_progress_reaches_the_end_of_every_stage(prepared: Inventory, calls: list[tuple[str, int, int]]) -> None:
    assert {stage: done for stage, done, total in calls if done == total} == {
        "pictures": 6,
        "recordings": 6,
        "texts": 9,
    }


def test_the_folder_has_all_that_the_shipped_one_has(prepared: Inventory) -> None:
    assert {path.name for path in prepared.folder.iterdir()} == {path.name for path in Stamps.folder.iterdir()}


def test_the_same_picture_has_the_same_features_in_every_language(prepared: Inventory) -> None:
    rows, tensors, _ = read_features(prepared.folder)
    assert [row["image"] for row in rows[:2]] == ["0", "0"]
    assert tensors["image"].shape == (4 + 1, 1280)  # the red flag's picture is there, its recording is not
    assert tensors["audio"].shape == (5, 130)
    assert tensors["english"].shape == (4, 384)


def test_sparse_texts_come_back_whole(prepared: Inventory) -> None:
    _, tensors, _ = read_features(prepared.folder)
    features = restore(tensors, "text") * tensors["text.std"] + tensors["text.mean"]
    assert ((features > 1e-6).sum(axis=1) == np.diff(tensors["text.start"])).all()
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-3)


def test_a_failure_leaves_the_old_features_whole(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "features"
    out.mkdir()
    (out / "samples.csv").write_text("old")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(frozen_features, "encode_speech", fail)
    with pytest.raises(KeyboardInterrupt):
        Stamps(Stamps.Config()).prepare(raw, out)
    assert [path.name for path in tmp_path.rglob("*")] == ["features", "samples.csv"]
    assert (out / "samples.csv").read_text() == "old"


def test_a_folder_that_cannot_be_made_is_reported_first(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write features .*Choose another place"):
        Stamps(Stamps.Config()).prepare(raw, tmp_path / "file" / "features")


def test_features_that_cannot_be_replaced_are_reported(tmp_path: Path) -> None:
    (tmp_path / "out" / "features.safetensors" / "inside").mkdir(parents=True)
    with (
        pytest.raises(UserError, match=r"cannot write features .*Choose another place"),
        _staged(tmp_path / "out") as new,
    ):
        (new / "features.safetensors").write_text("")


@pytest.mark.parametrize("package", ["resvg_py", "soundfile", "efficientnet_lite_pytorch", "transformers"])
def test_a_missing_extra_says_what_to_install(
    package: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package '{package}'.*pip install -e '\.\[prepare\]'"):
        Stamps(Stamps.Config()).prepare(raw, tmp_path / "out")


def test_speech_features_ignore_loudness_and_silence_around() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=16_000) * np.hanning(16_000)
    faint = 0.001 * rng.normal(size=48_000)
    early, late = (faint.copy() for _ in range(2))
    early[8_000:24_000] += noise
    late[24_000:40_000] += noise
    first, second = encode_speech([wave.astype(np.float32) for wave in (early, 0.25 * late)])
    assert np.corrcoef(first, second)[0, 1] > 0.99


def test_very_short_speech_has_features() -> None:
    short = np.sin(np.arange(100), dtype=np.float32)
    assert np.isfinite(encode_speech([short])).all()


def test_ngrams_ignore_case_and_spaces() -> None:
    first, second, third = count_ngrams(["Un  Chat.", " un chat. ", "chat un."])
    np.testing.assert_array_equal(first, second)
    assert first.sum() == sum(len(" un chat. ") - size + 1 for size in (2, 3, 4))
    assert (first != third).any()


def test_a_folder_without_any_readable_picture_is_reported(tmp_path: Path) -> None:
    folder = make_tree(tmp_path / "raw")
    for picture in (*folder.rglob("*.png"), *folder.rglob("*.svg")):
        picture.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"no sample of the training split is left"):
        Stamps(Stamps.Config()).prepare(tmp_path / "raw", tmp_path / "out")

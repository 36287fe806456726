"""Making features from raw files, on small folders and with the real encoders."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from mlabench.datasets import Inventory
from mlabench.datasets.embedded import networks
from mlabench.datasets.embedded.base import Embedded
from mlabench.datasets.embedded.clipart.dataset import Clipart
from mlabench.datasets.embedded.clipart.raw_files import list_drawings, read_picture
from mlabench.datasets.embedded.networks import count_ngrams, encode_pictures, encode_sentences, encode_speech
from mlabench.datasets.embedded.openmoji.dataset import Openmoji
from mlabench.datasets.embedded.rebuild import _staged
from mlabench.datasets.embedded.stamps.dataset import Stamps
from mlabench.datasets.embedded.stamps.raw_files import list_samples
from mlabench.datasets.embedded.storage import Rows, Tensors, read_features, restore
from mlabench.errors import UserError
from tests.datasets.embedded import clipart_tree, openmoji_tree, stamps_tree

#: Runs the real encoders.
slow = pytest.mark.slow


class Raw(NamedTuple):
    """A dataset, its small folder, and files of it to damage."""

    kind: type[Embedded]
    make_tree: Callable[[Path], Path]
    folder: str
    damaged: tuple[str, ...]
    #: Samples in all, items of each stage, and one of the reasons to skip.
    listed: int
    stages: dict[str, int]
    skipped: tuple[str, int]


RAW = {
    "stamps": Raw(
        Stamps,
        stamps_tree.make_tree,
        "usr/share/tuxpaint/stamps",
        ("animals/butterfly.png", "town/flags/redflag_desc_fr.ogg"),
        7,
        {"pictures": 6, "recordings": 6, "texts": 9},
        ("empty recording", 1),
    ),
    "clipart": Raw(
        Clipart,
        clipart_tree.make_tree,
        "usr/share/openclipart",
        ("png/animals/birds/hen_01.png",),
        20,
        {"pictures": 20, "titles": 19},
        ("not stated to be in the Public Domain", 2),
    ),
    "openmoji": Raw(
        Openmoji,
        openmoji_tree.make_tree,
        "package",
        ("color/svg/1F408.svg",),
        29,
        {"pictures": 29, "texts": 28 + 27},
        ("variant by skin tone", 1),
    ),
}


class Prepared(NamedTuple):
    """What came out."""

    raw: Raw
    root: Path
    found: Inventory
    calls: list[tuple[Any, ...]]
    rows: Rows
    tensors: Tensors


def make(name: str) -> Embedded:
    kind = RAW[name].kind
    return kind(kind.Config())


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The raw files, some of them damaged; not to be changed."""
    result = {}
    for name, raw in RAW.items():
        result[name] = tmp_path_factory.mktemp(name)
        folder = raw.make_tree(result[name])
        for file in raw.damaged:
            (folder / file).write_bytes((folder / file).read_bytes()[:40])
    return result


@pytest.fixture(scope="module")
def everything(roots: dict[str, Path]) -> dict[str, Prepared]:
    result = {}
    for name, raw in RAW.items():
        root, calls = roots[name], list[tuple[Any, ...]]()
        found = make(name).prepare(root, root / "out" / "features", lambda *call, calls=calls: calls.append(call))
        rows, tensors, _ = read_features(found.folder)
        result[name] = Prepared(raw, root, found, calls, rows, tensors)
    return result


@pytest.fixture
def stamps(everything: dict[str, Prepared]) -> Prepared:
    return everything["stamps"]


@pytest.fixture
def clipart(everything: dict[str, Prepared]) -> Prepared:
    return everything["clipart"]


@slow
def test_samples_that_cannot_be_decoded_are_counted(stamps: Prepared, clipart: Prepared) -> None:
    assert [row["id"] for row in stamps.rows] == [
        "animals/marsupials/kangaroo:fr",
        "animals/marsupials/kangaroo:ru",
        "household/box:fr",
        "seasonal/butterfly:fr",
        "town/flags/blueflag:fr",
    ]
    assert stamps.found.skipped["stamp with an unreadable picture"] == 1
    assert stamps.found.skipped["unreadable recording"] == 1
    listed = [drawing.id for drawing in list_drawings(clipart.root / clipart.raw.folder).samples]
    assert [row["id"] for row in clipart.rows] == [name for name in listed if name != "animals/birds/hen_01"]
    assert clipart.found.skipped["unreadable picture"] == 1
    assert len(clipart.rows) == len(clipart.tensors["image"])
    for prepared in (stamps, clipart):
        assert sum(prepared.found.samples.values()) == len(prepared.rows)


@pytest.mark.parametrize("name", RAW)
def test_a_check_counts_without_decoding(name: str, roots: dict[str, Path]) -> None:
    raw = RAW[name]
    found = make(name).check(roots[name])
    assert found.folder == roots[name] / raw.folder
    assert set(found.samples) == {"train", "validation", "test"}
    assert all(found.samples.values()) or name == "stamps"  # which are too few
    assert sum(found.samples.values()) == raw.listed
    reason, count = raw.skipped
    assert found.skipped[reason] == count


@slow
@pytest.mark.parametrize("name", RAW)
def test_what_a_check_counts_is_prepared_but_for_what_is_damaged(name: str, everything: dict[str, Prepared]) -> None:
    raw, _, prepared, *_ = everything[name]
    assert sum(prepared.samples.values()) == raw.listed - len(raw.damaged)


@pytest.mark.parametrize("name", RAW)
def test_the_folder_is_found_however_it_is_given(name: str, roots: dict[str, Path]) -> None:
    folder = roots[name] / RAW[name].folder
    for root in (roots[name], folder.parent, folder):
        assert make(name).check(root).folder == folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stamps", r"no stamps folder in .*apt-get download tuxpaint-stamps-default"),
        ("clipart", r"no folder with png and svg in .*download openclipart-png openclipart-svg"),
        ("openmoji", r"no folder with data/openmoji\.csv and color/svg in .*data get openmoji"),
    ],
)
def test_a_missing_folder_comes_with_a_remedy(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "svg").mkdir()  # one of two packages
    with pytest.raises(UserError, match=message):
        make(name).check(tmp_path)


@slow
@pytest.mark.parametrize("name", RAW)
def test_progress_reaches_the_end_of_every_stage(name: str, everything: dict[str, Prepared]) -> None:
    stages = {stage: done for stage, done, total in everything[name].calls if done == total}
    assert stages == everything[name].raw.stages


@slow
@pytest.mark.parametrize("name", RAW)
def test_the_folder_has_all_that_the_shipped_one_has(name: str, everything: dict[str, Prepared]) -> None:
    made = {path.name for path in everything[name].found.folder.iterdir()}
    assert made == {path.name for path in RAW[name].kind.folder.iterdir()}


@slow
def test_the_same_picture_has_the_same_features_in_every_language(stamps: Prepared) -> None:
    assert [row["image"] for row in stamps.rows[:2]] == ["0", "0"]
    assert stamps.tensors["image"].shape == (4 + 1, 1280)  # the red flag's picture is there, its recording is not
    assert stamps.tensors["audio"].shape == (5, 130)
    assert stamps.tensors["english"].shape == (4, 384)


@slow
def test_features_are_those_of_the_encoders(stamps: Prepared, clipart: Prepared) -> None:
    spoken = {sample.id: sample for sample in list_samples(stamps.root / stamps.raw.folder).samples}
    texts = dict.fromkeys(spoken[row["id"]].text for row in stamps.rows)
    np.testing.assert_array_equal(restore(stamps.tensors, "text"), count_ngrams(list(texts)))

    drawings = {drawing.id: drawing for drawing in list_drawings(clipart.root / clipart.raw.folder).samples}
    own = [drawings[row["id"]] for row in clipart.rows]
    rows = [int(row["text"]) for row in clipart.rows]
    made = {
        "text": (encode_sentences([drawing.title for drawing in own]), restore(clipart.tensors, "text")[rows]),
        "image": (encode_pictures(read_picture(drawing.path) for drawing in own), restore(clipart.tensors, "image")),
    }
    for name, (features, stored) in made.items():
        assert (np.abs(features - stored) <= 0.5 * clipart.tensors[f"{name}.step"] + 1e-4).all()


def test_a_failure_leaves_the_old_features_whole(
    roots: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "features"
    out.mkdir()
    (out / "samples.csv").write_text("old")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(networks, "encode_speech", fail)
    with pytest.raises(KeyboardInterrupt):
        make("stamps").prepare(roots["stamps"], out)
    assert [path.name for path in tmp_path.rglob("*")] == ["features", "samples.csv"]
    assert (out / "samples.csv").read_text() == "old"


def test_a_folder_that_cannot_be_made_is_reported_first(roots: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write features .*Choose another place"):
        make("stamps").prepare(roots["stamps"], tmp_path / "file" / "features")


def test_features_that_cannot_be_replaced_are_reported(tmp_path: Path) -> None:
    (tmp_path / "out" / "features.safetensors" / "inside").mkdir(parents=True)
    with (
        pytest.raises(UserError, match=r"cannot write features .*Choose another place"),
        _staged(tmp_path / "out") as new,
    ):
        (new / "features.safetensors").write_text("")


@pytest.mark.parametrize(
    "package",
    ["resvg_py", "soundfile", "efficientnet_lite_pytorch", pytest.param("transformers", marks=slow)],
)
def test_a_missing_extra_says_what_to_install(
    package: str, roots: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"needs the package '{package}'.*pip install 'mlabench\[prepare\]'"):
        make("stamps").prepare(roots["stamps"], tmp_path / "out")


@slow
@pytest.mark.parametrize("name", RAW)
def test_a_folder_without_any_readable_picture_is_reported(name: str, tmp_path: Path) -> None:
    folder = RAW[name].make_tree(tmp_path / "raw")
    if name == "clipart":
        (folder / "svg/food/fruit/banana_01.svg").unlink()  # the only one without a PNG
    for picture in (*folder.rglob("*.png"), *(folder.rglob("*.svg") if name != "clipart" else ())):
        picture.write_bytes(picture.read_bytes()[:40] if name == "clipart" else b"damaged")
    with pytest.raises(UserError, match=r"no sample of the training split is left\. Get the raw files again"):
        make(name).prepare(tmp_path / "raw", tmp_path / "out")


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

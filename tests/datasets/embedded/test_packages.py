"""Holds the shipped features and the raw files of the published packages together."""

import numpy as np
import pytest

from mlabench.datasets.embedded import networks
from mlabench.datasets.embedded.clipart import raw_files as clipart
from mlabench.datasets.embedded.clipart.dataset import Clipart
from mlabench.datasets.embedded.clipart.raw_files import Drawing
from mlabench.datasets.embedded.openmoji import raw_files as openmoji
from mlabench.datasets.embedded.openmoji.dataset import Openmoji
from mlabench.datasets.embedded.openmoji.raw_files import Emoji
from mlabench.datasets.embedded.rebuild import split_samples
from mlabench.datasets.embedded.stamps import raw_files as stamps
from mlabench.datasets.embedded.stamps.dataset import Stamps
from mlabench.datasets.embedded.stamps.raw_dataset import RawStamps
from mlabench.datasets.embedded.stamps.raw_files import SpokenStamp
from mlabench.datasets.embedded.storage import Features, read_features, restore
from mlabench.datasets.listing import Listing
from mlabench.processes import one_thread
from tests.datasets.embedded.debian import unpacked
from tests.datasets.embedded.npm import unpacked_from_npm

pytestmark = pytest.mark.slow

STAMPS_VERSION, CLIPART_VERSION = "2022.06.04-1", "1:0.18+dfsg-19"
#: Listed, but nothing is drawn on them.
BLANK = {
    "electronics/bulb/light_bulb_karl_bartel_01",
    "recreation/sports/badminton_racket_brice_b_01",
    "recreation/sports/football_pitch__andy_bur_01",
}


@pytest.fixture(scope="module")
def spoken(request: pytest.FixtureRequest) -> Listing[SpokenStamp]:
    return stamps.list_samples(stamps.find_stamps(unpacked(request.config.cache, STAMPS_VERSION, *stamps.PACKAGES)))


@pytest.fixture(scope="module")
def drawn(request: pytest.FixtureRequest) -> list[Drawing]:
    folder = clipart.find_clipart(unpacked(request.config.cache, CLIPART_VERSION, *clipart.PACKAGES))
    return [drawing for drawing in clipart.list_drawings(folder).samples if drawing.id not in BLANK]


@pytest.fixture(scope="module")
def some_spoken(spoken: Listing[SpokenStamp]) -> list[SpokenStamp]:
    """Four samples of every class, of different stamps and languages."""
    result = []
    for label in stamps.CLASSES:
        own = [sample for sample in spoken.samples if sample.label == label]
        result += [own[round(share * (len(own) - 1))] for share in (0.05, 0.35, 0.65, 0.95)]
    assert {sample.stamp.picture.suffix for sample in result} == {".png", ".svg"}
    assert len({sample.language for sample in result}) >= 7
    return result


@pytest.fixture(scope="module")
def some_drawn(drawn: list[Drawing]) -> list[Drawing]:
    """Three pictures of every class, and one that is drawn from its SVG."""
    result = [next(drawing for drawing in drawn if drawing.path.suffix == ".svg")]
    for label in clipart.CLASSES:
        own = [drawing for drawing in drawn if drawing.label == label]
        result += [own[round(share * (len(own) - 1))] for share in (0.05, 0.5, 0.95)]
    return result


def test_the_raw_files_give_the_shipped_samples_and_splits_of_stamps(spoken: Listing[SpokenStamp]) -> None:
    split = split_samples(spoken.samples)
    expected = [
        (sample.id, sample.label, sample.language, sample.concept, split[sample.concept]) for sample in spoken.samples
    ]
    columns = ("id", "class", "language", "concept", "split")
    rows, *_ = read_features(Stamps.folder)
    assert [tuple(row[column] for column in columns) for row in rows] == expected


def test_the_raw_files_give_the_shipped_samples_and_splits_of_clip_art(
    drawn: list[Drawing], request: pytest.FixtureRequest
) -> None:
    # The blank ones count for the splits, which are made before decoding.
    folder = clipart.find_clipart(unpacked(request.config.cache, CLIPART_VERSION, *clipart.PACKAGES))
    split = split_samples(clipart.list_drawings(folder).samples)
    expected = [(drawing.id, drawing.label, drawing.concept, split[drawing.concept]) for drawing in drawn]
    rows, *_ = read_features(Clipart.folder)
    assert [tuple(row[column] for column in ("id", "class", "concept", "split")) for row in rows] == expected


@pytest.mark.parametrize("column", ["image", "text", "english", "audio"])
def test_the_raw_files_give_the_shipped_features_of_stamps(column: str, some_spoken: list[SpokenStamp]) -> None:
    rows, tensors, _ = read_features(Stamps.folder)
    row_of = {row["id"]: int(row[column]) for row in rows}
    features = restore(tensors, column)
    rebuilt = encode(column, some_spoken)
    own = features[[row_of[sample.id] for sample in some_spoken]]
    if column == "text":
        np.testing.assert_array_equal(rebuilt, own)
    else:
        assert_rebuilt(rebuilt, own, tensors[f"{column}.step"], features.std(axis=0))


def assert_rebuilt(rebuilt: Features, shipped: Features, step: Features, deviation: Features) -> None:
    """Rounding changes a value by half a step; other versions of the decoders and of torch by 0.005 deviations."""
    assert (np.abs(rebuilt - shipped) <= 0.51 * step + 5e-3 * deviation).all()
    assert np.corrcoef(rebuilt.ravel(), shipped.ravel())[0, 1] > 0.999


def encode(column: str, samples: list[SpokenStamp]) -> Features:
    with one_thread():
        if column == "image":
            return networks.encode_pictures(stamps.read_picture(sample.stamp.picture) for sample in samples)
        if column == "english":
            return networks.encode_sentences([sample.stamp.english for sample in samples])
        if column == "audio":
            return networks.encode_speech(stamps.read_speech(sample.speech) for sample in samples)
        return networks.count_ngrams([sample.text for sample in samples])


@pytest.mark.parametrize("column", ["image", "text"])
def test_the_raw_files_give_the_shipped_features_of_clip_art(column: str, some_drawn: list[Drawing]) -> None:
    rows, tensors, _ = read_features(Clipart.folder)
    row_of = {row["id"]: int(row[column]) for row in rows}
    features = restore(tensors, column)
    with one_thread():
        if column == "text":
            rebuilt = networks.encode_sentences([drawing.title for drawing in some_drawn])
        else:
            rebuilt = networks.encode_pictures(clipart.read_picture(drawing.path) for drawing in some_drawn)
    own = features[[row_of[drawing.id] for drawing in some_drawn]]
    assert_rebuilt(rebuilt, own, tensors[f"{column}.step"], features.std(axis=0))


@pytest.fixture(scope="module")
def emoji(request: pytest.FixtureRequest) -> list[Emoji]:
    return openmoji.list_emoji(openmoji.find_openmoji(unpacked_from_npm(request.config.cache, "openmoji"))).samples


def test_the_raw_files_give_the_shipped_samples_and_splits_of_openmoji(emoji: list[Emoji]) -> None:
    split = split_samples(emoji)
    expected = [(one.id, one.label, one.concept, split[one.concept]) for one in emoji]
    rows, *_ = read_features(Openmoji.folder)
    assert [tuple(row[column] for column in ("id", "class", "concept", "split")) for row in rows] == expected


@pytest.mark.parametrize("column", ["image", "name", "tags"])
def test_the_raw_files_give_the_shipped_features_of_openmoji(column: str, emoji: list[Emoji]) -> None:
    rows, tensors, _ = read_features(Openmoji.folder)
    row_of = {row["id"]: int(row[column]) for row in rows}
    features = restore(tensors, column)
    some = emoji[::90]
    with one_thread():
        if column == "image":
            rebuilt = networks.encode_pictures(openmoji.read_picture(one.picture) for one in some)
        else:
            rebuilt = networks.encode_sentences([getattr(one, column) for one in some])
    own = features[[row_of[one.id] for one in some]]
    assert_rebuilt(rebuilt, own, tensors[f"{column}.step"], features.std(axis=0))


def test_samples_and_splits_of_raw_stamps_are_those_of_the_shipped_features(request: pytest.FixtureRequest) -> None:
    root = unpacked(request.config.cache, STAMPS_VERSION, *stamps.PACKAGES)
    data = RawStamps(RawStamps.Config(root=root)).load()
    shipped = Stamps(Stamps.Config()).load()
    assert data.task.classes == shipped.task.classes
    assert data.task.modalities == shipped.task.modalities
    for name in ("train", "validation", "test"):
        own, expected = getattr(data, name), getattr(shipped, name)
        assert (own.ids, own.groups) == (expected.ids, expected.groups)
        np.testing.assert_array_equal(own.labels, expected.labels)

"""Holds the shipped features of clip art and the raw files of the Debian packages together."""

import numpy as np
import pytest

from mlabench.datasets.embedded import networks as encoders
from mlabench.datasets.embedded.clipart.dataset import Clipart
from mlabench.datasets.embedded.clipart.raw_files import (
    CLASSES,
    PACKAGES,
    Drawing,
    find_clipart,
    list_drawings,
    read_picture,
)
from mlabench.datasets.embedded.rebuild import split_samples
from mlabench.datasets.embedded.storage import Rows, Tensors, read_features, restore
from mlabench.datasets.listing import Listing
from tests.datasets.embedded.debian import unpacked

VERSION = "1:0.18+dfsg-19"
#: Listed, but nothing is drawn on them.
BLANK = {
    "electronics/bulb/light_bulb_karl_bartel_01",
    "recreation/sports/badminton_racket_brice_b_01",
    "recreation/sports/football_pitch__andy_bur_01",
}


@pytest.fixture(scope="module")
def listing(request: pytest.FixtureRequest) -> Listing[Drawing]:
    return list_drawings(find_clipart(unpacked(request.config.cache, VERSION, *PACKAGES)))


@pytest.fixture(scope="module")
def shipped() -> tuple[Rows, Tensors]:
    rows, tensors, _ = read_features(Clipart.folder)
    return rows, tensors


@pytest.fixture(scope="module")
def spread(listing: Listing[Drawing]) -> list[Drawing]:
    """Three pictures of every class, and one that is drawn from its SVG."""
    result = [next(picture for picture in listing.samples if picture.path.suffix == ".svg")]
    for label in CLASSES:
        own = [picture for picture in listing.samples if picture.label == label and picture.id not in BLANK]
        result += [own[round(share * (len(own) - 1))] for share in (0.05, 0.5, 0.95)]
    return result


def test_the_raw_files_give_the_shipped_samples_and_splits(
    listing: Listing[Drawing], shipped: tuple[Rows, Tensors]
) -> None:
    split = split_samples(listing.samples)
    expected = [
        (picture.id, picture.label, picture.concept, split[picture.concept])
        for picture in listing.samples
        if picture.id not in BLANK
    ]
    assert [tuple(row[column] for column in ("id", "class", "concept", "split")) for row in shipped[0]] == expected


def test_the_raw_files_give_the_shipped_texts(spread: list[Drawing], shipped: tuple[Rows, Tensors]) -> None:
    rows, tensors = shipped
    row_of = {row["id"]: int(row["text"]) for row in rows}
    features = tensors["text"][[row_of[picture.id] for picture in spread]].astype(np.float32)
    with encoders.one_thread():
        text = encoders.encode_sentences([picture.title for picture in spread])
    # Rounding to float16 changes a value by less than its 2000th part. The rest allows for other versions
    # of torch: five thousandths of a standard deviation.
    rebuilt = (text - tensors["text.mean"]) / tensors["text.std"]
    np.testing.assert_allclose(rebuilt, features, rtol=1e-3, atol=5e-3)


def test_the_raw_files_give_the_shipped_pictures(spread: list[Drawing], shipped: tuple[Rows, Tensors]) -> None:
    rows, tensors = shipped
    row_of = {row["id"]: int(row["image"]) for row in rows}
    features = restore(tensors, "image")[[row_of[picture.id] for picture in spread]]
    with encoders.one_thread():
        image = encoders.encode_pictures(read_picture(picture.path) for picture in spread)
    rebuilt = (image - tensors["image.mean"]) / tensors["image.std"]
    # Half a step is what rounding changes; the rest as above, and for other versions of the decoders.
    assert (np.abs(rebuilt - features) <= 0.5 * tensors["image.step"] + 5e-3 + 1e-3 * np.abs(features)).all()
    assert np.corrcoef(rebuilt.ravel(), features.ravel())[0, 1] > 0.999

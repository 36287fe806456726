"""Holds the shipped features and the raw files of the Debian package together."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mlabench.datasets.embedded import networks as encoders
from mlabench.datasets.embedded.rebuild import split_samples
from mlabench.datasets.embedded.stamps.dataset import Stamps
from mlabench.datasets.embedded.stamps.raw_files import (
    CLASSES,
    LANGUAGES,
    PACKAGES,
    SpokenStamp,
    find_stamps,
    list_samples,
    read_picture,
    read_speech,
)
from mlabench.datasets.embedded.storage import Rows, Tensors, read_features, restore
from mlabench.datasets.listing import Listing
from tests.datasets.embedded.debian import unpacked

VERSION = "2022.06.04-1"


@pytest.fixture(scope="module")
def listing(request: pytest.FixtureRequest) -> Listing[SpokenStamp]:
    return list_samples(find_stamps(unpacked(request.config.cache, VERSION, *PACKAGES)))


@pytest.fixture(scope="module")
def shipped() -> tuple[Rows, Tensors]:
    rows, tensors, _ = read_features(Stamps.folder)
    return rows, tensors


@pytest.fixture(scope="module")
def spread(listing: Listing[SpokenStamp]) -> list[SpokenStamp]:
    """Four samples of every class, of different stamps and languages."""
    result = []
    for label in CLASSES:
        own = [sample for sample in listing.samples if sample.stamp.label == label]
        result += [own[round(share * (len(own) - 1))] for share in (0.05, 0.35, 0.65, 0.95)]
    assert {sample.stamp.picture.suffix for sample in result} == {".png", ".svg"}
    assert len({sample.language for sample in result}) >= 7
    return result


def test_the_raw_files_give_the_shipped_samples_and_splits(
    listing: Listing[SpokenStamp], shipped: tuple[Rows, Tensors]
) -> None:
    split = split_samples(listing.samples)
    expected = [
        (sample.id, sample.stamp.label, sample.language, sample.stamp.concept, split[sample.stamp.concept])
        for sample in listing.samples
    ]
    columns = ("id", "class", "language", "concept", "split")
    assert [tuple(row[column] for column in columns) for row in shipped[0]] == expected


@pytest.mark.parametrize("column", ["image", "text", "english", "audio"])
def test_the_raw_files_give_the_shipped_features(
    column: str, spread: list[SpokenStamp], shipped: tuple[Rows, Tensors]
) -> None:
    rows, tensors = shipped
    row_of = {row["id"]: int(row[column]) for row in rows}
    take = [row_of[sample.id] for sample in spread]
    features = restore(tensors, column)
    rebuilt = encode(column, spread, tensors)
    # Rounding to float16 changes a value by less than its 2000th part. The rest allows for other versions
    # of the decoders and of torch: five thousandths of a standard deviation.
    np.testing.assert_allclose(rebuilt, features[take], rtol=1e-3, atol=5e-3)
    assert np.corrcoef(rebuilt.ravel(), features[take].ravel())[0, 1] > 0.9999


def encode(column: str, samples: list[SpokenStamp], tensors: Tensors) -> NDArray[np.float32]:
    with encoders.one_thread():
        if column == "image":
            features = encoders.encode_pictures(read_picture(sample.stamp.picture) for sample in samples)
        elif column == "english":
            features = encoders.encode_sentences([sample.stamp.english for sample in samples])
        elif column == "audio":
            features = encoders.encode_speech(read_speech(sample.speech) for sample in samples)
        else:
            features = encoders.weigh_ngrams(encoders.count_ngrams([s.text for s in samples]), tensors["text.idf"])
    mean, std = tensors[f"{column}.mean"], tensors[f"{column}.std"]
    if column == "audio":
        language = [LANGUAGES.index(sample.language) for sample in samples]
        mean, std = mean[language], std[language]
    standardised: NDArray[np.float32] = (features - mean) / std
    return standardised

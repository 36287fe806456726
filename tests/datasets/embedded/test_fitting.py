"""What is fitted to the training samples: against computation on whole samples, and blind to all others."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from numpy.typing import NDArray

from mlabench.datasets import Data, Split, StoredRows
from mlabench.datasets.embedded.base import Embedded, stored_rows
from mlabench.datasets.embedded.clipart.dataset import Clipart
from mlabench.datasets.embedded.fitting import GRID, principal_components, standardise, weigh_ngrams
from mlabench.datasets.embedded.stamps.dataset import Stamps
from mlabench.datasets.embedded.stamps.raw_files import LANGUAGES

SPLITS = ("train", "validation", "test")


def random_rows(rows: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Correlated rows and how often each is used; a third is not."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + 5
    return values.astype(np.float32), rng.integers(1, 5, rows) * (rng.random(rows) > 1 / 3)


def samples(values: NDArray[Any], uses: NDArray[np.int64]) -> NDArray[np.float64]:
    """One row per training sample."""
    return np.repeat(values.astype(np.float64), uses, axis=0)


def test_training_samples_have_mean_zero_and_deviation_one() -> None:
    values, uses = random_rows(60, 8)
    values[:, 3] = 2  # a dimension that never changes
    seen = samples(values, uses)
    deviation = seen.std(axis=0)
    deviation[3] = 1
    np.testing.assert_allclose(standardise(values, uses), (values - seen.mean(axis=0)) / deviation, atol=GRID)
    fitted = samples(standardise(values, uses), uses)
    np.testing.assert_allclose(fitted.mean(axis=0), 0, atol=GRID)
    np.testing.assert_allclose(np.delete(fitted.std(axis=0), 3), 1, atol=GRID)


@pytest.mark.parametrize(("rows", "width"), [(90, 12), (15, 40)])
def test_principal_components_are_those_of_the_singular_vectors(rows: int, width: int) -> None:
    values, uses = random_rows(rows, width)
    seen = samples(values, uses)
    scaled = (seen - seen.mean(axis=0)) / seen.std(axis=0)
    *_, vectors = scipy.linalg.svd(scaled, full_matrices=False)
    directions = vectors[:5].T
    directions *= np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(5)])
    projected = (values - seen.mean(axis=0)) / seen.std(axis=0) @ directions
    expected = projected / np.sqrt(np.mean((scaled @ directions) ** 2))
    np.testing.assert_allclose(principal_components(values, uses, 5), expected, atol=GRID)


def test_what_training_samples_do_not_span_is_zero() -> None:
    values, _ = random_rows(9, 20)
    uses = np.array([3, 1, 1, 2, 0, 0, 0, 0, 0])  # four rows, three directions
    fitted = principal_components(values, uses, 6)
    assert fitted.shape == (9, 6)
    assert (fitted[:, 3:] == 0).all()
    assert (np.abs(fitted[:, :3]).max(axis=0) > 0.1).all()


def test_a_bucket_weighs_more_the_fewer_training_samples_have_it() -> None:
    counts = np.array([[1, 0, 2], [1, 3, 0], [1, 0, 0]], np.float32)
    uses = np.array([2, 1, 0])
    idf = np.log(4 / np.array([4, 2, 3])) + 1  # of three samples 3, 1 and 2 have it
    expected = np.log(1 + counts) * idf
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(weigh_ngrams(counts, uses), expected, rtol=1e-6)


def test_recordings_are_standardised_by_language() -> None:
    dataset = Stamps(Stamps.Config(modalities=("audio",)))
    raw = dataset.load()
    fitted = dataset.fit(raw)
    language = [np.array([id_.rpartition(":")[2] for id_ in getattr(raw, split).ids]) for split in ("train", "test")]
    train, test = (as_array(getattr(raw, split), "audio") for split in ("train", "test"))
    for name in LANGUAGES:
        own, other = train[language[0] == name].astype(np.float64), test[language[1] == name]
        expected = (other - own.mean(axis=0)) / own.std(axis=0)
        np.testing.assert_allclose(np.asarray(fitted.test.inputs["audio"])[language[1] == name], expected, atol=GRID)


def test_a_language_without_training_samples_is_standardised_by_all_others() -> None:
    dataset = Stamps(Stamps.Config(modalities=("audio",)))
    raw = dataset.load()
    rows = [row for row, id_ in enumerate(raw.train.ids) if not id_.endswith(":el")]
    raw = replace(raw, train=raw.train.take(rows))
    greek = [row for row, id_ in enumerate(raw.test.ids) if id_.endswith(":el")]
    seen = as_array(raw.train, "audio").astype(np.float64)
    expected = (as_array(raw.test, "audio")[greek] - seen.mean(axis=0)) / seen.std(axis=0)
    np.testing.assert_allclose(np.asarray(dataset.fit(raw).test.inputs["audio"])[greek], expected, atol=GRID)


@pytest.mark.parametrize("kind", [Stamps, Clipart])
@pytest.mark.parametrize("components", [128, None])
def test_nothing_of_validation_or_test_reaches_what_is_fitted(kind: type[Embedded], components: int | None) -> None:
    dataset = kind(kind.Config(components=components))
    data = dataset.load()
    fitted, poisoned = dataset.fit(data), dataset.fit(poison(data))
    for modality in data.task.modalities:
        np.testing.assert_array_equal(poisoned.train.inputs[modality], fitted.train.inputs[modality])
        assert not np.array_equal(poisoned.test.inputs[modality], fitted.test.inputs[modality])
    # Nor does it matter for one test sample what the others are.
    without = replace(data, validation=data.validation.take([]), test=data.test.take([5]))
    for modality in data.task.modalities:
        np.testing.assert_array_equal(
            dataset.fit(without).test.inputs[modality], np.asarray(fitted.test.inputs[modality])[5:6], strict=True
        )


def poison(data: Data) -> Data:
    """Other values wherever no training sample looks."""
    inputs = {}
    for modality in data.task.modalities:
        rows = stored_rows(data.train, modality)
        array = rows.array.copy()
        others = np.setdiff1d(np.arange(len(array)), rows.rows)
        array[others] = np.random.default_rng(0).integers(0, 1000, (len(others), array.shape[1]))
        inputs[modality] = array

    def split(own: Split) -> Split:
        return replace(
            own, inputs={name: StoredRows(array, stored_rows(own, name).rows) for name, array in inputs.items()}
        )

    return replace(data, train=split(data.train), validation=split(data.validation), test=split(data.test))


def as_array(split: Split, modality: str) -> NDArray[np.float32]:
    rows = stored_rows(split, modality)
    values: NDArray[np.float32] = rows.array[rows.rows]
    return values


def test_another_order_of_summation_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Clipart(Clipart.Config())
    data = dataset.load()
    expected = dataset.fit(data)
    eigh = np.linalg.eigh

    def inexact(matrix: NDArray[np.float64]) -> Any:
        noise = np.random.default_rng(1).normal(scale=1e-15 * np.trace(matrix), size=matrix.shape)
        return eigh(matrix + noise + noise.T)

    monkeypatch.setattr(np.linalg, "eigh", inexact)
    for split in SPLITS:
        for modality, values in getattr(dataset.fit(data), split).inputs.items():
            np.testing.assert_array_equal(values, getattr(expected, split).inputs[modality])

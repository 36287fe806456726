"""Rebuilds the embedded features of ``stamps``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets.contract import ReportProgress
from mlabench.datasets.embedded import networks
from mlabench.datasets.embedded.rebuild import Rebuild, decode, numbered, training_rows
from mlabench.datasets.embedded.stamps.raw_files import (
    LANGUAGES,
    PACKAGES,
    SpokenStamp,
    Stamp,
    find_stamps,
    list_samples,
    read_picture,
    read_speech,
)
from mlabench.datasets.embedded.storage import Features, Rows, Tensors, as_halves, as_sparse, moments


def _encode(
    samples: Sequence[SpokenStamp], split: Mapping[str, str], skipped: Counter[str], report: ReportProgress
) -> tuple[Rows, Tensors]:
    """Pictures and English texts in half precision, recordings too but by language, texts as sparse n-grams."""
    stamps = list(dict.fromkeys(sample.stamp for sample in samples))
    pictures: list[Stamp] = []
    image = networks.encode_pictures(
        decode("pictures", stamps, lambda stamp: read_picture(stamp.picture), pictures, skipped, report)
    )
    pictured = set(pictures)
    samples = [sample for sample in samples if sample.stamp in pictured]
    kept: list[SpokenStamp] = []
    audio = networks.encode_speech(
        decode("recordings", samples, lambda sample: read_speech(sample.speech), kept, skipped, report)
    )
    image_row = numbered(stamp.name for stamp in pictures)
    english_row = numbered(sample.stamp.english for sample in kept)
    text_row = numbered(sample.text for sample in kept)
    english = networks.encode_sentences(list(english_row))
    counts = networks.count_ngrams(list(text_row))
    report("texts", len(english_row) + len(text_row), len(english_row) + len(text_row))

    rows = [
        {
            "id": sample.id,
            "class": sample.label,
            "language": sample.language,
            "concept": sample.concept,
            "split": split[sample.concept],
            "image": str(image_row[sample.stamp.name]),
            "text": str(text_row[sample.text]),
            "english": str(english_row[sample.stamp.english]),
            "audio": str(number),
        }
        for number, sample in enumerate(kept)
    ]
    used = training_rows(rows)
    idf = networks.inverse_document_frequency(counts[used("text")])
    return rows, {
        **as_halves("image", image, used("image")),
        **as_halves("english", english, used("english")),
        **_by_language(audio, used("audio"), [sample.language for sample in kept]),
        **as_sparse("text", networks.weigh_ngrams(counts, idf), used("text")),
        "text.idf": idf,
    }


def _by_language(audio: Features, train: NDArray[np.int64], languages: Sequence[str]) -> Tensors:
    """Standardises per language: mostly one person, with one microphone, reads one language."""
    language = np.array([LANGUAGES.index(name) for name in languages])
    result = np.zeros_like(audio)
    means, stds = np.zeros((2, len(LANGUAGES), audio.shape[1]), np.float32)
    for number in range(len(LANGUAGES)):
        own = train[language[train] == number]
        means[number], stds[number] = moments(audio[own] if len(own) else audio[train])
        rows = language == number
        result[rows] = (audio[rows] - means[number]) / stds[number]
    return {"audio": result.astype(np.float16), "audio.mean": means, "audio.std": stds}


# The limit has been written since the first version; without it, the fingerprint of rebuilt features would be another.
REBUILD = Rebuild(PACKAGES, find_stamps, list_samples, _encode, about={"limit": None})

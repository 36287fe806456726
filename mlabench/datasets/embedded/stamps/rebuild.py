"""Rebuilds the embedded features of ``stamps``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets.contract import Inventory, ReportProgress, silent
from mlabench.datasets.embedded import networks as encoders
from mlabench.datasets.embedded.base import Rows, Tensors
from mlabench.datasets.embedded.rebuild import (
    SHARES,
    Features,
    count_splits,
    decode,
    moments,
    numbered,
    staged,
    standardised,
    write_features,
)
from mlabench.datasets.embedded.stamps.dataset import SHIPPED
from mlabench.datasets.embedded.stamps.raw_files import (
    LANGUAGES,
    Sample,
    Stamp,
    find_stamps,
    list_samples,
    read_picture,
    read_speech,
)
from mlabench.datasets.splits import split_groups
from mlabench.errors import UserError


def check_stamps(root: Path | None = None) -> Inventory:
    """Counts the samples among the files of the Debian package, without decoding them.

    Args:
        root: The unpacked package or its stamps folder; ``None`` for the installed package.

    Raises:
        UserError: If the raw files are missing.
    """
    folder = find_stamps(root)
    listing = list_samples(folder)
    split = split_samples(listing.samples)
    return Inventory(
        folder, count_splits(split[sample.stamp.concept] for sample in listing.samples), dict(listing.skipped)
    )


def prepare_stamps(
    root: Path | None = None,
    out: Path | None = None,
    progress: ReportProgress | None = None,
    *,
    limit: int | None = None,
) -> Inventory:
    """Rebuilds the features of ``stamps`` from the files of the Debian package.

    Takes about two minutes on one core; nothing in ``out`` changes before all is done.

    Args:
        root: The unpacked package or its stamps folder; ``None`` for the installed package.
        out: Folder for the features, made if need be; ``None`` for the one that ``stamps`` is loaded from.
        progress: Called after each picture and recording and after the texts.
        limit: Use about this many samples only, evenly spread, for a try; needs an ``out``.

    Raises:
        UserError: If the raw files or ``mlabench[prepare]`` are missing, ``out`` cannot be written, or
            ``limit`` is less than one or given without another ``out``.
    """
    out = out or SHIPPED
    if limit is not None and (limit < 1 or out == SHIPPED):
        raise UserError(
            f"cannot rebuild {limit} samples into {out}.",
            remedy="Give a limit of at least 1 and another folder, so that the shipped features stay whole.",
        )
    report = progress or silent
    listing = list_samples(find_stamps(root))
    split = split_samples(listing.samples)
    samples = listing.samples[:: max(1, len(listing.samples) // limit)] if limit else listing.samples
    with staged(out) as folder, encoders.one_thread():
        rows, tensors = _encode(samples, split, listing.skipped, report)
        made = {"skipped": listing.skipped, "limit": limit}
        write_features(folder, rows, tensors, {"made": json.dumps(made, sort_keys=True)}, SHIPPED)
    return Inventory(out, count_splits(row["split"] for row in rows), dict(listing.skipped))


def split_samples(samples: Sequence[Sample]) -> dict[str, str]:
    """The split of each concept, from all samples listed, whether they can be decoded or not."""
    return split_groups(
        [sample.stamp.concept for sample in samples], [sample.stamp.label for sample in samples], SHARES
    )


def _encode(
    samples: Sequence[Sample], split: dict[str, str], skipped: Counter[str], report: ReportProgress
) -> tuple[Rows, Tensors]:
    stamps = list(dict.fromkeys(sample.stamp for sample in samples))
    pictures: list[Stamp] = []
    image = encoders.encode_pictures(
        decode("pictures", stamps, lambda stamp: read_picture(stamp.picture), pictures, skipped, report)
    )
    pictured = set(pictures)
    samples = [sample for sample in samples if sample.stamp in pictured]
    kept: list[Sample] = []
    audio = encoders.encode_speech(
        decode("recordings", samples, lambda sample: read_speech(sample.speech), kept, skipped, report)
    )
    image_row = numbered(stamp.name for stamp in pictures)
    english_row = numbered(sample.stamp.english for sample in kept)
    text_row = numbered(sample.text for sample in kept)
    english = encoders.encode_sentences(list(english_row))
    counts = encoders.count_ngrams(list(text_row))
    report("texts", len(english_row) + len(text_row), len(english_row) + len(text_row))

    rows = [
        {
            "id": sample.id,
            "class": sample.stamp.label,
            "language": sample.language,
            "concept": sample.stamp.concept,
            "split": split[sample.stamp.concept],
            "image": str(image_row[sample.stamp.name]),
            "text": str(text_row[sample.text]),
            "english": str(english_row[sample.stamp.english]),
            "audio": str(number),
        }
        for number, sample in enumerate(kept)
    ]
    train = [row for row in rows if row["split"] == "train"]
    if not train:
        raise UserError("no sample of the training split is left.", remedy="Raise the limit.")

    def used(column: str) -> NDArray[np.int64]:
        return np.array([int(row[column]) for row in train])

    language = np.array([LANGUAGES.index(sample.language) for sample in kept])
    tensors = standardised("image", image, used("image")) | standardised("english", english, used("english"))
    return rows, tensors | _speech_tensors(audio, used("audio"), language) | _text_tensors(counts, used("text"))


def _speech_tensors(audio: Features, train: NDArray[np.int64], language: NDArray[np.int64]) -> Tensors:
    """Standardises per language: mostly one person, with one microphone, reads one language."""
    result = np.zeros_like(audio)
    means, stds = np.zeros((2, len(LANGUAGES), audio.shape[1]), np.float32)
    for number in range(len(LANGUAGES)):
        own = train[language[train] == number]
        means[number], stds[number] = moments(audio[own]) if len(own) else moments(audio[train])
        rows = language == number
        result[rows] = (audio[rows] - means[number]) / stds[number]
    return {"audio": result.astype(np.float16), "audio.mean": means, "audio.std": stds}


def _text_tensors(counts: Features, train: NDArray[np.int64]) -> Tensors:
    """Sparse n-gram weights; :func:`mlabench.datasets.embedded.stamps.dataset.ngram_features` reads them."""
    idf = encoders.inverse_document_frequency(counts[train])
    weights = encoders.weigh_ngrams(counts, idf)
    mean, std = moments(weights[train])
    row, bucket = np.nonzero(weights)
    return {
        "text.start": np.searchsorted(row, np.arange(len(weights) + 1)).astype(np.int32),
        "text.bucket": bucket.astype(np.uint16),
        "text.weight": weights[row, bucket].astype(np.float16),
        "text.idf": idf,
        "text.mean": mean,
        "text.std": std,
    }

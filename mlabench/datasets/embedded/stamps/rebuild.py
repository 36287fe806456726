"""Rebuilds the embedded features of ``stamps``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mlabench.datasets.contract import ReportProgress
from mlabench.datasets.embedded import networks
from mlabench.datasets.embedded.rebuild import Rebuild, decode, numbered
from mlabench.datasets.embedded.stamps.raw_files import (
    OBTAIN,
    SpokenStamp,
    Stamp,
    find_stamps,
    list_samples,
    read_picture,
    read_speech,
)
from mlabench.datasets.embedded.storage import Features, Rows


def _encode(
    samples: Sequence[SpokenStamp], split: Mapping[str, str], skipped: Counter[str], report: ReportProgress
) -> tuple[Rows, dict[str, Features]]:
    """Pictures, recordings, English texts, and counts of the n-grams of texts; what repeats is encoded once."""
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
    return rows, {"image": image, "english": english, "audio": audio, "text": counts}


REBUILD = Rebuild(OBTAIN, find_stamps, list_samples, _encode, levels=dict.fromkeys(("image", "english", "audio"), 4095))

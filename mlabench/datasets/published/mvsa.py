"""The dataset ``mvsa``: MVSA-Single, tweets with a picture and the sentiment of both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from mlabench.datasets.listing import LeftOutError, Listing, RawSample, SplitName
from mlabench.datasets.options import FileOptions, ImageText
from mlabench.datasets.published.base import parse_lines
from mlabench.datasets.published.text_image import (
    TextImageDataset,
    files_by_name,
    keep_for_validation,
    make_sample,
    plain_text,
    read_lines,
)
from mlabench.datasets.splits import split_groups
from mlabench.errors import UserError
from mlabench.media import decode_text

LABELS = ("negative", "neutral", "positive")
SHARES: Mapping[SplitName, float] = {"train": 0.6, "validation": 0.2, "test": 0.2}
#: Share of the training samples of MLA's lists that is kept for validation.
MLA_VALIDATION_SHARE = 0.1
#: Ten folds of Cheema et al. (MMPT 2021), over the samples of ``labels: polar``.
FAIR_FOLDS = 10
FAIR_SOURCE = "the folder data/mvsa_single of github.com/cleopatra-itn/fair_multimodal_sentiment"

_LINE = re.compile(r"(\S+)\s+(\w+)\s*,\s*(\w+)")


class MVSA(TextImageDataset):
    r"""MVSA-Single: 4,869 tweets with a picture, labelled negative, neutral or positive.

    The text and the picture of a tweet have a label each. ``labels: agreeing`` (QMF, MLA) keeps pairs whose two labels
    are equal; with ``labels: polar`` (Xu and Mao 2017, and most papers since) a neutral label yields to the other one.

    What it can show: two modalities of similar, middling strength in a small dataset. What it cannot show: fine
    differences, with some 520 test samples (one standard error of an accuracy is about 2 points).

    Texts keep their links, ``@names``, hashtags and ``RT``, as QMF's and MLA's do; only character references, tags and
    control characters are removed. Files that are not UTF-8 are read as GBK, which fits the bytes in QMF's lists
    ("bol\xa8\xaagrafo" is "bolígrafo"), else as Windows-1252. The lists themselves show those bytes as Latin-1.
    Files, splits and reasons to skip: ``mlabench/datasets/README.md``.

    With ``fair10``, ``folds: {by: fair10}`` tests on the ten published folds of Cheema et al. (MMPT 2021), which divide
    the tweets of ``labels: polar``.
    """

    class Config(FileOptions):
        """Options of ``mvsa``."""

        root: Path | None = Field(default=None, description="Folder that holds `data` and `labelResultAll.txt`.")
        split: Literal["stratified", "qmf", "mla"] = Field(
            default="stratified", description="Our own split, QMF's lists, or those of the MLA paper."
        )
        labels: Literal["agreeing", "polar"] = Field(
            default="agreeing",
            description="Keep pairs whose labels are equal, or also those of which one is neutral.",
        )
        modalities: ImageText = ("text", "image")
        fair10: Path | None = Field(
            default=None,
            description="Folder of the ten published folds, for `folds: {by: fair10}`; it holds `valid_pairlist.txt` "
            "and `splits`.",
        )

    config: Config
    title = "MVSA-Single"
    source = "MVSA-Single (Niu et al., MMM 2016), tweets, for research only."
    obtain = (
        "Get MVSA-Single from https://mcrlab.net/research/mvsa-sentiment-analysis-on-multi-view-social-data/ or "
        "https://www.kaggle.com/datasets/vincemarcs/mvsasingle (for research only) and unpack it."
    )
    mla_lists = {"train": "my_train_mvsa.txt", "test": "my_test_mvsa.txt"}  # noqa: RUF012
    qmf_folder = "MVSA_Single"
    classes = LABELS

    @cached_property
    def folder(self) -> Path:
        """The folder that holds ``data`` and the labels."""
        return self.find(
            "data/*.jpg, data/*.txt and labelResultAll.txt",
            lambda folder: (folder / "data").is_dir() and (folder / "labelResultAll.txt").is_file(),
            below=("MVSA_Single",),
        )

    def listing(self) -> Listing[RawSample]:
        """Lists the samples in the order of ``labelResultAll.txt``."""
        listing = Listing[RawSample]()
        pictures = files_by_name(self.folder / "data", ".jpg")
        texts = files_by_name(self.folder / "data", ".txt")
        labels = read_labels(self.folder / "labelResultAll.txt", listing.skipped)
        published = self._published(listing.skipped)
        folds = read_fair_folds(self.config.fair10) if self.config.fair10 else None
        unlabelled = len(published.keys() - labels.keys())
        listing.skipped.update({"no label": unlabelled} if unlabelled else {})
        for name, pair in labels.items():
            if self.config.split != "stratified" and name not in published:
                continue
            with listing.counting():
                label = pair_label(*pair, rule=self.config.labels)
                text = plain_text(read_tweet(texts[name])) if name in texts else None
                split = published.get(name, "train")
                sample = make_sample(name, label, split, pictures.get(name), text, "no text file")
                if folds is not None:
                    if name not in folds:
                        raise LeftOutError("not in the published folds")
                    sample = replace(sample, units={"fair10": folds[name]})
                listing.samples.append(sample)
        self._assign_splits(listing)
        listing.notes.append(self._label_note)
        listing.split_notes += self._split_notes()
        return listing

    def _published(self, skipped: Counter[str]) -> dict[str, SplitName]:
        """The split of each sample of the published lists; empty for our own split."""
        split: dict[str, SplitName] = {}
        if self.config.split != "stratified":
            for row in self.qmf if self.config.split == "qmf" else self.mla:
                if row.id in split:
                    skipped["listed twice"] += 1
                split.setdefault(row.id, row.split)
        return split

    def _assign_splits(self, listing: Listing[RawSample]) -> None:
        """Our own split, or the validation samples that MLA's lists lack."""
        if self.config.split == "stratified":
            groups = [sample.group for sample in listing.samples]
            split = split_groups(groups, [sample.label for sample in listing.samples], SHARES)
            listing.samples = [replace(sample, split=split[sample.group]) for sample in listing.samples]
        elif self.config.split == "mla":
            keep_for_validation(listing, MLA_VALIDATION_SHARE)

    @property
    def _label_note(self) -> str:
        if self.config.labels == "agreeing":
            return "Only pairs whose text and picture got the same label are used (as QMF and MLA do)."
        return "A neutral label yields to the other one of its pair (as for Xu and Mao, not as for MLA)."

    def _split_notes(self) -> list[str]:
        notes = {
            "stratified": "The split is mlabench's own; QMF and MLA test on other samples.",
            "mla": "The paper's lists have no validation split; a tenth of its training list is kept for it. "
            "32 of its 519 test samples are in QMF's validation list.",
        }
        return [notes[self.config.split]] if self.config.split in notes else []


def read_labels(path: Path, skipped: Counter[str]) -> dict[str, tuple[str, str]]:
    """The labels of text and picture by sample, from ``labelResultAll.txt``.

    A header, then lines ``ID<tab>text label,image label``. Of a sample that is listed twice, the first line counts.
    """
    labels: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(read_lines(path), start=1):
        match = _LINE.fullmatch(line.strip())
        if line.strip() and not match:
            several = line.count(",") > 1
            raise UserError(
                "this line does not read `ID<tab>label of the text,label of the picture`"
                + (": several pairs of labels are those of MVSA-Multiple." if several else "."),
                remedy="Unpack MVSA-Single again." if not several else "Give the folder of MVSA-Single.",
                file=str(path),
                line=number,
            )
        if not match or match[1].upper() == "ID":
            continue
        if match[1] in labels:
            skipped["listed twice"] += 1
        labels.setdefault(match[1], (match[2].lower(), match[3].lower()))
    return labels


def read_fair_folds(folder: Path) -> dict[str, str]:
    """The published fold, ``1`` to ``10``, whose test part holds each tweet, by its id.

    A line of ``valid_pairlist.txt`` begins with an id and a comma; ``splits/test_<fold>.txt`` numbers its lines from 0.
    """
    pairs = folder / "valid_pairlist.txt"
    ids = parse_lines(pairs, _published_lines(pairs), FAIR_SOURCE, _listed_id)
    folds: dict[str, str] = {}

    def parse(line: str) -> str:
        if not line.isdecimal() or int(line) >= len(ids):
            raise ValueError(f"{line[:60]!r} is not a number of a line of {pairs.name}, from 0 to {len(ids) - 1}.")
        if ids[int(line)] in folds:
            raise ValueError(f"the tweet {ids[int(line)]} is tested twice, counting all folds.")
        return folds.setdefault(ids[int(line)], fold)

    for fold in map(str, range(1, FAIR_FOLDS + 1)):
        path = folder / "splits" / f"test_{fold}.txt"
        parse_lines(path, _published_lines(path), FAIR_SOURCE, parse)
    return folds


def _published_lines(path: Path) -> list[str]:
    if not path.is_file():
        raise UserError(
            "the ten published folds need this file, which is not there.",
            remedy=f"Run `mlabench data get mvsa --part fair10`, or: Get {FAIR_SOURCE}, and give the folder: "
            "`--set dataset.fair10=DIR`.",
            file=str(path),
            field="dataset.fair10",
        )
    return read_lines(path)


def _listed_id(line: str) -> str:
    name, comma, _ = line.partition(",")
    if not name or not comma:
        raise ValueError(f"{line[:60]!r} is not the id of a tweet and its labels, as in '1,1,0,1'.")
    return name


def pair_label(text: str, image: str, rule: Literal["agreeing", "polar"]) -> str:
    """The label of a pair, from those of its text and its picture, unless the rule of :class:`MVSA` drops it."""
    if not {text, image} <= set(LABELS):
        raise LeftOutError("unknown label")
    if text == image:
        return text
    if "neutral" not in (text, image):
        raise LeftOutError("contradictory labels")
    if rule == "agreeing":
        raise LeftOutError("labels differ")
    return image if text == "neutral" else text


def read_tweet(path: Path) -> str:
    """The text of a file in UTF-8 or GBK, else as :func:`mlabench.media.texts.decode_text` reads it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror or error}).", file=str(path)) from error
    for encoding in ("utf-8-sig", "gb18030"):
        with suppress(UnicodeDecodeError):
            return data.decode(encoding)
    return decode_text(data)

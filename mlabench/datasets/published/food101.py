"""The dataset ``food101``: UPMC Food-101, pictures of dishes and the titles of the pages they were found on."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from mlabench.datasets.published.base import Listing, RawDataset, Sample, SplitName, first_folder
from mlabench.datasets.published.text_image import (
    QMF_LISTS,
    Listed,
    files_by_name,
    is_empty,
    keep_for_validation,
    plain_text,
    read_lines,
    read_lists,
    subfolders,
)
from mlabench.errors import UserError
from mlabench.hyperparameters import ModalityOptions
from mlabench.media import Image, Item, Medium, Text, decode_text

MLA_LISTS: Mapping[SplitName, str] = {"train": "my_train_food.txt", "test": "my_test_food.txt"}
MLA_SOURCE = "the folder data of github.com/Cecile-hi/Multimodal-Learning-with-Alternating-Unimodal-Adaptation"
QMF_SOURCE = "the folder text-image-classification/datasets/food101 of github.com/QingyangZhang/QMF"

#: Share of the published training data kept for validation: 5,000 of 67,971, as in QMF's lists.
VALIDATION_SHARE = 5_000 / 67_971
#: Number of classes in the published dataset.
CLASSES = 101

#: Bytes written out as Python shows them (``cr\xc3\xa8me``), as some titles have them.
_BYTES = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")
_ESCAPED = re.compile(r"\\([nrt'\"])")


class Food101(RawDataset):
    """UPMC Food-101: 90,704 pictures of 101 dishes and the titles of the web pages that show them.

    A sample is a picture and the title of its page; the label is the dish. Pictures and pages were found by a
    search engine, so that labels, pictures and titles are noisy ("request rejected", "recipes on pinterest").

    What it can show: a strong modality (text) beside a weaker one (image), on a large scale.
    What it cannot show: fusion that needs both, since the title often names the class. Pages recur with
    several pictures, so that many titles stand in train and test alike: samples of one title form a group.

    Expected counts, before skips: 67,988 and 22,716 titles in the two CSV files. Splits:

    * ``official`` (default): the folders ``train`` and ``test``. None is published for validation: about 5,000
      samples of ``train`` are kept for it, stratified and fixed, as many as QMF keeps.
    * ``qmf``: about 62,970 / 5,000 / 22,715, from QMF's lists.
    * ``mla``: 62,970 / - / 22,714, from the lists of MLA (CVPR 2024), which leave out QMF's validation samples.
      About 4,630 of the training samples are kept for validation, where the paper's code selects on the test split.

    Texts are titles without character references, tags and control characters. QMF's lists, which the paper's
    code reads, too, hold the same titles in lower case, without punctuation and with the remains of character
    references ("amp", "8217"); ``text: qmf`` takes those. MMBT reads the full text of the pages: neither is
    comparable with its accuracies.

    Left out and counted: listed samples without a picture, with an empty picture file, without a title, with
    a title that is empty after cleaning, listed twice, or with a label that has no folder; pictures without a title.
    """

    class Config(ModalityOptions):
        """Options of ``food101``."""

        root: Path | None = Field(default=None, description="Folder that holds `images` and `texts`.")
        lists: Path | None = Field(
            default=None, description="Folder of the lists of QMF or MLA; that of the dataset if not given."
        )
        split: Literal["official", "qmf", "mla"] = Field(
            default="official", description="The folders train and test, QMF's lists, or those of the MLA paper."
        )
        text: Literal["titles", "qmf"] = Field(
            default="titles", description="Titles from the CSV files, or as QMF's lists have them."
        )
        modalities: tuple[Literal["text", "image"], ...] = Field(
            default=("text", "image"),
            min_length=1,
            description="Which modalities to use; their order is the column order everywhere.",
        )

    config: Config
    title = "Food-101"
    source = "UPMC Food-101 (Wang et al., ICMEW 2015), collected from the web, without a licence: for research only."
    obtain = (
        "Get UPMC Food-101 from https://www.kaggle.com/datasets/gianmarco96/upmcfood101 (for research; it comes "
        "without a licence, so do not pass it on) and unpack it."
    )
    stand_in = "--dataset clipart"

    @property
    def media(self) -> Mapping[str, Medium]:
        """Text and image, as far as they were asked for."""
        return {modality: modality for modality in self.config.modalities}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The class folders of the training pictures, in alphabetical order."""
        return subfolders(self._folder / "images" / "train")

    @cached_property
    def _folder(self) -> Path:
        root = self.config.root
        candidates = [root, *(root / name for name in ("upmcfood101", "food101", "data"))] if root else []
        test = first_folder(folder / "images" / "test" for folder in candidates if (folder / "images/train").is_dir())
        if test is None:
            raise self.not_found(root, "images/{train,test}/<class>/*.jpg")
        return test.parent.parent

    def listing(self) -> Listing:
        """Lists the samples in the order of the lists.

        Raises:
            UserError: If the pictures, the titles or the lists asked for are not there, or cannot be read.
        """
        listing = Listing()
        listed = self._listed_samples(listing.skipped)
        texts = self._texts()
        folder = self._folder / "images"
        pictures = {
            (part, label): files_by_name(folder / part / label, ".jpg")
            for part in ("train", "test")
            for label in subfolders(folder / part)
        }
        seen = set()
        for row in listed:
            part = "test" if row.split == "test" else "train"
            picture = pictures.get((part, row.label), {}).get(row.id)
            text = texts.get(row.id)
            if row.label not in self.classes:
                listing.skipped["label without a class folder"] += 1
            elif row.id in seen:
                listing.skipped["listed twice"] += 1
            elif picture is None:
                listing.skipped["no picture"] += 1
            elif is_empty(picture):
                listing.skipped["empty picture file"] += 1
            elif text is None:
                listing.skipped["no title"] += 1
            elif not text:
                listing.skipped["empty text"] += 1
            else:
                items: dict[str, Item] = {"text": Text(text), "image": Image(Path(picture.path))}
                listing.samples.append(Sample(row.id, row.label, row.split, items, group=text.casefold()))
            seen.add(row.id)
        if self.config.split == "official":
            untitled = sum(name not in seen for names in pictures.values() for name in names)
            listing.skipped.update({"picture without a title": untitled} if untitled else {})
        if self.config.split != "qmf":
            keep_for_validation(listing, VALIDATION_SHARE)
        listing.notes += self._notes(listing.samples)
        return listing

    def _listed_samples(self, skipped: Counter[str]) -> Sequence[Listed]:
        if self.config.split == "official":
            titles, unreadable = self._titles
            skipped.update(unreadable)
            return titles
        return self._qmf if self.config.split == "qmf" else read_lists(self._lists, MLA_LISTS, MLA_SOURCE)

    def _texts(self) -> dict[str, str]:
        """The clean text of each sample; the first one if it is listed twice."""
        if self.config.text == "qmf":
            return {row.id: plain_text(row.text) for row in reversed(self._qmf)}
        return {row.id: clean_title(row.text) for row in reversed(self._titles[0])}

    @cached_property
    def _titles(self) -> tuple[list[Listed], Counter[str]]:
        """Both CSV files, and how many of their lines cannot be understood."""
        skipped: Counter[str] = Counter()
        titles = []
        parts: tuple[Literal["train", "test"], ...] = ("train", "test")
        for part in parts:
            path = self._folder / "texts" / f"{part}_titles.csv"
            if not path.is_file():
                raise self.not_found(self.config.root, f"texts/{path.name}")
            titles += read_titles(path, part, skipped)
        return titles, skipped

    @property
    def _lists(self) -> Path:
        return self.config.lists or self._folder

    @cached_property
    def _qmf(self) -> list[Listed]:
        return read_lists(self._lists, QMF_LISTS, QMF_SOURCE)

    def _notes(self, samples: Sequence[Sample]) -> list[str]:
        named = [sample.label.replace("_", " ") in sample.group for sample in samples]
        notes = [
            f"The title names the class in {sum(named) / max(len(named), 1):.0%} of the samples.",
            "Texts are page titles; MMBT reads the full text of the pages, so its accuracies do not compare.",
        ]
        if self.config.split == "mla":
            notes.append("The paper's lists have no validation split; a part of its training list is kept for it.")
        if len(self.classes) != CLASSES:
            notes.append(f"There are {len(self.classes)} class folders; the published dataset has {CLASSES}.")
        return notes


def clean_title(title: str) -> str:
    """A title as a reader of the page would see it, in one line."""
    title = _BYTES.sub(lambda match: decode_text(bytes.fromhex(match[0].replace("\\x", ""))), title)
    return plain_text(_ESCAPED.sub(lambda match: match[1] if match[1] in "'\"" else " ", title))


def read_titles(path: Path, split: Literal["train", "test"], skipped: Counter[str]) -> list[Listed]:
    """Reads ``train_titles.csv`` or ``test_titles.csv``: file name of the picture, title, class; a header or none.

    Commas that nobody quoted belong to the title.

    Args:
        path: The file.
        split: What it lists.
        skipped: Counts rows that cannot be understood.

    Raises:
        UserError: If the file is not CSV, or cannot be read.
    """
    listed = []
    reader = csv.reader(f"{line}\n" for line in read_lines(path))
    try:
        for number, row in enumerate(reader):
            name, _, suffix = row[0].strip().rpartition("/")[2].rpartition(".") if row else ("", "", "")
            # A few pictures are listed with the suffix of a text file.
            if len(row) >= 3 and name and suffix.lower() in ("jpg", "txt"):
                listed.append(Listed(name, row[-1].strip(), split, ",".join(row[1:-1])))
            elif row and number:
                skipped["unreadable line of titles"] += 1
    except csv.Error as error:
        raise UserError(
            f"this is not CSV ({error}).",
            remedy="Unpack the file from the archive again.",
            file=str(path),
            line=reader.line_num,
        ) from error
    return listed

"""The dataset ``food101``: UPMC Food-101, pictures of dishes and the titles of the pages they were found on."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

from pydantic import Field

from mlabench.datasets.listing import LeftOutError, Listing, RawSample
from mlabench.datasets.options import FileOptions, ImageText
from mlabench.datasets.published.text_image import (
    ListLine,
    TextImageDataset,
    files_by_name,
    keep_for_validation,
    make_sample,
    plain_text,
    read_lines,
    subfolders,
)
from mlabench.errors import UserError
from mlabench.media import Text, decode_text

#: Share of the published training data kept for validation: 5,000 of 67,971, as in QMF's lists.
VALIDATION_SHARE = 5_000 / 67_971
#: Number of classes in the published dataset.
CLASSES = 101

#: Bytes written out as Python shows them (``cr\xc3\xa8me``), as some titles have them.
_BYTES = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")
_ESCAPED = re.compile(r"\\([nrt'\"])")


class Food101(TextImageDataset):
    """UPMC Food-101: 90,704 pictures of 101 dishes and the titles of the web pages that show them.

    A sample is a picture and the title of its page; the label is the dish. Pictures and pages were found by a search
    engine, so labels, pictures and titles are noisy ("request rejected", "recipes on pinterest").

    What it can show: a strong modality (text) beside a weaker one (image), on a large scale.
    What it cannot show: fusion that needs both, since the title often names the class. Pages recur with several
    pictures, so many titles are in train and test alike: samples of one title form a group.

    Texts are titles without character references, tags and control characters. QMF's lists, which the MLA paper's code
    reads, too, hold them in lower case, without punctuation and with the remains of character references ("amp",
    "8217"); ``text: qmf`` takes those. Files, splits and reasons to skip: ``mlabench/datasets/README.md``.
    """

    class Config(FileOptions):
        """Options of ``food101``."""

        root: Path | None = Field(default=None, description="Folder that holds `images` and `texts`.")
        split: Literal["official", "qmf", "mla"] = Field(
            default="official", description="The folders train and test, QMF's lists, or those of the MLA paper."
        )
        text: Literal["titles", "qmf"] = Field(
            default="titles", description="Titles from the CSV files, or as QMF's lists have them."
        )
        modalities: ImageText = ("text", "image")

    config: Config
    title = "Food-101"
    source = "UPMC Food-101 (Wang et al., ICMEW 2015), collected from the web, without a licence: for research only."
    obtain = (
        "Get UPMC Food-101 from https://www.kaggle.com/datasets/gianmarco96/upmcfood101 (for research; it comes "
        "without a licence, so do not pass it on) and unpack it."
    )
    mla_lists = {"train": "my_train_food.txt", "test": "my_test_food.txt"}  # noqa: RUF012
    qmf_folder = "food101"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The class folders of the training pictures, in alphabetical order."""
        return subfolders(self.folder / "images" / "train")

    @cached_property
    def folder(self) -> Path:
        """The folder that holds ``images`` and ``texts``."""
        return self.find(
            "images/{train,test}/<class>/*.jpg",
            lambda folder: (folder / "images/train").is_dir() and (folder / "images/test").is_dir(),
            below=("upmcfood101", "food101", "data"),
        )

    def listing(self) -> Listing[RawSample]:
        """Lists the samples in the order of the lists."""
        listing = Listing[RawSample]()
        listed = self._listed_samples(listing.skipped)
        texts = self._texts()
        folder = self.folder / "images"
        pictures = {
            (part, label): files_by_name(folder / part / label, ".jpg")
            for part in ("train", "test")
            for label in subfolders(folder / part)
        }
        seen = set()
        for row in listed:
            part = "test" if row.split == "test" else "train"
            repeated = row.id in seen
            seen.add(row.id)
            with listing.counting():
                if row.label not in self.classes:
                    raise LeftOutError("label without a class folder")
                if repeated:
                    raise LeftOutError("listed twice")
                picture = pictures.get((part, row.label), {}).get(row.id)
                sample = make_sample(row.id, row.label, row.split, picture, texts.get(row.id), "no title")
                listing.samples.append(sample)
        if self.config.split == "official":
            untitled = sum(name not in seen for names in pictures.values() for name in names)
            listing.skipped.update({"picture without a title": untitled} if untitled else {})
        if self.config.split != "qmf":
            keep_for_validation(listing, VALIDATION_SHARE)
        listing.notes += self._notes(listing.samples)
        if self.config.split == "mla":
            listing.split_notes.append(
                "The paper's lists have no validation split; a part of its training list is kept for it."
            )
        return listing

    def _listed_samples(self, skipped: Counter[str]) -> Sequence[ListLine]:
        if self.config.split == "official":
            titles, unreadable = self._titles
            skipped.update(unreadable)
            return titles
        return self.qmf if self.config.split == "qmf" else self.mla

    def _texts(self) -> dict[str, str]:
        """The clean text of each sample; the first one if it is listed twice."""
        if self.config.text == "qmf":
            return {row.id: plain_text(row.text) for row in reversed(self.qmf)}
        return {row.id: clean_title(row.text) for row in reversed(self._titles[0])}

    @cached_property
    def _titles(self) -> tuple[list[ListLine], Counter[str]]:
        """Both CSV files, and how many of their lines cannot be understood."""
        skipped: Counter[str] = Counter()
        titles = []
        parts: tuple[Literal["train", "test"], ...] = ("train", "test")
        for part in parts:
            path = self.folder / "texts" / f"{part}_titles.csv"
            if not path.is_file():
                raise self.not_found(self.config.root, f"texts/{path.name}")
            titles += read_titles(path, part, skipped)
        return titles, skipped

    def _notes(self, samples: Sequence[RawSample]) -> list[str]:
        titles = (cast(Text, sample.items["text"]).value.casefold() for sample in samples)
        named = [sample.label.replace("_", " ") in title for sample, title in zip(samples, titles, strict=True)]
        notes = [
            f"The title names the class in {sum(named) / max(len(named), 1):.0%} of the samples.",
            "Texts are page titles; MMBT reads the full text of the pages, so its accuracies do not compare.",
        ]
        if len(self.classes) != CLASSES:
            notes.append(f"There are {len(self.classes)} class folders; the published dataset has {CLASSES}.")
        return notes


def clean_title(title: str) -> str:
    """A title as a reader of the page would see it, in one line."""
    title = _BYTES.sub(lambda match: decode_text(bytes.fromhex(match[0].replace("\\x", ""))), title)
    return plain_text(_ESCAPED.sub(lambda match: match[1] if match[1] in "'\"" else " ", title))


def read_titles(path: Path, split: Literal["train", "test"], skipped: Counter[str]) -> list[ListLine]:
    """Reads ``train_titles.csv`` or ``test_titles.csv``: file name of the picture, title, class; a header or none.

    Commas that nothing quotes belong to the title. Rows that cannot be understood are counted.
    """
    listed = []
    reader = csv.reader(f"{line}\n" for line in read_lines(path))
    try:
        for number, row in enumerate(reader):
            name, _, suffix = row[0].strip().rpartition("/")[2].rpartition(".") if row else ("", "", "")
            # A few pictures are listed with the suffix of a text file.
            if len(row) >= 3 and name and suffix.lower() in ("jpg", "txt"):
                listed.append(ListLine(name, row[-1].strip(), split, ",".join(row[1:-1])))
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

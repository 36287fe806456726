"""A small copy of UPMC Food-101 in the layout of its archive, with the lists of QMF and MLA."""

import csv
import html
import json
import re
import shutil
from pathlib import Path

from tests.datasets.media_files import write_picture

CLASSES = ("apple_pie", "hot_and_sour_soup", "sushi")
#: Training and test pictures of each class.
SIZES = {"train": 21, "test": 3}
#: Every this many training pictures of a class, one is in QMF's validation list.
DEV_EVERY = 7

#: File name, title and class, as in the CSV files.
Row = tuple[str, str, str]


def make_tree(root: Path) -> Path:
    """Writes pictures and titles of three classes, and returns the folder that holds ``images``."""
    folder = root / "upmcfood101"
    for number, label in enumerate(CLASSES):
        original = write_picture(root / f"{label}.jpg", colour=(80 * number, 200, 40), size=(32, 24))
        for name, _, _ in (row for part in SIZES for row in rows(part) if row[2] == label):
            part = "train" if int(re.findall(r"\d+", name)[0]) < SIZES["train"] else "test"
            path = folder / "images" / part / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original, path)
        original.unlink()
    (folder / "texts").mkdir()
    for part in SIZES:
        write_titles(folder / "texts" / f"{part}_titles.csv", rows(part))
    return folder


def rows(part: str) -> list[Row]:
    """The lines of a CSV file: titles as web pages have them."""
    first = 0 if part == "train" else SIZES["train"]
    return [
        (f"{label}_{number}.jpg", _title(label, number), label)
        for label in CLASSES
        for number in range(first, first + SIZES[part])
    ]


def _title(label: str, number: int) -> str:
    name = label.replace("_", " ").title()
    return (
        f"{name} No. {number}, the best &#8211; Grandma&#39;s",
        f"Recipe {number} |  {name}",
        f'How to cook "{label[:3]}", {number} ways',
    )[number % 3]


def write_titles(path: Path, lines: list[Row], header: tuple[str, ...] = ()) -> None:
    """Writes a CSV file as pandas does: quoted where it must be, with a header or without one."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([header, *lines] if header else lines)


def write_qmf_lists(folder: Path) -> None:
    """QMF's three lists: titles in lower case, without punctuation; ids with the class twice."""
    lists: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for part in SIZES:
        for number, (name, title, label) in enumerate(rows(part)):
            split = "dev" if part == "train" and number % DEV_EVERY == 0 else part
            text = re.sub(r"[^\w|]+", " ", title).lower()
            line = {"id": f"{label}_{name}", "label": label, "text": text, "img": f"images/{part}/{label}/{name}"}
            lists[split].append(json.dumps(line))
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in lists.items():
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_mla_lists(folder: Path) -> None:
    """MLA's two lists: without QMF's validation samples, and without the last test sample."""
    folder.mkdir(parents=True, exist_ok=True)
    train = [row for number, row in enumerate(rows("train")) if number % DEV_EVERY]
    for part, lines in (("train", train), ("test", rows("test")[:-1])):
        text = "".join(f"{name} {label}\n" for name, _, label in lines)
        (folder / f"my_{part}_food.txt").write_text(text, encoding="utf-8")


def readable(title: str) -> str:
    """What a title of :func:`rows` reads on the page."""
    return re.sub(" +", " ", html.unescape(title))

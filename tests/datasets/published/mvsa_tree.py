"""A small copy of MVSA-Single in the layout of its archive, with the lists of QMF and MLA."""

import json
import shutil
from pathlib import Path

from tests.datasets.media_files import write_picture

LABELS = ("negative", "neutral", "positive")
#: Tweets of each label whose picture has the same one.
AGREEING = 20

#: ID, label of the text, label of the picture.
Row = tuple[str, str, str]


def make_tree(root: Path) -> Path:
    """Writes tweets of every pair of labels, and returns the folder that holds ``data``."""
    folder = root / "MVSA_Single"
    (folder / "data").mkdir(parents=True)
    original = write_picture(root / "tweet.jpg", size=(32, 24))
    for name, text, image in rows():
        shutil.copyfile(original, folder / "data" / f"{name}.jpg")
        (folder / "data" / f"{name}.txt").write_bytes(f"{tweet(name, text, image)} \r\n".encode())
    original.unlink()
    write_labels(folder, rows())
    return folder


def rows() -> list[Row]:
    """The lines of ``labelResultAll.txt``: agreeing pairs, then one of every other kind."""
    agreeing = [(label, label) for _ in range(AGREEING) for label in LABELS]
    differing = [(text, image) for text in LABELS for image in LABELS if text != image]
    return [(str(number), text, image) for number, (text, image) in enumerate(agreeing + differing, start=1)]


def agreeing() -> list[Row]:
    """The pairs whose labels are equal."""
    return [row for row in rows() if row[1] == row[2]]


def tweet(name: str, text: str, image: str) -> str:
    """The text of a tweet, as people write them."""
    return f'RT @user{name}: so {text} today & "{image}" #tag http://t.co/{name}'


def write_labels(folder: Path, lines: list[Row]) -> None:
    """Writes ``labelResultAll.txt``."""
    table = "".join(f"{name}\t{text},{image}\n" for name, text, image in lines)
    (folder / "labelResultAll.txt").write_text(f"ID\ttext,image\n{table}")


def split_of(number: int) -> str:
    """Where QMF's lists put the agreeing pair at a place."""
    return ("train", "train", "train", "dev", "test")[number % 5]


def write_qmf_lists(folder: Path) -> None:
    """QMF's three lists: agreeing pairs only."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "dev", "test"):
        lines = [
            json.dumps({"id": name, "label": text, "text": tweet(name, text, image), "img": f"data/{name}.jpg"})
            for number, (name, text, image) in enumerate(agreeing())
            if split_of(number) == split
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")


def write_fair_folds(folder: Path) -> dict[str, str]:
    """The ten published folds of the tweets whose labels do not contradict each other. Returns the fold of each."""
    polar = [row for row in rows() if set(row[1:]) != {"negative", "positive"}]
    (folder / "splits").mkdir(parents=True)
    (folder / "valid_pairlist.txt").write_text("".join(f"{name},1,0,1\n" for name, _, _ in polar))
    for fold in range(10):
        lines = "".join(f"{number}\n" for number in range(len(polar)) if number % 10 == fold)
        (folder / "splits" / f"test_{fold + 1}.txt").write_text(lines)
    return {name: str(number % 10 + 1) for number, (name, _, _) in enumerate(polar)}


def write_mla_lists(folder: Path) -> None:
    """MLA's two lists."""
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        lines = [
            f"{name}.jpg {text}\n" for number, (name, text, _) in enumerate(agreeing()) if split_of(number) == split
        ]
        (folder / f"my_{split}_mvsa.txt").write_text("".join(lines))

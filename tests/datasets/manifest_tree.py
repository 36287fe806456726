"""A small folder of your own data: a table, and files of every kind beside it."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from tests.datasets.media_files import write_picture, write_video, write_wav

#: What the columns of the table consist of.
MODALITIES = {"photo": "image", "clip": "video", "speech": "audio", "caption": "text", "gaze": "features"}
#: Shape of the features in the column ``gaze``.
SHAPE = (2, 3)

Rows = list[dict[str, str]]


def make_tree(root: Path) -> Path:
    """Writes 18 samples below ``root``, six in each split, and returns the folder of ``table.csv``."""
    folder = root / "my data"
    rows = make_rows()
    for number, row in enumerate(rows):
        write_picture(folder / row["photo"], colour=(10 * number, 0, 0))
        write_wav(folder / row["speech"], seconds=0.2)
        write_video(folder / row["clip"], seconds=1.0, rate=2, sound=False)
        (folder / row["gaze"]).parent.mkdir(exist_ok=True)
        np.save(folder / row["gaze"], gaze(number))
    write_csv(folder / "table.csv", rows)
    return folder


def make_rows(per_split: int = 6) -> Rows:
    """The rows of the table: two classes that take turns, two samples to a group."""
    rows = []
    for number in range(3 * per_split):
        name = f"{number:03}"
        rows.append(
            {
                "id": name,
                "label": ("good", "bad")[number % 2],
                "split": ("train", "validation", "test")[number // per_split],
                "group": f"speaker {number // 2}",
                "photo": f"photos/{name} a.jpg",
                "clip": f"clips/{name}.mp4",
                "speech": f"speech/{name}.wav",
                "caption": f'Sample {number}, "quoted"; naïve\nand long',
                "gaze": f"gaze/{name}.npy",
            }
        )
    return rows


def gaze(number: int) -> np.ndarray:
    """The features of one sample. float32 ``[*SHAPE]``"""
    return np.random.default_rng(number).normal(size=SHAPE).astype(np.float32)


def write_csv(path: Path, rows: Rows, delimiter: str = ",", encoding: str = "utf-8", end: str = "\n") -> Path:
    """Writes a table as spreadsheets do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Writes a table as pandas does."""
    parquet.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    return path

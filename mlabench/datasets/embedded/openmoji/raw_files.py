"""Reads OpenMoji as the npm package ``openmoji`` lays it out.

An emoji is a line of ``data/openmoji.csv`` (code, Unicode's group, name and keywords) and a picture,
``color/svg/CODE.svg``. The group is the class. A sample is an emoji of Unicode's that is no variant by skin tone of
another.

Listing needs the standard library only; decoding needs ``mlabench[prepare]``.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets.embedded.networks import PICTURE_SIZE
from mlabench.datasets.embedded.rebuild import find_folder, group_twins, normalise
from mlabench.datasets.listing import LeftOutError, Listing
from mlabench.errors import UserError
from mlabench.media import pictures

#: Unicode's groups, the largest first.
CLASSES = (
    "people-body",
    "flags",
    "objects",
    "symbols",
    "travel-places",
    "smileys-emotion",
    "animals-nature",
    "food-drink",
    "activities",
)

OBTAIN = "Run `mlabench data get openmoji`, or unpack npm's openmoji 17.0.0 and pass its folder `package`."

#: Why emoji of other groups are left out.
_OTHERS = {
    "component": "part of other emoji: a skin tone or hair",
    "extras-openmoji": "extra of OpenMoji's, not in Unicode",
    "extras-unicode": "character of Unicode's that is no emoji",
}
_COLUMNS = ("hexcode", "group", "annotation", "tags", "skintone")
_CODE = re.compile(r"[0-9A-F]+(-[0-9A-F]+)*")
#: What a code has more than that of its neutral twin: a form of display, a gender, a direction.
_VARIANT = re.compile(r"-FE0F|-200D-(2640|2642|27A1)\b")
#: A man or a woman, who stand for a person.
_GENDERED = re.compile(r"\b(1F468|1F469)\b")


@dataclass(frozen=True)
class Emoji:
    """One emoji, which is one sample; ``id`` is its code, e.g. ``1F9D1-200D-1F393``."""

    id: str
    label: str
    picture: Path
    name: str
    tags: str
    concept: str


def find_openmoji(root: Path | None = None) -> Path:
    """The folder that holds ``data`` and ``color``; see :func:`mlabench.datasets.embedded.rebuild.find_folder`."""
    if root and (root / "package").is_dir():
        root = root / "package"
    return find_folder(
        root,
        Path("data/OpenMoji"),
        "folder with data/openmoji.csv and color/svg",
        OBTAIN,
        lambda folder: (folder / "data/openmoji.csv").is_file() and (folder / "color/svg").is_dir(),
    )


def list_emoji(folder: Path) -> Listing[Emoji]:
    """Lists the emoji in the order of the table."""
    listing = Listing[Emoji]()
    found: dict[str, Emoji] = {}
    for row in _rows(folder / "data/openmoji.csv"):
        with listing.counting():
            emoji = _emoji(folder, row)
            if emoji.id in found:
                raise LeftOutError("listed twice")
            found[emoji.id] = emoji
    if not found:
        raise UserError(f"{folder} holds no emoji with a picture, a name and tags.", remedy=OBTAIN)
    concept = concepts((emoji.id, emoji.name, emoji.picture.read_bytes()) for emoji in found.values())
    listing.samples = [replace(emoji, concept=concept[emoji.id]) for emoji in found.values()]
    return listing


def _rows(table: Path) -> Iterable[Mapping[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise UserError(f"there is no column {missing[0]!r}.", remedy=OBTAIN, file=str(table))
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot be read ({error}).", remedy=OBTAIN, file=str(table)) from error


def _emoji(folder: Path, row: Mapping[str, str]) -> Emoji:
    code, label = row["hexcode"], row["group"]
    if label not in CLASSES:
        raise LeftOutError(_OTHERS.get(label, "outside the nine groups"))
    if row["skintone"]:
        raise LeftOutError("variant by skin tone")
    if not _CODE.fullmatch(code):
        raise LeftOutError("without a code")
    name, tags = (" ".join(row[column].split()) for column in ("annotation", "tags"))
    if not name or not tags:
        raise LeftOutError("without a name or tags")
    picture = folder / "color/svg" / f"{code}.svg"
    if not picture.is_file():
        raise LeftOutError("without a picture")
    return Emoji(code, label, picture, name, tags, concept="")


def concepts(emoji: Iterable[tuple[str, str, bytes]]) -> dict[str, str]:
    """The concept of each emoji, from its code, name and picture file.

    One are those whose pictures are the same file, whose names are equal but for colours, or whose codes differ in
    gender or direction only.
    """
    code_of: dict[str, str] = {}
    keys: dict[str, list[str]] = {}
    for code, name, picture in emoji:
        code_of[code] = name
        digest = hashlib.sha256(picture).hexdigest()
        neutral = _GENDERED.sub("1F9D1", _VARIANT.sub("", code))
        keys.setdefault(name, []).extend((code, f"code:{neutral}", f"name:{normalise(name)}", f"picture:{digest}"))
    concept = group_twins(keys, Path(__file__).with_name("near_identical.txt"))
    return {code: concept[name] for code, name in code_of.items()}


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Draws an emoji on a white square. uint8 RGB ``[224, 224, 3]``"""
    return pictures.resize(pictures.read_picture(path), PICTURE_SIZE, "contain").transpose(1, 2, 0)

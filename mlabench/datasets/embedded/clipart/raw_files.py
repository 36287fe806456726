"""Reads Open Clip Art as the Debian packages ``openclipart-png`` and ``openclipart-svg`` lay it out.

A picture is ``svg/NAME.svg``, drawn once more as ``png/NAME.png``; the SVG states its title and licence
in a block of RDF. The folder is the class. A sample is a picture that is in the Public Domain, has a
title and belongs to one class only.

Listing needs the standard library only; decoding needs ``mlabench[prepare]``.
"""

from __future__ import annotations

import hashlib
import html
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets.embedded.networks import PICTURE_SIZE
from mlabench.datasets.embedded.rebuild import find_folder, group_twins, how_to_get, normalise
from mlabench.datasets.listing import LeftOutError, Listing
from mlabench.errors import UserError
from mlabench.media import UnreadableError, pictures

#: The classes, the largest first, and the folders that each consists of.
FOLDERS = {
    "food": ("food",),
    "people": ("people",),
    "animals": ("animals",),
    "recreation": ("recreation",),
    "geography": ("geography",),
    "tools": ("tools",),
    "office": ("office",),
    "transportation": ("transportation",),
    "electronics": ("electronics", "computer/hardware"),
    "plants": ("plants",),
    "buildings": ("buildings",),
    "clothing": ("people/clothing",),
    "education": ("education",),
}
CLASSES = tuple(FOLDERS)
#: Folders of series whose pictures hardly differ; their pictures are left out wherever else they lie, too.
SERIES = ("recreation/games/cards", "transportation/roadsigns", "transportation/aiga-symbols")

#: The largest PNG that is decoded, where the page of an apple has 168 million. Larger ones are drawn from their SVG.
PIXELS = 50_000_000

PACKAGES = ("openclipart-png", "openclipart-svg")
OBTAIN = how_to_get(PACKAGES)

_LABELS = {folder: label for label, folders in FOLDERS.items() for folder in folders} | {name: name for name in SERIES}
_CC, _DC = "{http://web.resource.org/cc/}", "{http://purl.org/dc/elements/1.1/}"
_SVG, _HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
#: What the licence field of a picture in the Public Domain holds.
_PUBLIC_DOMAIN = {"http://web.resource.org/cc/PublicDomain", "Public Domain"}


@dataclass(frozen=True)
class Drawing:
    """One drawing, which is one sample; ``id`` is its path without a suffix, e.g. ``animals/birds/crow_01``.

    ``path`` is the PNG, or the SVG where there is no PNG of a reasonable size.
    """

    id: str
    label: str
    path: Path
    title: str
    concept: str


def find_clipart(root: Path | None = None) -> Path:
    """The folder that holds ``png`` and ``svg``; see :func:`mlabench.datasets.embedded.rebuild.find_folder`."""
    return find_folder(
        root,
        Path("/usr/share/openclipart"),
        "folder with png and svg",
        OBTAIN,
        lambda folder: (folder / "png").is_dir() and (folder / "svg").is_dir(),
    )


def list_drawings(folder: Path) -> Listing[Drawing]:
    """Lists the drawings by id."""
    listing = Listing[Drawing]()
    owners: dict[str, set[str]] = {}
    found: list[tuple[Drawing, str]] = []
    for svg in sorted((folder / "svg").rglob("*.svg")):
        with listing.counting():
            drawing = _drawing(folder, svg)
            digest = _digest(drawing.path)
            owners.setdefault(digest, set()).add(drawing.label)
            found.append((drawing, digest))
    kept: dict[str, Drawing] = {}
    for drawing, digest in found:
        with listing.counting():
            _require_one_class(owners[digest], repeated=digest in kept)
            kept[digest] = replace(drawing, title=_read_title(folder / "svg" / f"{drawing.id}.svg"))
    if not kept:
        raise UserError(f"{folder} holds no picture with a title.", remedy=OBTAIN)
    concept = concepts((drawing.id, drawing.title) for drawing in kept.values())
    listing.samples = [replace(drawing, concept=concept[drawing.id]) for drawing in kept.values()]
    return listing


def _drawing(folder: Path, svg: Path) -> Drawing:
    name = svg.relative_to(folder / "svg").with_suffix("").as_posix()
    label = _label(name)
    if not label:
        raise LeftOutError("outside the thirteen classes")
    png = folder / "png" / f"{name}.png"
    return Drawing(name, label, png if _is_usable(png) else svg, title="", concept="")


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise LeftOutError("unreadable picture") from error


def _require_one_class(owners: set[str], *, repeated: bool) -> None:
    if owners & set(SERIES):
        raise LeftOutError("one of a series of near-identical pictures")
    if len(owners) > 1:
        raise LeftOutError("in more than one class")
    if repeated:
        raise LeftOutError("the same picture again")


def _label(name: str) -> str:
    """The class, or the series, of the innermost folder that has one; empty if none has."""
    folders = (folder.as_posix() for folder in PurePosixPath(name).parents)
    return next((_LABELS[folder] for folder in folders if folder in _LABELS), "")


def _is_usable(png: Path) -> bool:
    """Whether there is a PNG, by its first bytes, that has at most :data:`PIXELS`."""
    try:
        with png.open("rb") as file:
            signature, width, height = struct.unpack(">8s8x2I", file.read(24))
    except (OSError, struct.error):
        return False
    return bool(signature == b"\x89PNG\r\n\x1a\n" and width * height <= PIXELS)


def _read_title(svg: Path) -> str:
    """The title of a picture in the Public Domain, from its block of RDF; others are left out."""
    try:
        root = ET.parse(svg).getroot()  # noqa: S314  (expat itself stops entities that expand without end)
    except (OSError, ET.ParseError, ValueError) as error:
        raise LeftOutError("unreadable description") from error
    works = list(root.iter(f"{_CC}Work"))
    licences = {value for work in works for licence in work.iter(f"{_CC}license") for value in licence.attrib.values()}
    if not licences or licences - _PUBLIC_DOMAIN:
        raise LeftOutError("not stated to be in the Public Domain")
    if any(not image.get(_HREF, "data:").startswith("data:") for image in root.iter(f"{_SVG}image")):
        raise LeftOutError("with an image that is in another file")
    # Some titles were escaped twice.
    title = " ".join(html.unescape(works[0].findtext(f"{_DC}title", default="")).split())
    if not title:
        raise LeftOutError("without a title")
    return title


#: How the titles and the names of twins differ: numbers, and black and white.
_VARIANT = re.compile(r"\b(b and w|b w|bw|colou?r|contour|ganson)\b|\d+\b")


def concepts(titles: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The concept by id: titles or names of files are equal, but for case, articles, colours and numbers."""
    keys = {name: [_normalise(title), f"file:{_normalise(PurePosixPath(name).name)}"] for name, title in titles}
    return group_twins(keys, Path(__file__).with_name("near_identical.txt"))


def _normalise(title: str) -> str:
    text = normalise(title)
    return " ".join(_VARIANT.sub(" ", text).split()) or text


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Decodes a PNG or SVG and fits it into a white square, its margins cut off. uint8 RGB ``[224, 224, 3]``"""
    picture = pictures.read_picture(path)
    # Many are small drawings on a large page.
    drawn = (picture != 255).any(axis=2)
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        raise UnreadableError("blank picture")
    picture = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return pictures.resize(picture, PICTURE_SIZE, "contain").transpose(1, 2, 0)

"""Reads Tux Paint's stamps as the Debian package ``tuxpaint-stamps-default`` lays them out.

A stamp is a picture (``NAME.png`` or ``NAME.svg``), its description in many languages (``NAME.txt``: the
first line is English, the others read ``xx.utf8=...``) and, for some languages, a person reading that
description aloud (``NAME_desc_xx.ogg``). The top folder is the class. A sample is a (stamp, language)
pair that has all three.

Listing needs the standard library only; decoding needs ``mlabench[prepare]``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets.embedded.networks import PICTURE_SIZE, SPEECH_RATE
from mlabench.datasets.embedded.rebuild import find_folder, group_twins, how_to_get, normalise
from mlabench.datasets.listing import LeftOutError, Listing
from mlabench.errors import UserError
from mlabench.media import Audio, UnreadableError
from mlabench.media.pictures import contain, decode_picture
from mlabench.media.sound import read_sound

CLASSES = ("symbols", "animals", "town", "food", "household", "seasonal", "vehicles", "clothes", "plants", "people")
#: The languages with at least 300 samples, the most frequent first.
LANGUAGES = ("fr", "ru", "ca", "ro", "bg", "es", "be", "el", "da")

#: Longer recordings are cut here, in seconds.
SPEECH_LIMIT = 6.0

PACKAGES = ("tuxpaint-stamps-default",)
OBTAIN = how_to_get(PACKAGES)

_MIRRORED = re.compile(r"_(mirror|flip|mirror_flip)$")
_TRANSLATION = re.compile(r"([A-Za-z_@]+)\.utf8=(.*)")


@dataclass(frozen=True, eq=False)
class Stamp:
    """One stamp; ``name`` is its path without a suffix, e.g. ``animals/marsupials/kangaroo``."""

    name: str
    label: str
    picture: Path
    english: str
    texts: Mapping[str, str]
    concept: str


@dataclass(frozen=True)
class SpokenStamp:
    """A stamp in one language, which is one sample; ``id`` is e.g. ``animals/marsupials/kangaroo:fr``."""

    id: str
    label: str
    concept: str
    stamp: Stamp
    language: str
    #: What the recording says.
    text: str
    speech: Path


def find_stamps(root: Path | None = None) -> Path:
    """The folder that holds those of the classes; see :func:`mlabench.datasets.embedded.rebuild.find_folder`."""
    return find_folder(
        root,
        Path("/usr/share/tuxpaint/stamps"),
        "stamps folder",
        OBTAIN,
        lambda folder: any((folder / label).is_dir() for label in CLASSES),
    )


def list_samples(folder: Path) -> Listing[SpokenStamp]:
    """Lists the samples by stamp name, then by language in the order of :data:`LANGUAGES`."""
    listing = Listing[SpokenStamp]()
    found: list[Stamp] = []
    for name in _names(folder):
        with listing.counting():
            found.append(_stamp(folder, name))
    concept = concepts((stamp.name, stamp.english, stamp.picture.read_bytes()) for stamp in found)
    for stamp in (replace(stamp, concept=concept[stamp.name]) for stamp in found):
        for language in LANGUAGES:
            with listing.counting():
                listing.samples.append(_spoken(folder, stamp, language))
    if not listing.samples:
        raise UserError(f"{folder} holds no stamp with picture, text and recording.", remedy=OBTAIN)
    return listing


def _spoken(folder: Path, stamp: Stamp, language: str) -> SpokenStamp:
    speech = folder / f"{stamp.name}_desc_{language}.ogg"
    if not speech.is_file():
        raise LeftOutError("no recording in this language")
    if not speech.stat().st_size:
        raise LeftOutError("empty recording")
    if language not in stamp.texts:
        raise LeftOutError("no text in this language")
    name = f"{stamp.name}:{language}"
    return SpokenStamp(name, stamp.label, stamp.concept, stamp, language, stamp.texts[language], speech)


def _names(folder: Path) -> list[str]:
    names = {
        path.relative_to(folder).with_suffix("").as_posix()
        for pattern in ("*.txt", "*.png", "*.svg")
        for path in folder.rglob(pattern)
        if not _MIRRORED.search(path.stem)
    }
    return sorted(names)


def _stamp(folder: Path, name: str) -> Stamp:
    label = name.partition("/")[0]
    if label not in CLASSES:
        raise LeftOutError("stamp outside the ten classes")
    # A PNG has its pixels fixed, whereas an SVG's depend on the renderer.
    pictures = [folder / f"{name}.png", folder / f"{name}.svg"]
    picture = next((path for path in pictures if path.is_file() and path.stat().st_size), None)
    if picture is None:
        raise LeftOutError("stamp without a picture")
    texts = _read_texts(folder / f"{name}.txt")
    if "en" not in texts:
        raise LeftOutError("stamp without a description")
    return Stamp(name, label, picture, texts["en"], texts, concept="")


def _read_texts(path: Path) -> dict[str, str]:
    """Descriptions by language code; empty if there is no file or it is not UTF-8."""
    try:
        english, *others = path.read_text(encoding="utf-8-sig").splitlines() or [""]
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    texts = {match[1]: match[2] for line in others if (match := _TRANSLATION.fullmatch(line.strip()))}
    texts = {language: text for language, text in texts.items() if language in LANGUAGES} | {"en": english}
    return {language: text.strip() for language, text in texts.items() if text.strip()}


def concepts(stamps: Iterable[tuple[str, str, bytes]]) -> dict[str, str]:
    """The concept of each stamp, from its name, English description and picture file: equal ones share it."""
    keys = {
        name: [normalise(english), f"picture:{hashlib.sha256(picture).hexdigest()}"]
        for name, english, picture in stamps
    }
    return group_twins(keys, Path(__file__).with_name("near_identical.txt"))


def read_picture(path: Path, size: int = PICTURE_SIZE) -> NDArray[np.uint8]:
    """Decodes a PNG or SVG, enlarged or reduced to fit into a white square. uint8 RGB ``[224, 224, 3]``"""
    try:
        return np.asarray(contain(decode_picture(path, svg_width=2 * size), size))
    except UnreadableError as error:
        raise UnreadableError("stamp with an unreadable picture") from error


def read_speech(path: Path) -> NDArray[np.float32]:
    """Decodes a recording: mono, at most :data:`SPEECH_LIMIT` seconds at 16 kHz. float32 ``[T]``"""
    try:
        speech = read_sound(Audio(path, end=SPEECH_LIMIT), SPEECH_RATE)
    except UnreadableError as error:
        raise UnreadableError("unreadable recording") from error
    if not speech.any():
        raise UnreadableError("silent recording")
    return speech

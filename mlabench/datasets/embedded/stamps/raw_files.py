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
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlabench.datasets.splits import join_groups
from mlabench.errors import UserError
from mlabench.media import Audio, UnreadableError
from mlabench.media.pictures import contain, decode_picture
from mlabench.media.sound import read_sound

CLASSES = (
    "symbols",
    "animals",
    "town",
    "food",
    "household",
    "seasonal",
    "vehicles",
    "clothes",
    "plants",
    "people",
)
#: The languages with at least 300 samples, the most frequent first.
LANGUAGES = ("fr", "ru", "ca", "ro", "bg", "es", "be", "el", "da")

#: Side of a decoded picture in pixels.
PICTURE_SIZE = 224
#: Sampling rate of decoded speech in hertz.
SPEECH_RATE = 16_000
#: Longer recordings are cut here, in seconds.
SPEECH_LIMIT = 6.0

PACKAGE = "tuxpaint-stamps-default"
REMEDY = (
    f"Run `apt-get download {PACKAGE} && dpkg -x {PACKAGE}_*.deb DIR` (no root needed) and pass DIR, "
    "or the folder `stamps` itself."
)
_INSTALLED = Path("/usr/share/tuxpaint/stamps")

_MIRRORED = re.compile(r"_(mirror|flip|mirror_flip)$")
_TRANSLATION = re.compile(r"([A-Za-z_@]+)\.utf8=(.*)")


@dataclass(frozen=True, eq=False)
class Stamp:
    """One stamp.

    Attributes:
        name: Path below the stamps folder without a suffix, e.g. ``animals/marsupials/kangaroo``.
        picture: The PNG, or the SVG where there is no PNG.
        english: Description in English.
        texts: Description by language code, for the languages of :data:`LANGUAGES`.
        concept: What the stamp shares with its twins; see :func:`concepts`.
    """

    name: str
    picture: Path
    english: str
    texts: Mapping[str, str]
    concept: str

    @property
    def label(self) -> str:
        """The class: the top folder."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Sample:
    """A stamp in one language."""

    stamp: Stamp
    language: str
    speech: Path

    @property
    def id(self) -> str:
        """Readable and stable, e.g. ``animals/marsupials/kangaroo:fr``."""
        return f"{self.stamp.name}:{self.language}"

    @property
    def text(self) -> str:
        """The description in the sample's language, which is what the recording says."""
        return self.stamp.texts[self.language]


@dataclass
class Listing:
    """What a stamps folder holds.

    Attributes:
        samples: In the order of :func:`list_samples`.
        skipped: Number of stamps or (stamp, language) pairs left out, by reason.
    """

    samples: list[Sample] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def find_stamps(root: Path | None = None) -> Path:
    """The stamps folder: of the installed package, of one unpacked below ``root``, or ``root`` itself.

    Args:
        root: Where to look; ``None`` for the installed package.

    Raises:
        UserError: If there is none.
    """
    candidates = [root / "usr/share/tuxpaint/stamps", root / "stamps", root] if root else [_INSTALLED]
    for folder in candidates:
        if any((folder / label).is_dir() for label in CLASSES):
            return folder
    where = f"no stamps folder in {root}" if root else f"{PACKAGE} is not installed"
    raise UserError(f"{where} (looked for {', '.join(map(str, candidates))}).", remedy=REMEDY)


def list_samples(folder: Path) -> Listing:
    """Lists the samples by stamp name, then by language in the order of :data:`LANGUAGES`.

    Args:
        folder: From :func:`find_stamps`.

    Raises:
        UserError: If not a single sample is complete.
    """
    listing = Listing()
    found = list(_stamps(folder, listing.skipped))
    concept = concepts((stamp.name, stamp.english, stamp.picture.read_bytes()) for stamp in found)
    for stamp in (replace(stamp, concept=concept[stamp.name]) for stamp in found):
        for language in LANGUAGES:
            speech = folder / f"{stamp.name}_desc_{language}.ogg"
            if not speech.is_file():
                listing.skipped["no recording in this language"] += 1
            elif not speech.stat().st_size:
                listing.skipped["empty recording"] += 1
            elif language not in stamp.texts:
                listing.skipped["no text in this language"] += 1
            else:
                listing.samples.append(Sample(stamp, language, speech))
    if not listing.samples:
        raise UserError(f"{folder} holds no stamp with picture, text and recording.", remedy=REMEDY)
    return listing


def _stamps(folder: Path, skipped: Counter[str]) -> Iterator[Stamp]:
    names = {
        path.relative_to(folder).with_suffix("").as_posix()
        for pattern in ("*.txt", "*.png", "*.svg")
        for path in folder.rglob(pattern)
        if not _MIRRORED.search(path.stem)
    }
    for name in sorted(names):
        if name.partition("/")[0] not in CLASSES:
            skipped["stamp outside the ten classes"] += 1
            continue
        # A PNG has its pixels fixed, whereas an SVG's depend on the renderer.
        pictures = [folder / f"{name}.png", folder / f"{name}.svg"]
        picture = next((path for path in pictures if path.is_file() and path.stat().st_size), None)
        if picture is None:
            skipped["stamp without a picture"] += 1
            continue
        texts = _read_texts(folder / f"{name}.txt")
        if "en" not in texts:
            skipped["stamp without a description"] += 1
            continue
        yield Stamp(name, picture, texts["en"], texts, concept="")


def _read_texts(path: Path) -> dict[str, str]:
    """Descriptions by language code; empty if there is no file or it is not UTF-8."""
    try:
        english, *others = path.read_text(encoding="utf-8-sig").splitlines() or [""]
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    texts = {match[1]: match[2] for line in others if (match := _TRANSLATION.fullmatch(line.strip()))}
    texts = {language: text for language, text in texts.items() if language in LANGUAGES} | {"en": english}
    return {language: text.strip() for language, text in texts.items() if text.strip()}


_COLOURS = "red|orange|yellow|green|blue|purple|pink|brown|black|white|gr[ae]y|gold|golden|silver"
#: A colour in front of something, alone or in a list, so that "an orange" keeps its name.
_COLOURED = re.compile(rf"\b(?:{_COLOURS})(?: and (?:{_COLOURS}))*\b(?= \w)")
_ARTICLE = re.compile(r"^(?:a pair of|an?|the|some|two)\b(?= \w)")

#: Pictures that are re-coloured, mirrored or differ in a small sign only, although their descriptions do
#: not tell. Found by comparing the outlines and edges of all pairs of pictures, plain and
#: mirrored, and then by looking at them.
_FAMILIES = (
    r"clothes/bluejeans\d",
    r"people/body_parts/manga_eye_(left|right)",
    r"seasonal/christmas/(elfhat|santahat2)",
    r"seasonal/hanukkah/dreydl.*",
    r"symbols/alphabets/english/\w+/lowercase/[bdpq]_\w+",
    r"symbols/alphabets/english/\w+/(lowercase/[il]|uppercase/I)_\w+",
    r"symbols/faces/\w+",
    r"symbols/math/operators/op[6-9]_\w+",
    r"symbols/money/euro/coins/\d+",
    r"symbols/music/note_(025|050)_[ab]",
    r"town/roadsigns/(crossroads|t-junction)",
    r"town/roadsigns/stoplight_\w+",
)


def normalise(description: str) -> str:
    """An English description without case, punctuation, articles and colours.

    Re-coloured twins ("A red flag.", "A white flag.") thus share one form.
    """
    text = unicodedata.normalize("NFKC", description).casefold()
    text = " ".join(re.sub(r"[^\w\s]|_", " ", text).split())
    for pattern in (_ARTICLE, _COLOURED):
        text = " ".join(pattern.sub(" ", text).split())
    return text


def concepts(stamps: Iterable[tuple[str, str, bytes]]) -> dict[str, str]:
    """Groups stamps that must not be torn apart by a split.

    Two stamps share a concept if they have the same normalised description, the same picture file or
    belong to the same family of near-identical pictures, directly or through others.

    Args:
        stamps: Name, English description and picture file of each stamp.

    Returns:
        For each stamp's name its concept: the alphabetically first description of the group.
    """
    keys = {}
    for name, english, picture in stamps:
        families = [f"family:{family}" for family in _FAMILIES if re.fullmatch(family, name)]
        keys[name] = [normalise(english), f"picture:{hashlib.sha256(picture).hexdigest()}", *families]
    return join_groups(keys)


def read_picture(path: Path, size: int = PICTURE_SIZE) -> NDArray[np.uint8]:
    """Decodes a PNG or SVG, enlarged or reduced to fit into a white square.

    Returns:
        RGB values. uint8 ``[size, size, 3]``

    Raises:
        UnreadableError: If the file is damaged or the renderer refuses it.
        UserError: If ``mlabench[prepare]`` is not installed.
    """
    try:
        return np.asarray(contain(decode_picture(path, svg_width=2 * size), size))
    except UnreadableError as error:
        raise UnreadableError("stamp with an unreadable picture") from error


def read_speech(path: Path) -> NDArray[np.float32]:
    """Decodes a recording.

    Returns:
        Mono waveform at :data:`SPEECH_RATE`, at most :data:`SPEECH_LIMIT` seconds. float32 ``[T]``

    Raises:
        UnreadableError: If the file is damaged or holds no sound.
        UserError: If ``mlabench[prepare]`` is not installed.
    """
    try:
        speech = read_sound(Audio(path, end=SPEECH_LIMIT), SPEECH_RATE)
    except UnreadableError as error:
        raise UnreadableError("unreadable recording") from error
    if not speech.any():
        raise UnreadableError("silent recording")
    return speech

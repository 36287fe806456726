"""The font of the figures, and a small copy of it: a large font takes long to embed in a PDF."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from fontTools import subset
from matplotlib import font_manager

#: Comes with matplotlib: the same glyphs everywhere.
_FONT = "DejaVu Sans"

#: Name of the small copy.
_SMALL = "mlabench DejaVu Sans"

#: What the small copy holds: European letters, Greek, punctuation, arrows, mathematical signs.
_CHARACTERS = (*range(0x20, 0x250), *range(0x370, 0x400), *range(0x2010, 0x2050), *range(0x2190, 0x2270))

_FAMILY_NAMES = (1, 16)  # entries of a font's table of names


@cache
def families() -> list[str]:
    """The families to draw with: the small copy, then the whole font for letters that the copy lacks.

    For each PDF, matplotlib picks the letters in use out of all that the font holds. That takes a tenth of a second
    with the 6,000 glyphs and the layout rules of the whole font: as long as to draw the figure.
    """
    for weight in ("normal", "bold"):
        whole = font_manager.FontProperties(family=_FONT, weight=weight)
        path = Path(font_manager.findfont(whole, fallback_to_default=False))
        font_manager.fontManager.addfont(_small_copy(path))
    return [_SMALL, _FONT]


def _small_copy(path: Path) -> Path:
    options = subset.Options(layout_features=[], legacy_kern=True, notdef_outline=True, name_IDs=["*"])
    options.drop_tables += ["FFTM", "GDEF", "GPOS", "GSUB", "MATH"]
    with subset.load_font(str(path), options) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=_CHARACTERS)
        subsetter.subset(font)
        for name in font["name"].names:
            if name.nameID in _FAMILY_NAMES:
                name.string = _SMALL
        copy = _folder() / path.name
        font.save(copy)
    return copy


@cache
def _folder() -> Path:
    """A folder that lives as long as this process: matplotlib opens fonts again and again."""
    folder = TemporaryDirectory(prefix="mlabench-", ignore_cleanup_errors=True)
    _kept.append(folder)
    return Path(folder.name)


_kept: list[TemporaryDirectory[str]] = []

"""A small folder of stamps in the layout of the Debian package."""

from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="20" height="40" viewBox="0 0 20 40">
<rect width="20" height="40" fill="#ff0000"/></svg>"""


def make_tree(root: Path) -> Path:
    """Writes the stamps below ``root`` as ``dpkg -x`` would, and returns their folder.

    In it: a PNG with transparency and two recordings, an SVG, a red and a blue flag, a butterfly in two
    classes, and one stamp for every reason to be skipped.
    """
    folder = root / "usr/share/tuxpaint/stamps"
    add_stamp(folder, "animals/marsupials/kangaroo", "A kangaroo.", {"fr": "Un kangourou.", "ru": "Кенгуру."})
    write_png(folder / "animals/marsupials/kangaroo_mirror.png", (0, 0, 255, 255))
    (folder / "animals/marsupials/kangaroo.dat").write_text("noflip\n")
    add_stamp(folder, "household/box", "A box.", {"fr": "Une boîte."}, svg=True)
    add_stamp(folder, "town/flags/redflag", "A red flag.", {"fr": "Un drapeau rouge."})
    add_stamp(folder, "town/flags/blueflag", "A blue flag.", {"fr": "Un drapeau bleu."}, colour=(0, 0, 255, 255))
    add_stamp(folder, "animals/butterfly", "A butterfly.", {"fr": "Un papillon."}, colour=(0, 9, 9, 255))
    add_stamp(folder, "seasonal/butterfly", "A butterfly!", {"fr": "Un papillon."}, colour=(9, 0, 9, 255))
    add_stamp(folder, "hobbies/kite", "A kite.", {"fr": "Un cerf-volant."})
    add_stamp(folder, "food/bread", "Bread.", {"fr": "Du pain."})
    (folder / "food/bread.png").write_bytes(b"")
    add_stamp(folder, "food/salt", "", {"fr": "Du sel."})
    add_stamp(folder, "food/pie", "A pie.", {"fr": "Une tarte."})
    (folder / "food/pie.txt").write_bytes("fr.utf8=Une tarte sucrée.".encode("latin-1"))
    add_stamp(folder, "plants/rose", "A rose.", {"fr": "Une rose.", "es": "Una rosa.", "da": "En rose."})
    (folder / "plants/rose_desc_fr.ogg").write_bytes(b"")
    (folder / "plants/rose_desc_es.ogg").unlink()
    (folder / "plants/rose.txt").write_text("A rose.\nfr.utf8=Une rose.\nes.utf8=Una rosa.\n")
    return folder


def make_splittable_tree(root: Path) -> Path:
    """The same below ``root``, which is returned, with enough stamps of two classes for every split."""
    folder = make_tree(root)
    for number in range(40):
        name = f"{('food', 'plants')[number % 2]}/thing{number}"
        add_stamp(folder, name, f"Thing {number}.", {"fr": f"Chose {number}."}, colour=(number, 1, 1, 255))
    return root


def add_stamp(
    folder: Path,
    name: str,
    english: str,
    texts: dict[str, str],
    *,
    svg: bool = False,
    colour: tuple[int, int, int, int] = (255, 0, 0, 255),
) -> None:
    """Adds one stamp with a recording in every language of ``texts``."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [english, *(f"{language}.utf8={text}" for language, text in texts.items())]
    path.with_suffix(".txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if svg:
        path.with_suffix(".svg").write_text(SVG)
    else:
        write_png(path.with_suffix(".png"), colour)
    for number, language in enumerate(texts):
        write_ogg(folder / f"{name}_desc_{language}.ogg", pitch=220 * (number + 1))


def write_png(path: Path, colour: tuple[int, int, int, int]) -> None:
    """40 x 20 pixels; the left half is transparent."""
    image = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    image.paste(colour, (20, 0, 40, 20))
    image.save(path)


def write_ogg(path: Path, *, seconds: float = 1.0, pitch: float = 220.0) -> None:
    """A tone in stereo at 44.1 kHz between two stretches of silence."""
    time = np.arange(round(44_100 * seconds)) / 44_100
    tone = 0.5 * np.sin(2 * np.pi * pitch * time) * (time > seconds / 4) * (time < seconds * 3 / 4)
    soundfile.write(path, np.stack([tone, 0.5 * tone], axis=1), 44_100)

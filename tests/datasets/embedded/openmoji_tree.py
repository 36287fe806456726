"""A few emoji in the layout of the npm package ``openmoji``."""

import csv
from pathlib import Path

SVG = """<svg id="emoji" viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">
<circle cx="36" cy="36" r="24" fill="rgb({red},80,160)"/><path d="M12 36h{width}" stroke="#000" stroke-width="2"/></svg>
"""
COLUMNS = ("emoji", "hexcode", "group", "subgroups", "annotation", "tags", "openmoji_tags", "skintone")

#: Code, name and tags by group.
EMOJI = {
    "animals-nature": [
        ("1F408", "cat", "animal, pet"),
        ("1F408-200D-2B1B", "black cat", "animal, black, cat"),
        ("1F98D", "gorilla", "animal"),
        ("1F98C", "deer", "animal"),
        ("1F418", "elephant", "animal, trunk"),
        ("1F427", "penguin", "animal, bird"),
        ("1F438", "frog", "animal, face"),
    ],
    "people-body": [
        ("1F9D1-200D-1F393", "student", "graduate, student"),
        ("1F468-200D-1F393", "man student", "graduate, man, student"),
        ("1F469-200D-1F393", "woman student", "graduate, student, woman"),
        ("1F6B6", "person walking", "hike, walk"),
        ("1F6B6-200D-2640-FE0F-200D-27A1-FE0F", "woman walking: facing right", "hike, walk, woman"),
        ("1F9D1-200D-1F33E", "farmer", "farmer, gardener"),
        ("1F9D9", "mage", "sorcerer, wizard"),
        ("1F468", "man", "adult, man"),
        ("1F469", "woman", "adult, woman"),
        ("1F44B", "waving hand", "hand, wave"),
    ],
    "flags": [
        ("1F1EB-1F1F7", "flag: France", "FR, flag"),
        ("1F1F2-1F1EB", "flag: St. Martin", "MF, flag"),
        ("1F1E9-1F1EA", "flag: Germany", "DE, flag"),
        ("1F1EF-1F1F5", "flag: Japan", "JP, flag"),
        ("1F1F0-1F1EA", "flag: Kenya", "KE, flag"),
        ("1F3C1", "chequered flag", "chequered, racing"),
    ],
    "travel-places": [
        ("1F550", "one o’clock", "1, clock"),
        ("1F55C", "one-thirty", "1:30, clock"),
        ("1F311", "new moon", "dark, moon"),
        ("1F682", "locomotive", "engine, train"),
        ("2693", "anchor", "ship, tool"),
        ("26FA", "tent", "camping"),
    ],
}
#: Lines that are left out: group, code, name, tags, skin tone.
LEFT_OUT = [
    ("people-body", "1F44B-1F3FB", "waving hand: light skin tone", "hand", "1"),
    ("component", "1F3FB", "light skin tone", "tone", ""),
    ("extras-openmoji", "E000", "OpenMoji logo", "logo", ""),
    ("extras-openmoji", "E0FF", "train", "logo", ""),
    ("extras-unicode", "2610", "ballot box", "box", ""),
    ("new-group", "1FFFF", "something of 2030", "new", ""),
    ("flags", "1F3F4", "black flag", " ", ""),
    ("flags", "1F6A9", "triangular flag", "post", ""),
    ("flags", "../1F3C1", "chequered flag", "post", ""),
    ("flags", "1F3C1", "chequered flag", "chequered, racing", ""),
]


def make_tree(root: Path) -> Path:
    """Writes emoji below ``root`` as ``tar x`` would, and returns the folder ``package``.

    Among them are twins by gender, direction, colour and picture, and a line for every reason to be left out.
    """
    folder = root / "package"
    (folder / "data").mkdir(parents=True)
    (folder / "color/svg").mkdir(parents=True)
    rows = [(group, *emoji, "") for group, several in EMOJI.items() for emoji in several] + LEFT_OUT
    with (folder / "data/openmoji.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for group, code, name, tags, skin in rows:
            fields = {"hexcode": code, "group": group, "annotation": name, "tags": tags, "skintone": skin}
            writer.writerow(fields)
    for number, (_, code, *_) in enumerate(rows):
        if "/" not in code and code != "1F6A9":
            (folder / f"color/svg/{code}.svg").write_text(SVG.format(red=5 * number, width=number))
    (folder / "color/svg/1F1F2-1F1EB.svg").write_bytes((folder / "color/svg/1F1EB-1F1F7.svg").read_bytes())
    return folder

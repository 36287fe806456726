"""A small folder of clip art in the layout of the Debian packages."""

import struct
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw

PUBLIC_DOMAIN = "http://web.resource.org/cc/PublicDomain"
GPL = "http://creativecommons.org/licenses/GPL/2.0/"

SVG = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<svg width="40" height="80" viewBox="0 0 40 80" xmlns="http://www.w3.org/2000/svg"
 xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:cc="http://web.resource.org/cc/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<metadata><rdf:RDF><cc:Work rdf:about=""><dc:title>{title}</dc:title><dc:description></dc:description>
<dc:subject><rdf:Bag><rdf:li>{name}</rdf:li></rdf:Bag></dc:subject>
<dc:publisher><cc:Agent rdf:about="http://www.openclipart.org/"><dc:title>Open Clip Art Library</dc:title></cc:Agent>
</dc:publisher><dc:creator><cc:Agent><dc:title>Somebody</dc:title></cc:Agent></dc:creator>
<cc:license rdf:resource="{licence}"/></cc:Work></rdf:RDF></metadata>
{image}<rect x="10" y="20" width="20" height="40" fill="{colour}"/></svg>
"""

#: Titles by class; two of each are needed for a split to have anything to choose from.
TITLES = {
    "animals/birds": ("Crow", "Owl on a branch", "Hen", "Gabbiano", "Puffin", "Turkey"),
    "food/fruit": ("An Apple", "Cherries", "Pera", "Half a melon", "Grapes", "Banana"),
    "people/clothing/hats": ("Top hat", "Baseball cap", "Beret", "Cappello di paglia", "Helmet", "Crown"),
}


def make_tree(root: Path) -> Path:
    """Writes clip art below ``root`` as ``dpkg -x`` would, and returns the folder that holds ``png`` and ``svg``.

    In it: six pictures of each of three classes, two of them twins of others, one without a PNG, and at
    least one picture for every reason to be left out.
    """
    folder = root / "usr/share/openclipart"
    number = 0
    for place, titles in TITLES.items():
        for title in titles:
            number += 1
            add_picture(folder, f"{place}/{title.lower().replace(' ', '_')}_01", title, shade=number)
    add_picture(folder, "food/fruit/cherries_bw", "Cherries (B and W)", shade=50)
    add_picture(folder, "animals/birds/owl_on_a_branch_02", "Nocturnal", shade=51)
    (folder / "png/food/fruit/banana_01.png").unlink()
    add_picture(folder, "animals/link", "Link", shade=60)
    (folder / "png/animals/link.png").unlink()
    (folder / "png/animals/link.png").symlink_to("birds/crow_01.png")
    add_picture(folder, "food/shared", "Shared", shade=61)
    add_picture(folder, "recreation/party/shared", "Shared", shade=61)
    add_picture(folder, "recreation/games/cards/ace", "Ace", shade=62)
    add_picture(folder, "recreation/ace", "Ace", shade=62)
    add_picture(folder, "computer/icons/disk", "Disk", shade=63)
    add_picture(folder, "tools/gpl", "Hammer", shade=64, licence=GPL)
    add_picture(folder, "tools/unstated", "Saw", shade=65, licence="")
    add_picture(folder, "tools/untitled", " ", shade=66)
    add_picture(folder, "tools/photo", "Drill", shade=67, image='<image xlink:href="C:\\drill.png"/>')
    add_picture(folder, "tools/cut_off", "Pliers", shade=68)
    (folder / "svg/tools/cut_off.svg").write_text("<svg")
    return folder


def add_picture(
    folder: Path, name: str, title: str, *, shade: int, licence: str = PUBLIC_DOMAIN, image: str = ""
) -> None:
    """Adds one picture, a rectangle on a large transparent page, as SVG and as PNG."""
    colour = (5 * shade % 256, 80, 160)
    svg, png = folder / "svg" / f"{name}.svg", folder / "png" / f"{name}.png"
    for path in (svg, png):
        path.parent.mkdir(parents=True, exist_ok=True)
    fields = {"title": escape(title), "name": svg.stem, "licence": licence, "image": image}
    svg.write_text(SVG.format(**fields, colour=f"rgb{colour}"), encoding="utf-8")
    page = Image.new("RGBA", (80, 160))
    ImageDraw.Draw(page).rectangle((20, 40, 59, 119), fill=(*colour, 255))
    ImageDraw.Draw(page).ellipse((30, 50, 30 + shade % 20, 100), fill=(255, 255, 0, 255))
    page.save(png)


def declare_size(png: Path, width: int, height: int) -> None:
    """Overwrites the size that the header of a PNG declares."""
    data = bytearray(png.read_bytes())
    data[16:24] = struct.pack(">2I", width, height)
    png.write_bytes(data)

"""A figure's SVG, made ready to stand in the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from mlabench.reporting.charts.styles import VARIABLES

#: Attributes that hold lengths and colours.
_SHORTENED = ("d", "style", "x", "y", "transform", "width", "height")


def page_ready(drawn: str, titles: Mapping[str, Sequence[str]], description: str, header: float) -> str:
    """An ``<svg>`` element for HTML: smaller, with values on hovering, in the page's font and colours.

    ``titles`` are by the id of a group: what the whole group says, then each of its marks; empty for nothing.
    ``header`` is the height of the group called ``title``, which is left out: the page has it as a heading.
    """
    root = ET.fromstring(_allowed(drawn))  # noqa: S314 (matplotlib wrote it, not a user)
    _, _, width, height = root.attrib["viewBox"].split()
    view = f"0 {header:.1f} {width} {float(height) - header:.1f}"
    root.attrib = {"viewBox": view, "role": "img", "aria-label": _allowed(description)}
    _clean(root)
    for group in root.iter("g"):
        if own := titles.get(group.attrib.pop("id", "")):
            _explain(group, own[0])
            marks = group.findall(".//use") or group.findall("path")
            for mark, title in zip(marks, own[1:], strict=len(own) > 1):
                _explain(mark, title)
    return ET.tostring(root, encoding="unicode")


def _allowed(text: str) -> str:
    """Without what XML cannot hold, not even escaped."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def _explain(element: ET.Element, text: str) -> None:
    if text:
        title = ET.Element("title")
        title.text = _allowed(text)
        element.insert(0, title)


def _clean(element: ET.Element) -> None:
    """Takes out what the page has no use for, here and below."""
    element.tag = _local(element.tag)
    attributes = {_local(name): value for name, value in element.attrib.items()}
    shortened = {name: _short(value) if name in _SHORTENED else value for name, value in attributes.items()}
    element.attrib = {name: value for name, value in shortened.items() if value}
    for child in list(element):
        if _local(child.tag) in ("metadata", "style") or child.get("id") == "title":
            element.remove(child)
        else:
            _clean(child)
        child.tail = None
    if element.tag != "text":
        element.text = None


def _short(value: str) -> str:
    """A style, a path or a place: without fonts, in the page's colours, with numbers to a hundredth of a point."""
    value = re.sub(r"font-family: [^;]*;?|rotate\(-0 .*?\)", "", value)
    for colour, name in VARIABLES.items():
        value = value.replace(colour, f"var(--{name})")
    value = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
    return " ".join(value.split())


def _local(name: str) -> str:
    """A name without its namespace, as HTML has it."""
    return name.rpartition("}")[2]

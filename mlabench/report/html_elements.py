"""HTML built from elements: whatever is not markup already is escaped, so that no text can become markup."""

from __future__ import annotations

import html
import re

_WITHOUT_END = ("meta", "line", "circle", "path")


class Markup(str):
    """Text that is HTML already. Only this module makes it from other text."""

    __slots__ = ()


def element(name: str, /, *content: str, **attributes: str | bool) -> Markup:
    """``<name attributes>content</name>``

    Args:
        name: Its name.
        content: What is in it; text that is not :class:`Markup` is escaped.
        attributes: True stands alone, False is left out; ``class_`` and ``for_`` lose the underscore at the
            end, other underscores become hyphens.
    """
    start = "".join(
        f" {_attribute(key)}" if value is True else f' {_attribute(key)}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not False
    )
    if name in _WITHOUT_END:
        return Markup(f"<{name}{start}>" if name == "meta" else f"<{name}{start}/>")
    return Markup(f"<{name}{start}>{joined(*content)}</{name}>")


def joined(*parts: str) -> Markup:
    """The parts one after the other."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(part) for part in parts))


def prose(text: str) -> Markup:
    """A sentence in which `words between back-ticks` are code, and no line ends within an interval or a p-value."""
    pieces = re.split(r"(`[^`]+`|\[−?[\d.]+, −?[\d.]+\]|p [=<] [\d.]+\d)", text)
    return joined(*(_special(piece) if place % 2 else piece for place, piece in enumerate(pieces)))


def bullets(sentences: tuple[str, ...] | list[str], **attributes: str | bool) -> Markup:
    """A list with one sentence per item."""
    return element("ul", *(element("li", prose(sentence)) for sentence in sentences), **attributes)


def source(name: str, code: str, **attributes: str | bool) -> Markup:
    """Our own style or script, or one that we embed, word for word.

    Raises:
        ValueError: If the code itself would end the element.
    """
    if f"</{name}" in code.lower() or "<!--" in code:
        raise ValueError(f"this code cannot stand in <{name}>")
    return element(name, Markup(code), **attributes)


def identifier(*parts: str) -> str:
    """An id that is a valid fragment of an address."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-") or "part"


def _special(piece: str) -> Markup:
    return element("code", piece.strip("`")) if piece[0] == "`" else element("span", piece, class_="whole")


def _attribute(name: str) -> str:
    return name.rstrip("_").replace("_", "-")

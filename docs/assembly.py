"""Pages put together: texts of the repository where a page includes them, tables that are made, links that lead on."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from pymdownx.slugs import slugify

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "pages"
_DIRECTIVE = re.compile(r"^<!-- (?!end )(\w+)(?: (\S+?))?(?:#(\S+))? -->$", re.MULTILINE)  # `end` is that of a table
_HEADING = re.compile(r"^(#+) (.+)$")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_slug = slugify(case="lower")


@dataclass
class Site:
    """All pages, and where each text of the repository ended up.

    Attributes:
        makers: What makes the text of a directive such as ``<!-- methods -->``, by its first word; the second is handed
            over.
        pages: The text of each page, by its name.
        homes: The page, with an anchor, that has a text of the repository: by its path, and by path and anchor.
        files: Other files of the repository that pages link to; the site has copies.
    """

    makers: Mapping[str, Callable[[str], str]]
    pages: dict[str, str] = field(default_factory=dict)
    homes: dict[tuple[str, str], str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def assemble(self) -> Site:
        """Reads, completes and links all pages.

        Raises:
            ValueError: If a page includes, or a link leads to, what is not there.
        """
        texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(PAGES.glob("*.md"))}
        for page, text in texts.items():
            included = [(what, anchor) for kind, what, anchor in _DIRECTIVE.findall(text) if kind == "include"]
            for source, anchor in included:
                self._settle(page, source, anchor)
            own = (PAGES / page).relative_to(ROOT).as_posix()
            anchors = [inner for part in (text, *(section(*one) for one in included)) for inner in _anchors(part)]
            self.homes |= {(own, anchor): f"{page}#{anchor}" for anchor in anchors} | {(own, ""): page}
        for page, text in texts.items():
            self.pages[page] = _DIRECTIVE.sub(self._replace, self._link(PAGES / page, text))
        return self

    def write(self, folder: Path) -> None:
        """Writes the pages, and copies of the files that they link to, to a new folder."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for page, text in self.pages.items():
            (folder / page).write_text(text, encoding="utf-8")
        for source, copy in self.files.items():
            (folder / copy).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / source, folder / copy)

    def _settle(self, page: str, source: str, anchor: str) -> None:
        """Notes that a page is the home of a text, and of each heading in it."""
        title, *_ = _anchors((ROOT / source).read_text(encoding="utf-8"))
        self.homes[source, anchor] = page
        if anchor in ("", title):
            self.homes[source, ""] = self.homes[source, title] = page
        self.homes |= {(source, inner): f"{page}#{inner}" for inner in _anchors(section(source, anchor))}

    def _replace(self, directive: re.Match[str]) -> str:
        kind, what, anchor = (part or "" for part in directive.groups())
        if kind == "include":
            return self._link(ROOT / what, section(what, anchor))
        return self.makers[kind](what)

    def _link(self, file: Path, text: str) -> str:
        """The text with links that lead to where the site has what they mean."""
        lines, fenced = [], False
        for line in text.split("\n"):
            fenced ^= line.startswith("```")
            lines.append(line if fenced else _LINK.sub(lambda link: f"]({self._target(file, link[1])})", line))
        return "\n".join(lines)

    def _target(self, file: Path, target: str) -> str:
        if re.match(r"[a-z]+:", target):
            return target
        path, _, anchor = unquote(target).partition("#")
        meant = Path(os.path.normpath(file.parent / path)) if path else file
        meant = meant / "README.md" if meant.is_dir() else meant
        name = meant.relative_to(ROOT).as_posix()
        if home := self.homes.get((name, anchor)):
            return home
        if anchor or not meant.is_file():
            raise ValueError(f"{file.relative_to(ROOT)} links to {target}, which the site does not have")
        # As text: the site would make a page of it, and its own links lead elsewhere.
        return self.files.setdefault(name, f"files/{name}{'.txt' if meant.suffix == '.md' else ''}")


def section(source: str, anchor: str) -> str:
    """What stands below a heading of a file, up to the next one of its rank.

    Without an anchor the whole file below its title; with the title's, up to the next heading.
    """
    chosen: list[str] = []
    rank = 0
    for line, heading in _headings((ROOT / source).read_text(encoding="utf-8")):
        if heading and rank and len(heading[1]) <= rank:
            break
        if rank:
            chosen.append(line)
        elif heading and anchor in ("", _slug(heading[2], "-")):
            rank = 6 if anchor and len(heading[1]) == 1 else len(heading[1])
    if not rank:
        raise ValueError(f"{source} has no heading with the anchor {anchor!r}")
    return "\n".join(chosen).strip()


def _anchors(text: str) -> list[str]:
    return [_slug(heading[2], "-") for _, heading in _headings(text) if heading]


def _headings(text: str) -> Iterator[tuple[str, re.Match[str] | None]]:
    """Each line, and the heading that it is, if it is one."""
    fenced = False
    for line in text.split("\n"):
        fenced ^= line.startswith("```")
        yield line, None if fenced else _HEADING.match(line)

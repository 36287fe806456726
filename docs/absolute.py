"""``python -m docs.absolute OWNER/NAME TAG`` makes the README's links absolute: PyPI shows it without other files.

A release does so before it builds; nobody commits the outcome.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
#: A link within the repository; an exclamation mark makes it a picture.
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


def absolute(text: str, repository: str, tag: str) -> str:
    """The text with links to files of a repository on GitHub, as they are at a tag."""

    def replace(link: re.Match[str]) -> str:
        mark, words, target = link.groups()
        kind = "raw" if mark else "blob"
        return f"{mark}[{words}](https://github.com/{repository}/{kind}/{tag}/{target})"

    return _LINK.sub(replace, text)


if __name__ == "__main__":
    README.write_text(absolute(README.read_text(encoding="utf-8"), *sys.argv[1:3]), encoding="utf-8")

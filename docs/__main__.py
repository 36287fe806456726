"""``python -m docs`` builds the site into ``build/site``; warnings are errors. ``python -m docs serve`` shows it."""

from __future__ import annotations

import shutil
import subprocess
import sys

from docs import generated
from docs.assembly import ROOT, Site
from docs.notebook import notebook
from docs.screenshots import PICTURES, screenshot

MAKERS = {
    "methods": generated.methods,
    "options": generated.options,
    "published": generated.published,
    "measured": generated.measured,
    "messages": generated.messages,
    "notebook": notebook,
    "screenshot": screenshot,
}


def main() -> None:
    """Assembles the pages and hands them to Zensical."""
    folder = ROOT / "build" / "docs"
    Site(MAKERS).assemble().write(folder)
    shutil.copyfile(ROOT / "docs" / "style.css", folder / "style.css")
    if PICTURES.is_dir():
        shutil.copytree(PICTURES, folder / "files" / PICTURES.name)
    command = ["serve"] if "serve" in sys.argv[1:] else ["build", "--clean", "--strict"]
    sys.exit(subprocess.call([sys.executable, "-m", "zensical", *command], cwd=ROOT))  # noqa: S603  (our own command)


if __name__ == "__main__":
    main()

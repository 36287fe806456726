"""``python -m docs`` builds the site into ``build/site``; warnings are errors. ``python -m docs serve`` shows it."""

from __future__ import annotations

import subprocess
import sys

from docs import generated
from docs.assembly import ROOT, Site
from docs.notebook import notebook

MAKERS = {
    "methods": generated.methods,
    "options": generated.options,
    "published": generated.published,
    "messages": generated.messages,
    "notebook": notebook,
}


def main() -> None:
    """Assembles the pages and hands them to Zensical."""
    Site(MAKERS).assemble().write(ROOT / "build" / "docs")
    command = ["serve"] if "serve" in sys.argv[1:] else ["build", "--clean", "--strict"]
    sys.exit(subprocess.call([sys.executable, "-m", "zensical", *command], cwd=ROOT))  # noqa: S603  (our own command)


if __name__ == "__main__":
    main()

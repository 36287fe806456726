"""Pictures of pages that mlabench writes, taken from the pages as they are now, by Chromium without a window."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from docs.assembly import ROOT

#: Where the pictures are put; the site has a copy.
PICTURES = ROOT / "build" / "screenshots"
#: Width and height of the window.
SIZE = (1280, 1250)
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@cache
def screenshot(page: str) -> str:
    """A picture of the top of a page of the repository; nothing, and a warning, where there is no browser."""
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        print(f"No picture of {page}: none of {', '.join(_NAMES)} is on the PATH.", file=sys.stderr)  # noqa: T201
        return ""
    picture = PICTURES / f"{Path(page).stem}.png"
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture.unlink(missing_ok=True)
    with TemporaryDirectory() as profile:
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}")
        size = f"--window-size={SIZE[0]},{SIZE[1]}"
        command = [executable, *flags, size, f"--screenshot={picture}", (ROOT / page).as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603  (our own command)
    return f"![The top of {Path(page).name}](files/screenshots/{picture.name})"

"""How soon the page of a report can be used in headless Chromium: read, laid out, and answering a click."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from tests.reporting.browser import browser

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "report" / "report.html"

#: Milliseconds since the page was asked for: its script has run; it is laid out and drawn; a table is sorted.
MOMENTS = """new Promise((done) => requestAnimationFrame(() => setTimeout(() => {
    const [page] = performance.getEntriesByType('navigation');
    const drawn = performance.now();
    document.querySelector('th button')?.click();
    document.body.getBoundingClientRect();
    done([page.domContentLoadedEventEnd, drawn, performance.now()]);
})))"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, nargs="?", default=REFERENCE)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    taken = []
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as tab:
        for _ in range(options.times):
            tab.open(options.page)
            taken.append(tab.evaluate(MOMENTS))
    read, drawn, sorted_ = (statistics.median(moments) for moments in zip(*taken, strict=True))
    size = options.page.stat().st_size / 1e6
    print(f"{size:.1f} MB: read after {read:.0f} ms, drawn after {drawn:.0f} ms, a table sorted after {sorted_:.0f} ms")


if __name__ == "__main__":
    main()

"""The leaderboard as a static site: every suite that ranks methods, with filters, and a page and the records of each.

``boards`` says what is ranked, with the numbers of the report's own leaderboards; ``site`` writes pages and records.
The command line calls :func:`build_leaderboard`.
"""

from mlabench.reporting.explorer.folder import Folder
from mlabench.reporting.explorer.site import build_leaderboard

__all__ = ["Folder", "build_leaderboard"]

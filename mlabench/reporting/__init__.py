"""From a plan and a store of records to answers, tables, figures and one page.

``results`` reads records into frames, ``evidence`` adds which predictions are right, ``questions`` answer Q1 to Q4 with
the tools of :mod:`mlabench.statistics`; ``build`` writes it all down, ``explorer`` a leaderboard with filters. The
command line and the Python API call :func:`build_report`, :func:`print_summary`, :func:`compare_folders` and
:func:`build_leaderboard`. Free of torch.
"""

from mlabench.reporting.build import build_report, print_summary
from mlabench.reporting.compare import compare_folders
from mlabench.reporting.explorer import Folder, build_leaderboard
from mlabench.reporting.files import VERDICTS
from mlabench.reporting.frames import compare_labels, contrasts, tidy_frame

__all__ = [
    "VERDICTS",
    "Folder",
    "build_leaderboard",
    "build_report",
    "compare_folders",
    "compare_labels",
    "contrasts",
    "print_summary",
    "tidy_frame",
]

"""From a plan and a store of records to answers, tables, figures and one page.

``results`` reads records into frames, ``evidence`` adds which predictions are right, ``questions`` answer Q1 to Q4 with
the tools of :mod:`mlabench.statistics`; ``build`` writes it all down. The command line and the Python API call
:func:`build_report`, :func:`print_summary` and :func:`compare_folders`. Free of torch.
"""

from mlabench.reporting.build import build_report, print_summary
from mlabench.reporting.compare import compare_folders
from mlabench.reporting.files import VERDICTS
from mlabench.reporting.frames import compare_labels, contrasts, tidy_frame

__all__ = [
    "VERDICTS",
    "build_report",
    "compare_folders",
    "compare_labels",
    "contrasts",
    "print_summary",
    "tidy_frame",
]

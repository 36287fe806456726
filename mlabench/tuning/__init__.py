"""Equal tuning: the same number of tries for every method, compared on the validation split alone. Free of torch.

``mlabench tune`` calls :func:`search`, which trains what Optuna proposes (``study``) within what may be tried for each
method (``space``) as trials of a results folder (``tries``), and writes what :func:`tuned_suite` makes of the outcome.
"""

from mlabench.tuning.result import COLUMNS, rows, tuned_suite, write_suite
from mlabench.tuning.tries import TuningResult, search

__all__ = ["COLUMNS", "TuningResult", "rows", "search", "tuned_suite", "write_suite"]

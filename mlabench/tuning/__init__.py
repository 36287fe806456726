"""Equal tuning: the same number of tries for every method, compared on the validation split alone. Free of torch.

space       what is tried for each method of a suite
study       Optuna's search, asked in generations, so that its answers do not depend on the number of workers
search      tries as trials of a results folder; what is there already is not trained again
result      the table, and the tuned suite as YAML

``mlabench tune`` calls :func:`search` and writes what :mod:`mlabench.tuning.result` makes of it.
"""

from mlabench.tuning.search import search

__all__ = ["search"]

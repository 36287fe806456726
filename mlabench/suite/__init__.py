"""Suites: the YAML behind each table and figure, checked, completed, and expanded into a plan. Free of torch.

A file (``files``, ``source``) lies on top of those it extends (``loading``) and below the flags (``overrides``): plain
data that know where they were written (``document``). One pydantic ``model`` checks them, fills in defaults and says
the JSON ``schema``; ``expansion`` turns it into a plan. The command line and the Python API load suites; running, the
store and reports see plans only.
"""

from mlabench.suite.expansion import expand, load_plans, with_content, with_fingerprint
from mlabench.suite.files import find_suite, is_suite, own_folder, own_suite, shown, suites_by_name
from mlabench.suite.loading import load_dataset, load_inputs, load_suite, members
from mlabench.suite.model import Suite, describe
from mlabench.suite.overrides import Overrides
from mlabench.suite.plan import Plan, PlannedTrial, Question, Tuned
from mlabench.suite.schema import json_schema
from mlabench.suite.sections import LabelledMethod

__all__ = [
    "LabelledMethod",
    "Overrides",
    "Plan",
    "PlannedTrial",
    "Question",
    "Suite",
    "Tuned",
    "describe",
    "expand",
    "find_suite",
    "is_suite",
    "json_schema",
    "load_dataset",
    "load_inputs",
    "load_plans",
    "load_suite",
    "members",
    "own_folder",
    "own_suite",
    "shown",
    "suites_by_name",
    "with_content",
    "with_fingerprint",
]

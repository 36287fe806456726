"""Suites: the YAML behind each table and figure, typed, validated, every default filled in, expanded into a plan.

source      YAML that remembers the line of each value
layers      a file on top of those it extends, short forms written out
overrides   what the command line changes
components  datasets, encoders and methods by name, their options completed
validation  pydantic's complaints in plain words
loading     all of it together: a file in, a Suite out
schema      the same rules as a JSON schema, for editors
expansion   a Suite in, a Plan out: each training and the patterns it is evaluated under

The command line and the Python API load suites and expand them; running, the store and reports know plans only. Free
of torch.
"""

from mlabench.suite.expansion import expand, load_plans, with_content, with_fingerprint
from mlabench.suite.layers import find_suite, members
from mlabench.suite.loading import load_dataset, load_inputs, load_suite
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
    "json_schema",
    "load_dataset",
    "load_inputs",
    "load_plans",
    "load_suite",
    "members",
    "with_content",
    "with_fingerprint",
]

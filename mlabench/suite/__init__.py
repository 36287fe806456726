"""Suites: the YAML behind each table and figure, typed, validated, every default filled in. Free of torch.

source      YAML that remembers the line of each value
layers      a file on top of those it extends, short forms written out
overrides   what the command line changes
components  datasets, encoders and methods by name, their options completed
validation  pydantic's complaints in plain words
loading     all of it together: a file in, a Suite out
schema      the same rules as a JSON schema, for editors
"""

from mlabench.suite.layers import members
from mlabench.suite.loading import load_dataset, load_inputs, load_suite
from mlabench.suite.model import Suite, describe
from mlabench.suite.overrides import Overrides
from mlabench.suite.schema import json_schema

__all__ = ["Overrides", "Suite", "describe", "json_schema", "load_dataset", "load_inputs", "load_suite", "members"]

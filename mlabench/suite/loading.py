"""A suite in, valid, or every mistake in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from mlabench.suite.document import Document, Origin
from mlabench.suite.layers import find_suite, read_layers
from mlabench.suite.model import DatasetSection, InputSection, Suite
from mlabench.suite.overrides import Overrides, recommend
from mlabench.suite.validation import checker, user_error
from mlabench.trial import Component

Inputs = TypeVar("Inputs", bound=DatasetSection)


def load_suite(source: Path | str | Mapping[str, Any], overrides: Overrides | None = None) -> Suite:
    """Reads, completes and checks a suite.

    Args:
        source: The path of a YAML file, the name of a suite, or what such a file holds as Python data.
        overrides: What the command line changes.

    Raises:
        UserError: If anything is wrong with the suite or the overrides; it lists all mistakes.
    """
    overrides = overrides or Overrides()
    document = overrides.apply(read_layers(source if isinstance(source, Mapping) else find_suite(source)))
    suite = _checked(Suite, document, adapt=overrides.dataset is not None)
    suite._document = document
    return suite


def load_dataset(name: str, overrides: Overrides) -> Component:
    """A dataset with its options, from the command line alone.

    Raises:
        UserError: If an option is unknown or has a wrong value.
    """
    return _load(DatasetSection, name, overrides).dataset


def load_inputs(name: str, overrides: Overrides) -> tuple[Component, dict[str, Component]]:
    """A dataset with its options, and encoders for it, from the command line alone.

    Args:
        name: The dataset's.
        overrides: Settings of ``dataset`` and ``encoders``; by default, encoders are those that the dataset recommends.

    Raises:
        UserError: If an option is unknown or has a wrong value, or an encoder does not fit.
    """
    inputs = _load(InputSection, name, overrides)
    return inputs.dataset, inputs.encoders


def _load(form: type[Inputs], name: str, overrides: Overrides) -> Inputs:
    flag = Origin("--set")
    document = Document.of({"dataset": {"name": name}}, flag).completed()
    document = overrides.apply(recommend(document, name, flag))
    written = {field: value for field, value in document.data.items() if field in form.model_fields}
    return _checked(form, Document(written, document.origins), adapt=False)


def _checked(form: type[Inputs], document: Document, *, adapt: bool) -> Inputs:
    try:
        checked: Inputs = checker(form)(document.data, adapt)
    except ValidationError as error:
        raise user_error(error, document) from None
    return checked

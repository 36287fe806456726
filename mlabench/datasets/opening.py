"""The one door through which datasets are opened by name. Free of torch."""

from __future__ import annotations

from mlabench import registry
from mlabench.datasets.contract import Dataset
from mlabench.trial import Component


def instantiate(component: Component) -> Dataset:
    """The dataset itself, its data not loaded yet.

    Raises:
        UserError: If its options name something that is not there.
    """
    dataset = registry.get("datasets", component.name).load()
    instance: Dataset = dataset(dataset.Config(**component.options))
    return instance


def has_raw_inputs(component: Component) -> bool:
    """Whether a dataset has inputs that need decoding.

    Raises:
        UserError: As :func:`instantiate`.
    """
    return any(medium != "features" for medium in instantiate(component).media.values())

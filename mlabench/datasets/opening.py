"""The one door through which datasets are opened by name. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

from mlabench import registry
from mlabench.datasets.contract import Dataset
from mlabench.media import Medium
from mlabench.trial import Component


def open_dataset(component: Component) -> Dataset:
    """The dataset itself, nothing of it read yet.

    It is a new one each time, because a dataset remembers its files: a plan takes the fingerprint of what lies there
    now, and a training checks that this has not changed.
    """
    kind: type[Dataset] = registry.get("datasets", component.name).load()
    return kind(kind.Config(**component.options))


def media_of(component: Component) -> Mapping[str, Medium]:
    """What each modality consists of, in the task's order; asked once per process."""
    return _media(registry.get("datasets", component.name), json.dumps(component.options, sort_keys=True))


@lru_cache
def _media(entry: registry.Entry, options: str) -> Mapping[str, Medium]:
    kind: type[Dataset] = entry.load()
    return kind(kind.Config(**json.loads(options))).media


def has_raw_inputs(component: Component) -> bool:
    """Whether a dataset has inputs that need decoding."""
    return any(medium != "features" for medium in media_of(component).values())

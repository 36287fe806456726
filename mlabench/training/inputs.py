"""The data and the encoders of a trial: loaded, decoded as the encoders want it, kept between trials."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from mlabench import registry
from mlabench.datasets import Data, ReportProgress, Split, Task, open_dataset
from mlabench.encoders import Encoder
from mlabench.media import Medium
from mlabench.training.decoded_inputs import decode_inputs, silent
from mlabench.training.frozen_features import drop_frozen_networks
from mlabench.training.loop import stable_seed
from mlabench.trial import Component, DatasetComponent, InputSpec


def load_data(trial: InputSpec, workers: int = 1, progress: ReportProgress = silent) -> Data:
    """The trial's dataset, cut to ``trial.limit`` samples per split, raw inputs decoded for its encoders.

    Args:
        trial: The trial, or as much of it as says what it reads.
        workers: Processes that decode what is not in the cache yet.
        progress: Told how far they are.

    Raises:
        UserError: If the data are not there or cannot be read, or the cache cannot be written.
        RuntimeError: If the data have changed since the trial was planned.
    """
    data, media = _load(_Key(trial.dataset))
    if all(medium == "features" for medium in media.values()):
        return _cut(data, trial.limit)
    encoders = tuple((modality, _Key(trial.encoders[modality])) for modality in media)
    return _decode(_Key(trial.dataset), encoders, trial.limit, workers, progress)


def build_encoders(trial: InputSpec, task: Task) -> dict[str, Encoder]:
    """The untrained encoders, each with a seed of its own, so all methods of one seed start from the same ones."""
    encoders: dict[str, Encoder] = {}
    for modality in task.modalities:
        component = trial.encoders[modality]
        encoder = registry.get("encoders", component.name).load()
        torch.manual_seed(stable_seed(trial.seed, "encoder", modality))
        encoders[modality] = encoder(task.shapes[modality], encoder.Config(**component.options))
    return encoders


def prepare(trials: Iterable[InputSpec], device: torch.device, workers: int, progress: ReportProgress) -> list[Data]:
    """Decodes the inputs of trials and computes what their frozen networks make of them, so that trials need not.

    Returns:
        The data of each distinct combination of dataset and encoders.

    Raises:
        UserError: As :func:`load_data`.
    """
    distinct = {
        (_Key(trial.dataset), *(_Key(encoder) for encoder in trial.encoders.values()), trial.limit): trial
        for trial in trials
    }
    prepared = []
    for trial in distinct.values():
        data = load_data(trial, workers, progress)
        prepared.append(drop_frozen_networks(data, build_encoders(trial, data.task), device, progress))
    return prepared


class _Key:
    """A component that can be looked up by: equal if name, options and fingerprint are."""

    def __init__(self, component: Component) -> None:
        self.component = component
        self._text = json.dumps([component.model_dump(mode="json"), component.location], sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@lru_cache(maxsize=2)
def _load(key: _Key) -> tuple[Data, Mapping[str, Medium]]:
    component = key.component
    dataset = open_dataset(component)
    if isinstance(component, DatasetComponent) and dataset.fingerprint() != component.fingerprint:
        raise RuntimeError(f"the data of {component.name!r} have changed since the trial was planned; plan it again")
    return dataset.load(), dataset.media


@lru_cache(maxsize=2)
def _decode(
    dataset: _Key, encoders: tuple[tuple[str, _Key], ...], limit: int | None, workers: int, progress: ReportProgress
) -> Data:
    data, media = _load(dataset)
    steps = {}
    for modality, key in encoders:
        if media[modality] != "features":
            encoder = registry.get("encoders", key.component.name).load()
            steps[modality] = encoder.preprocessing(encoder.Config(**key.component.options), media[modality])
    return decode_inputs(_cut(data, limit), steps, workers, progress)


def _cut(data: Data, limit: int | None) -> Data:
    if limit is None:
        return data

    def cut(split: Split) -> Split:
        return split.take(np.linspace(0, len(split) - 1, min(len(split), limit)).astype(np.int64))

    return replace(data, train=cut(data.train), validation=cut(data.validation), test=cut(data.test))

"""The data and the encoders of a trial: loaded, decoded as the encoders want it, kept between trials."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from mlabench import registry
from mlabench.datasets import Data, Dataset, ReportProgress, Split, Task, open_dataset, silent, with_fold
from mlabench.encoders import Encoder
from mlabench.hyperparameters import BackboneOptions
from mlabench.media import Medium
from mlabench.media.preprocessing import Preprocessing
from mlabench.training.decoded_inputs import decode_inputs, with_splits
from mlabench.training.frozen_features import represent
from mlabench.training.loop import stable_seed
from mlabench.trial import Component, DatasetComponent, Fold, InputSpec


def load_data(trial: InputSpec, workers: int = 1, progress: ReportProgress = silent) -> Data:
    """The trial's dataset, cut to ``trial.limit`` samples per split, raw inputs decoded for its encoders.

    What is not in the cache yet is decoded by so many ``workers``.
    """
    source = (_key(trial.dataset), trial.fold, trial.seed if trial.fold else None)
    data, media = _divide(*source)
    if all(medium == "features" for medium in media.values()):
        return _cut(data, trial.limit)
    encoders = tuple((modality, _key(trial.encoders[modality])) for modality in media)
    return _decode(source, encoders, trial.limit, workers, progress)


def build_encoders(trial: InputSpec, task: Task) -> dict[str, Encoder]:
    """The untrained encoders, each with a seed of its own, so all methods of one seed start from the same ones."""
    encoders: dict[str, Encoder] = {}
    for modality in task.modalities:
        component = trial.encoders[modality]
        encoder = registry.get("encoders", component.name).load()
        torch.manual_seed(stable_seed(trial.training_seed, "encoder", modality))
        encoders[modality] = encoder(task.shapes[modality], encoder.Config(**component.options))
    return encoders


def trains_on_raw(trial: InputSpec) -> bool:
    """Whether some network is trained on pictures, sounds or texts, not on features, also of a frozen network."""
    dataset, _ = _load(_key(trial.dataset))

    def is_frozen(component: Component) -> bool:
        config = registry.get("encoders", component.name).load().Config(**component.options)
        return isinstance(config, BackboneOptions) and config.frozen

    return any(medium != "features" and not is_frozen(trial.encoders[m]) for m, medium in dataset.media.items())


def prepare(trials: Iterable[InputSpec], device: torch.device, workers: int, progress: ReportProgress) -> list[Data]:
    """Decodes the inputs of trials and computes their frozen networks' representations, so that trials need not.

    Returns the data of each distinct combination of dataset and encoders.
    """
    # Decoding and representing know no folds: those of one dataset share all their samples.
    distinct = {(_key(trial.dataset), *map(_key, trial.encoders.values()), trial.limit): trial for trial in trials}
    for trial in distinct.values():
        build_encoders(trial, _task(trial))  # what a network lacks is to be said before hours of decoding
    prepared = []
    for trial in distinct.values():
        data = load_data(trial, workers, progress)
        prepared.append(represent(data, build_encoders(trial, data.task), device, progress))
    return prepared


def _task(trial: InputSpec) -> Task:
    """The task with the shapes that inputs will have when they are decoded."""
    data, media = _divide(_key(trial.dataset), trial.fold, trial.seed if trial.fold else None)
    steps = _preprocessing(media, {modality: _key(encoder) for modality, encoder in trial.encoders.items()})
    shapes = {**data.task.shapes, **{modality: step.shape for modality, step in steps.items()}}
    return replace(data.task, shapes=shapes)


def _key(component: Component) -> str:
    """A component as text, by which what was loaded for it is remembered."""
    return json.dumps(component.model_dump(mode="json"), sort_keys=True)


@lru_cache(maxsize=2)
def _load(key: str) -> tuple[Dataset, Data]:
    component = DatasetComponent.model_validate_json(key)
    dataset = open_dataset(component)
    if dataset.fingerprint() != component.fingerprint:
        raise RuntimeError(f"the data of {component.name!r} have changed since the trial was planned; plan it again")
    return dataset, dataset.load()


@lru_cache(maxsize=2)
def _divide(key: str, fold: Fold | None, seed: int | None) -> tuple[Data, Mapping[str, Medium]]:
    """The data with the split of a trial, what is fitted to data fitted to its training part."""
    dataset, data = _load(key)
    if fold is not None and seed is not None:
        data = with_fold(data, fold, seed)
    return dataset.fit(data), dataset.media


@lru_cache(maxsize=2)
def _decode(
    source: tuple[str, Fold | None, int | None],
    encoders: tuple[tuple[str, str], ...],
    limit: int | None,
    workers: int,
    progress: ReportProgress,
) -> Data:
    data, media = _divide(*source)
    return decode_inputs(_cut(data, limit), _preprocessing(media, dict(encoders)), workers, progress)


def _preprocessing(media: Mapping[str, Medium], encoders: Mapping[str, str]) -> dict[str, Preprocessing]:
    """How each raw modality becomes its encoder's input; encoders are given by their keys."""
    steps = {}
    for modality, medium in media.items():
        if medium != "features":
            component = Component.model_validate_json(encoders[modality])
            encoder = registry.get("encoders", component.name).load()
            steps[modality] = encoder.preprocessing(encoder.Config(**component.options), medium)
    return steps


def _cut(data: Data, limit: int | None) -> Data:
    if limit is None:
        return data

    def cut(_: str, split: Split) -> Split:
        return split.take(np.linspace(0, len(split) - 1, min(len(split), limit)).astype(np.int64))

    return with_splits(data, cut)

"""The features that frozen networks give of all samples: computed once, and cached."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from mlabench.datasets import Data, ReportProgress, Split, StoredRows, silent, standardise
from mlabench.encoders import BackboneEncoder, Encoder
from mlabench.hyperparameters import BackboneOptions
from mlabench.store import Draft, cached_array
from mlabench.training.decoded_inputs import with_splits

Features = NDArray[np.float32]

#: Inputs that a network represents at a time: few enough for the memory of any machine, and for steady progress.
BATCH = 64


def drop_frozen_networks(data: Data, encoders: Mapping[str, Encoder], device: torch.device) -> Data:
    """Replaces inputs of frozen networks by their features, and drops those networks from ``encoders``.

    Features are standardised where the options say so, by the moments of the training samples.
    """
    data = represent(data, encoders, device)
    for modality, encoder in frozen(encoders).items():
        encoder.without_backbone()
        if encoder.config.standardise:
            data = _standardised(data, modality)
    return data


def represent(
    data: Data, encoders: Mapping[str, Encoder], device: torch.device, progress: ReportProgress = silent
) -> Data:
    """Replaces inputs of frozen networks by their representations, which are computed if they are not in the cache."""
    for modality, encoder in frozen(encoders).items():
        data = _represented(data, modality, encoder, device, progress)
    return data


def frozen(encoders: Mapping[str, Encoder]) -> dict[str, BackboneEncoder]:
    """Those of the encoders whose network stays as it is, by modality."""
    backbones = {modality: encoder for modality, encoder in encoders.items() if isinstance(encoder, BackboneEncoder)}
    return {modality: encoder for modality, encoder in backbones.items() if encoder.config.frozen}


def _standardised(data: Data, modality: str) -> Data:
    parts = {name: cast(Features, getattr(data, name).inputs[modality]) for name in ("train", "validation", "test")}
    uses = np.repeat([1, 0, 0], [len(part) for part in parts.values()])
    values = standardise(np.concatenate(list(parts.values())), uses)
    ends = np.cumsum([len(part) for part in parts.values()])
    scaled = dict(zip(parts, np.split(values, ends[:-1]), strict=True))
    return with_splits(data, lambda name, split: replace(split, inputs={**split.inputs, modality: scaled[name]}))


def _represented(
    data: Data, modality: str, encoder: BackboneEncoder, device: torch.device, progress: ReportProgress
) -> Data:
    def stored(split: Split) -> StoredRows:
        return cast(StoredRows, split.inputs[modality])  # a network reads raw inputs, and decoded ones lie on disk

    array = stored(data.train).array
    used = np.unique(np.concatenate([stored(split).rows for split in (data.train, data.validation, data.test)]))
    source = StoredRows(array, used)

    def make(draft: Draft) -> None:
        encoder.to(device).eval()
        todo = draft.todo
        for start in range(0, len(todo), BATCH):
            rows = todo[start : start + BATCH]
            inputs = torch.from_numpy(source.read(rows)).to(device)
            with torch.inference_mode():
                draft.values[rows] = encoder.represent(inputs).float().cpu().numpy()
            draft.finish(rows, {})
            progress(f"{modality}, frozen", len(used) - len(draft.todo), len(used))

    made = cached_array(
        name=f"{modality}-{type(encoder).__name__.lower()}",
        key={
            "inputs": _content(source),
            "encoder": type(encoder).__name__,
            "version": encoder.version,
            "options": _options(encoder.config),
            "weights": _weights(encoder),
            "device": device.type,
        },
        shape=(len(used), encoder.representation_width),
        dtype=np.dtype(np.float32),
        make=make,
    )
    values = np.array(made.values)

    def represented(_: str, split: Split) -> Split:
        rows = np.searchsorted(used, stored(split).rows)
        return replace(split, inputs={**split.inputs, modality: values[rows]})

    task = replace(data.task, shapes={**data.task.shapes, modality: values.shape[1:]})
    return with_splits(replace(data, task=task), represented)


def _content(rows: StoredRows) -> str:
    """Identifies decoded inputs: by the name of their cache folder, which is a hash of what decides them."""
    path = getattr(rows.array, "filename", None)
    digest = hashlib.sha256(str(path.parent.name if path else "").encode())
    digest.update(rows.rows.tobytes())
    return digest.hexdigest()


def _options(config: BackboneOptions) -> dict[str, Any]:
    """The options that decide what the network computes, apart from its weights."""
    paths = {name for name, value in config if isinstance(value, Path)}
    return config.model_dump(mode="json", exclude={"pretrained", "lr_scale", "project", "mlp", "standardise", *paths})


def _weights(encoder: BackboneEncoder) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(encoder.backbone.state_dict().items() if encoder.backbone else ()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

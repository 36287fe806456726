"""Writes features so that the dataset ``manifest``, or any other program, can read them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlabench.datasets.contract import Data
from mlabench.errors import cannot_write


def export_features(path: Path, data: Data, about: Mapping[str, Any]) -> Path:
    """Writes the features of all samples, and a table of the samples beside them.

    Args:
        path: The file of the features: one float32 array ``[N, ...]`` per modality, by safetensors.
        data: The samples, all modalities in memory.
        about: Where they come from; goes into the metadata as JSON.

    Returns:
        The path of the table: a CSV with ``id``, ``label``, ``split``, ``group`` and the units; row i belongs to row i
        of the arrays.

    Raises:
        UserError: If the files cannot be written.
    """
    from safetensors.numpy import save

    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    arrays = {
        modality: np.concatenate([np.asarray(split.inputs[modality], np.float32) for split in splits.values()])
        for modality in data.task.modalities
    }
    units = tuple(data.train.units)
    rows = [
        [id_, data.task.classes[label], name, group, *(split.units[unit][at] for unit in units)]
        for name, split in splits.items()
        for at, (id_, label, group) in enumerate(zip(split.ids, split.labels, split.groups, strict=True))
    ]
    table = path.with_suffix(".csv")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(save(arrays, metadata={"about": json.dumps(about, sort_keys=True)}))
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([["id", "label", "split", "group", *units], *rows])
    except OSError as error:
        raise cannot_write("features", path, error) from error
    return table

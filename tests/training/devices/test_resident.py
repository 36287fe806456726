"""Stored arrays on the device: sent once, as long as they are used, and only if they fit."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mlabench.datasets import Split, StoredRows
from mlabench.store.cache import open_array
from mlabench.training.devices import resident
from mlabench.training.devices.resident import on_device
from mlabench.training.tensors import SplitTensors

CPU = torch.device("cpu")


@pytest.fixture
def array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[Any]:
    """400 bytes in a file, sent in several parts to a device that has room for four times as many."""
    monkeypatch.setattr(resident, "free_bytes", lambda device: 1600)
    monkeypatch.setattr(resident, "CHUNK", 7)
    np.save(tmp_path / "values.npy", np.arange(400, dtype=np.uint8).reshape(20, 4, 5))
    return open_array(tmp_path / "values.npy")


def test_an_array_is_sent_as_it_is_and_once(array: NDArray[Any]) -> None:
    sent = on_device(array, CPU)
    assert sent is not None
    assert sent.dtype == torch.uint8
    assert np.array_equal(sent, array)
    assert on_device(array, CPU) is sent


def test_it_leaves_the_device_when_nobody_uses_it(array: NDArray[Any]) -> None:
    before = len(resident._resident)
    assert on_device(array[:], CPU) is not None  # a view, which dies here
    gc.collect()
    assert len(resident._resident) == before


def test_what_is_too_large_stays_on_disk(array: NDArray[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "free_bytes", lambda device: 1599)
    assert on_device(array, CPU) is None


def test_nothing_moves_on_a_cpu(tmp_path: Path) -> None:
    assert resident.free_bytes(CPU) == 0
    assert on_device(np.zeros(1), CPU) is None


def test_a_resident_split_reads_nothing(array: NDArray[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: StoredRows, rows: NDArray[np.int64]) -> NDArray[Any]:
        raise AssertionError("read from disk")

    monkeypatch.setattr(StoredRows, "read", refuse)
    rows = np.array([3, 3, 0, 19])
    split = Split(tuple("abcd"), np.zeros(4, np.int64), {"image": StoredRows(array, rows)}, tuple("abcd"))
    present = np.array([[1], [1], [1], [0]], bool)
    first, second = SplitTensors(split, ("image",), present, CPU).training_batches(torch.tensor([2, 0, 3]), 2)
    assert np.array_equal(first.inputs["image"], array[[0, 3]])
    assert not second.inputs["image"].any()
    assert array[19].any()

"""Which arithmetic ``precision: auto`` stands for, and how pictures lie in memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mlabench.training.devices import arithmetic
from mlabench.training.devices.arithmetic import (
    chosen_precision,
    has_bfloat16,
    pays_channels_last,
    use_channels_last,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "has"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True, "avx512_bf16": False}, True), ({"avx512_f": True}, False)],
)
def test_a_processor_says_whether_it_multiplies_in_bfloat16(
    capabilities: dict[str, Any], has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_bfloat16(CPU) is has
    assert not has_bfloat16(torch.device("mps"))


@pytest.mark.parametrize(
    ("asked", "native", "from_raw", "used"),
    [
        ("auto", True, True, "bf16-mixed"),
        ("auto", True, False, "32"),
        ("auto", False, True, "32"),
        ("32", True, True, "32"),
        ("bf16-mixed", False, False, "bf16-mixed"),
    ],
)
def test_auto_is_bfloat16_where_it_pays(
    asked: Any, native: bool, from_raw: bool, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arithmetic, "has_bfloat16", lambda device: native)
    assert chosen_precision(asked, lambda: CPU, lambda: from_raw) == used


@pytest.mark.parametrize(
    ("device", "precision", "pays"),
    [("cpu", "32", True), ("cpu", "bf16-mixed", True), ("cuda", "32", False), ("cuda", "bf16-mixed", True)],
)
def test_channels_last_is_for_cpus_and_bfloat16(device: str, precision: Any, pays: bool) -> None:
    assert pays_channels_last(torch.device(device), precision) is pays


def test_channels_last_changes_the_layout_alone() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(32, 2)).double()
    pictures = torch.rand(2, 3, 8, 8, dtype=torch.double)
    before = network(pictures)
    use_channels_last(network)
    assert network[0](pictures).is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(pictures), before)
    use_channels_last(nn.Conv3d(1, 1, 3))  # has no such layout, and stays as it is

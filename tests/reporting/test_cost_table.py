"""The table of what trainings cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlabench.reporting.results import load
from mlabench.reporting.table import Table
from mlabench.reporting.tables.cost import cost_table
from mlabench.store.records import Store
from tests.reporting.synthetic import MODALITIES, sweep

#: CPU milliseconds of a step of the first seed, backward passes, and memory in MiB.
COSTS = {"Concat": (2.0, 1.0, 40.0), "MLA": (3.0, 1.0, 50.0), "MMIN": (8.0, 0.6, 10.0)}


def costs(label: str, seed: int) -> dict[str, float]:
    milliseconds, backward, memory = COSTS[label]
    passes = {
        f"{way}_passes_{name}": number
        for name in MODALITIES
        for way, number in (("forward", 1.0), ("backward", backward))
    }
    seconds = 1e-3 * (milliseconds + 0.1 * (seed - 1))
    return {
        "wall_seconds_per_step": 10 * seconds, "cpu_seconds_per_step": seconds, **passes,
        "training_memory_mib": memory + 5 * seed,
    }  # fmt: skip


def table(store: Store, *, device: str = "cpu", without: str = "", memory: bool = True) -> list[Table]:
    plan = sweep(store, tuple(COSTS), rates=(0.0, 0.3))
    for cell in plan.cells:
        record = store.read(cell.trial.id)
        assert record is not None
        cost = costs(cell.label, cell.trial.seed) if cell.label != without else {"wall_seconds_train": 3.0}
        if not memory:
            cost.pop("training_memory_mib", None)
        if cell.trial.missing.rate:
            cost = {name: 100 * value for name, value in cost.items()}
        changes = {"cost": cost, "environment": {"device": device}, "parameters": 1000 * len(cell.label), "files": {}}
        store.write(record.model_copy(update=changes))
    return list(cost_table(load(plan, store)))


def rows(found: Table) -> dict[str, list[str]]:
    return {
        row.heads[0]: [f"{cell.mean} ±{cell.std}" if cell.std else cell.mean for cell in row.cells]
        for row in found.rows
    }


def test_in_units_of_the_first_method(tmp_path: Path) -> None:
    (found,) = table(Store(tmp_path))
    # Seeds 0, 1 and 2: 0.1 ms below, at, and above; the memory is that of seed 0.
    assert rows(found) == {
        "Concat": ["1.00 ±0.00", "1.00 ±0.00", "2.0 ±0.1", "1.00 ±0.05", "40.0", "1.00", "6,000", "1.00"],
        "MLA": ["1.00 ±0.00", "1.00 ±0.00", "3.0 ±0.1", "1.50 ±0.05", "50.0", "1.25", "3,000", "0.50"],
        "MMIN": ["1.00 ±0.00", "0.60 ±0.00", "8.0 ±0.1", "4.00 ±0.05", "10.0", "0.25", "4,000", "0.67"],
    }
    assert "with 0 % missing" in found.note
    assert "on the processor" in found.note
    assert "in units of Concat" in found.note


def test_by_the_wall_clock_on_a_gpu(tmp_path: Path) -> None:
    (found,) = table(Store(tmp_path), device="cuda:0")
    assert rows(found)["MLA"][2] == "30.0 ±1.0"
    assert "by the wall clock" in found.note


@pytest.mark.parametrize(("device", "ratio"), [("cpu", "—"), ("cuda:0", "0.80")])
def test_the_noise_of_a_process_is_no_yardstick(
    device: str, ratio: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COSTS, "Concat", (2.0, 1.0, 12.5))
    (found,) = table(Store(tmp_path), device=device)
    assert rows(found)["MMIN"][4:6] == ["10.0", ratio]


def test_what_was_not_measured(tmp_path: Path) -> None:
    (found,) = table(Store(tmp_path), without="Concat", memory=False)
    assert rows(found) == {
        "MLA": ["1.00 ±0.00", "1.00 ±0.00", "3.0 ±0.1", "1.00 ±0.03", "—", "—", "3,000", "1.00"],
        "MMIN": ["1.00 ±0.00", "0.60 ±0.00", "8.0 ±0.1", "2.67 ±0.03", "—", "—", "4,000", "1.33"],
    }


def test_records_from_before_it_was_measured(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert list(cost_table(load(sweep(store), store))) == []

"""What each method's training costs, in units of the suite's first method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mlabench.record import Record
from mlabench.reporting import wording
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Row, Table, unranked
from mlabench.statistics import summarise

_RATIO, _MEMORY = "z.2f", "training_memory_mib"
#: Below this, a process's memory is no yardstick: it varies by so much for other reasons. In MiB.
_NOISE = 16.0
#: How time was measured, in words.
_CLOCKS = {"cpu": "on the processor", "wall": "by the wall clock"}
_COLUMNS = (
    "Forward", "Backward", "Time (ms)", "Time ×", "Memory (MiB)", "Memory ×", "Parameters", "Parameters ×",
)  # fmt: skip


def cost_table(results: Results) -> Iterator[Table]:
    """Passes, time, memory and parameters of the trainings with the fewest modalities missing; none if not measured."""
    measured = _measured(results)
    if not measured:
        return
    setting, reference, clock = results.settings[0], next(iter(measured)), _clock(measured)
    on_gpus = all(device.startswith("cuda") for device in _devices(measured))
    time, noise = f"{clock}_seconds_per_step", 0.0 if on_gpus else _NOISE
    rows = []
    for label, records in measured.items():
        own, others = [record.cost for record in records], [record.cost for record in measured[reference]]
        milliseconds = [1e3 * cost[time] for cost in own]
        first = float(np.mean([1e3 * cost[time] for cost in others]))
        cells = [
            *(Cell(summarise(_passes(cost, way) for cost in own), form=_RATIO) for way in ("forward", "backward")),
            Cell(summarise(milliseconds)),
            Cell(summarise(value / first for value in milliseconds), form=_RATIO),
            *_relative(_lowest(own), _lowest(others), "z.1f", noise),
            *_relative(records[0].parameters, measured[reference][0].parameters, ",.0f"),
        ]
        rows.append(Row((label,), tuple(cells)))
    yield Table(
        name="cost",
        title="Cost of training",
        note=f"Trained with {setting} missing; evaluations are left out. Forward, backward: passes of a sample through "
        "its encoders, per training step, those between epochs included. Time: of a step, "
        f"{_CLOCKS[clock]}, mean ± standard deviation over trainings. "
        "Memory: the highest above that before training, the lowest of them; on the CPU the process's, of which "
        f"up to {_NOISE:.0f} MiB are noise, so there is no ratio (—). Parameters: trainable. ×: in units of "
        f"{reference}.",
        conditions=wording.conditions(results.plan, results.on_axis(setting)),
        heads=("Method",),
        columns=unranked(*_COLUMNS),
        rows=tuple(rows),
    )


def relative_times(results: Results) -> dict[str, float]:
    """What a training step takes, in units of the first method."""
    measured = _measured(results)
    clock = _clock(measured)
    means = {
        label: float(np.mean([record.cost[f"{clock}_seconds_per_step"] for record in records]))
        for label, records in measured.items()
    }
    return {label: mean / next(iter(means.values())) for label, mean in means.items()}


def _measured(results: Results) -> dict[str, list[Record]]:
    """The trainings with the fewest modalities missing of each method whose cost was measured."""
    measured = {}
    for label in results.labels:
        rows = results.at(label, results.settings[0], MULTIMODAL)
        records = [results.records[trial] for trial in rows.loc[rows["status"] == "ok", "trial"]]
        if known := [record for record in records if "cpu_seconds_per_step" in record.cost]:
            measured[label] = known
    return measured


def _devices(measured: Mapping[str, Sequence[Record]]) -> set[str]:
    return {record.environment.get("device", "cpu") for records in measured.values() for record in records}


def _clock(measured: Mapping[str, Sequence[Record]]) -> str:
    """Where the processor does the work, its time is that of the training, however busy the machine is."""
    return "cpu" if _devices(measured) == {"cpu"} else "wall"


def _passes(cost: Mapping[str, float], way: str) -> float:
    """Mean over the modalities."""
    return float(np.mean([value for name, value in cost.items() if name.startswith(f"{way}_passes_")]))


def _lowest(costs: Sequence[Mapping[str, float]]) -> float | None:
    """The memory of that training which took the least, of those of which it was measured."""
    return min((cost[_MEMORY] for cost in costs if _MEMORY in cost), default=None)


def _relative(own: float | None, reference: float | None, form: str, noise: float = 0.0) -> tuple[Cell, Cell]:
    """A number, and how many times the reference it is; dashes for what is not known."""
    if own is None:
        return Cell(text="—"), Cell(text="—")
    ratio = "—" if reference is None or reference <= noise else format(own / reference, _RATIO)
    return Cell(text=format(own, form)), Cell(text=ratio)

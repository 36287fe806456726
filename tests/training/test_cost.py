"""What a training costs, against counts and sizes known in advance."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mlabench.datasets import Split
from mlabench.method import Batch, Method, Optimization, Prediction
from mlabench.testing import build_method, make_task
from mlabench.training import cost
from mlabench.training.cost import Meter
from mlabench.training.devices.fabric import make_fabric
from mlabench.training.loop import Observers, TrainingRun
from mlabench.training.tensors import SplitTensors, accuracies
from mlabench.trial import Training
from tests.command_line import ROOT

TASK = make_task(modalities=2)
FIRST, SECOND = TASK.modalities
SAMPLES, BATCH, EPOCHS = 20, 8, 3
STEPS = EPOCHS * 3
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return make_fabric("cpu", "32")


@pytest.fixture
def train() -> SplitTensors:
    return split(np.ones((SAMPLES, 2), dtype=bool))


def split(present: Any) -> SplitTensors:
    random = np.random.default_rng(3)
    names = tuple(map(str, range(len(present))))
    inputs = {
        name: random.normal(size=(len(present), *TASK.shapes[name])).astype(np.float32) for name in TASK.modalities
    }
    labels = random.integers(len(TASK.classes), size=len(present))
    return SplitTensors(Split(names, labels, inputs, names), TASK.modalities, present, CPU)


def measured(method: Method, train: SplitTensors, fabric: Fabric) -> dict[str, float]:
    meter = Meter(method, CPU)

    def validate() -> dict[str, float]:
        return accuracies(method, train, fabric)

    observers = Observers(validate, dict, lambda *_: None, measure=meter.running)
    TrainingRun(method, train, train, Training(epochs=EPOCHS, batch_size=BATCH), 0, fabric, observers).fit()
    counts = train.present.sum(dim=0).tolist()
    return meter.costs(STEPS, {name: EPOCHS * count for name, count in zip(TASK.modalities, counts, strict=True)})


def passes(costs: dict[str, float], modality: str) -> tuple[float, float]:
    return costs[f"forward_passes_{modality}"], costs[f"backward_passes_{modality}"]


@pytest.mark.parametrize("name", ["concat", "late_fusion", "mla"])
def test_one_pass_each(name: str, train: SplitTensors, fabric: Fabric) -> None:
    costs = measured(build_method(name, TASK), train, fabric)
    assert passes(costs, FIRST) == passes(costs, SECOND) == (1.0, 1.0)


def test_absent_samples_cost_nothing(fabric: Fabric) -> None:
    present = np.ones((SAMPLES, 2), dtype=bool)
    present[::2, 0] = False
    costs = measured(build_method("concat", TASK), split(present), fabric)
    assert passes(costs, FIRST) == passes(costs, SECOND) == (1.0, 1.0)
    present[:, 0] = False
    assert f"forward_passes_{FIRST}" not in measured(build_method("concat", TASK), split(present), fabric)


class Wasteful(Method):
    """Per step, three forward and two backward passes of the first modality, and half a one of the second."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.head = torch.nn.Linear(6, len(self.task.classes))
        self.teacher = copy.deepcopy(self.encoders).requires_grad_(False)

    def training_step(self, batch: Batch, optimization: Optimization) -> dict[str, Tensor]:
        inputs = batch.inputs[FIRST]
        feature = self.encoders[FIRST](inputs)
        target = self.teacher[FIRST](inputs)
        late_copy = copy.deepcopy(self.encoders)[FIRST](inputs)
        loss = F.cross_entropy(self.head(feature), batch.label) + F.mse_loss(feature, target)
        # Up to the features only: nothing goes backward through the encoder.
        torch.autograd.grad(loss, feature, retain_graph=True)
        torch.autograd.grad(loss, list(self.encoders[FIRST].parameters()), retain_graph=True)
        optimization.update(loss + 0 * late_copy.detach().sum())
        half = len(batch) // 2
        with torch.no_grad():
            self.encoders[SECOND](batch.inputs[SECOND][:half])
        return {"loss": loss.detach()}

    def predict(self, batch: Batch) -> Prediction:
        embedding = self.encode(batch)
        unimodal = {name: self.head(feature) for name, feature in embedding.items()}
        return Prediction(unimodal[FIRST], unimodal, embedding)


def test_copies_and_repetitions_count(train: SplitTensors, fabric: Fabric) -> None:
    known = build_method("concat", TASK)
    method = Wasteful(TASK, dict(known.encoders.items()), known.config, SAMPLES)
    costs = measured(method, train, fabric)
    assert passes(costs, FIRST) == (3.0, 2.0)
    assert passes(costs, SECOND) == (0.5, 0.0)  # batches of 8, 8 and 4


def test_measuring_changes_no_bit(train: SplitTensors, fabric: Fabric) -> None:
    watched, alone = build_method("mmin", TASK), build_method("mmin", TASK)
    measured(watched, train, fabric)
    observers = Observers(lambda: accuracies(alone, train, fabric), dict, lambda *_: None)
    TrainingRun(alone, train, train, Training(epochs=EPOCHS, batch_size=BATCH), 0, fabric, observers).fit()
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in watched.state_dict().items())


def test_time_is_that_of_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter(build_method("concat", TASK), CPU)

    def clock(times: Iterator[float]) -> Any:
        return lambda: next(times)

    monkeypatch.setattr(cost.time, "perf_counter", clock(iter([10.0, 13.0, 20.0, 21.0])))
    monkeypatch.setattr(cost.time, "process_time", clock(iter([1.0, 3.0, 7.0, 8.5])))
    for _ in range(2):
        with meter.running():
            pass
    costs = meter.costs(8, {})
    assert costs["wall_seconds_per_step"] == pytest.approx((3 + 1) / 8)
    assert costs["cpu_seconds_per_step"] == pytest.approx((2 + 1.5) / 8)


def take(mebibytes: int) -> None:
    torch.ones(mebibytes * 2**18)


def memory_taken() -> float:
    """In MiB, by something that takes 64, then 128, with 300 before and between, which do not count."""
    take(300)
    meter = Meter(build_method("concat", TASK), CPU)
    with meter.running():
        take(64)
    take(300)  # an evaluation
    with meter.running():
        take(128)
    return meter.costs(1, {})["training_memory_mib"]


@pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux only")
def test_memory_is_what_the_training_took_at_once() -> None:
    assert 128 <= memory_taken() + 1 < 160


HOLE = """
import torch
from tests.training.test_cost import memory_taken, take
take(30)  # from now on, the C library puts blocks below this size on the heap
blocks = [torch.ones(20 * 2**18) for _ in range(6)]
del blocks[:5]
print(memory_taken())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux only")
def test_memory_in_a_hole_of_the_heap_does_not_count_twice() -> None:
    """The first 64 MiB fit into the hole, which keeps them, the next 128 do not."""
    done = subprocess.run([sys.executable, "-c", HOLE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 128 <= float(done.stdout) + 1 < 160


def test_what_cannot_be_measured_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_STATUS", cost._STATUS.with_name("no such file"))
    meter = Meter(build_method("concat", TASK), CPU)
    with meter.running():
        pass
    assert set(meter.costs(1, {})) == {"wall_seconds_per_step", "cpu_seconds_per_step"}

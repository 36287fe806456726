"""Time per step of the training loop against a minimal loop of the same mathematics, and its matrix products alone."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

from mlabench import registry
from mlabench.datasets import Task
from mlabench.encoders.features import MLP
from mlabench.method import Batch, Method
from mlabench.missing import Missing
from mlabench.training.devices.fabric import make_fabric
from mlabench.training.loop import Observers, TrainingRun, stable_seed
from mlabench.training.tensors import SplitTensors
from mlabench.trial import Adam, Training

EPOCHS, BATCH, REPEATS, SEED = 1, 64, 9, 0
LR = 1e-3

Inputs = Mapping[str, Tensor]


class Products(TorchDispatchMode):
    """Notes the matrix products of what runs inside, to do them again without all the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("mm", "addmm", "mv", "addmv"):
            self.calls.append(partial(func, *args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def training_split(device: torch.device) -> tuple[Task, SplitTensors]:
    """The complete training split of `stamps` on the device."""
    kind = registry.get("datasets", "stamps").load()
    dataset = kind(kind.Config())
    data = dataset.fit(dataset.load())
    present = Missing().pattern("stamps", data.train.ids, data.task.modalities)
    return data.task, SplitTensors(data.train, data.task.modalities, present, device)


def products_of(method: Method, train: SplitTensors, step: Callable[..., Tensor]) -> list[Callable[[], Any]]:
    """The matrix products of a step, forward and backward."""
    optimizer = torch.optim.Adam(method.parameters(), LR, fused=True)
    (batch, *_) = train.training_batches(torch.arange(BATCH), BATCH)
    with Products() as products:
        step(method, batch.inputs, batch.label, optimizer)
    return products.calls


@torch.no_grad()
def products_alone(calls: list[Callable[[], Any]], steps: int) -> None:
    for _ in range(steps):
        for call in calls:
            call()


def plain_loop(method: Method, train: Batch, step: Callable[..., Tensor]) -> float:
    """All that a benchmark needs to do: shuffle, index, step. Returns the last epoch's mean loss."""
    optimizer = torch.optim.Adam(method.parameters(), LR, fused=True)
    for epoch in range(EPOCHS):
        generator = torch.Generator().manual_seed(stable_seed(SEED, "train", epoch))
        losses = []
        for rows in torch.randperm(len(train), generator=generator).split(BATCH):
            inputs = {modality: values[rows] for modality, values in train.inputs.items()}
            losses.append(step(method, inputs, train.label[rows], optimizer))
    return torch.stack(losses).mean().item()


def concat(method: nn.Module, inputs: Inputs, label: Tensor, optimizer: Optimizer) -> Tensor:
    features = [method.encoders[modality](values) for modality, values in inputs.items()]
    loss = F.cross_entropy(method.head(torch.cat(features, dim=1)), label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def mla(method: nn.Module, inputs: Inputs, label: Tensor, optimizer: Optimizer) -> Tensor:
    projector, weight = method.gradient_modification.projector, method.heads["shared"].weight
    losses = []
    for modality, values in inputs.items():
        feature = method.encoders[modality](values)
        loss = F.cross_entropy(method.heads["shared"](feature), label)
        optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            mean = feature.mean(dim=0)
            direction = projector @ mean
            projector -= torch.outer(direction, direction) / (0.1 + mean @ direction)
            weight.grad = weight.grad @ projector
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).mean()


def main() -> None:
    fabric = make_fabric("cpu", "32")
    task, train = training_split(fabric.device)
    (everything,) = train.training_batches(torch.arange(len(train)), len(train))
    training = Training(epochs=EPOCHS, batch_size=BATCH, optimizer=Adam(lr=LR), selection="last")
    observers = Observers(lambda: {"multimodal": 0.0}, dict, lambda *_: None)
    steps = EPOCHS * -(-len(train) // BATCH)
    for name, step in {"concat": concat, "mla": mla}.items():
        kind = registry.get("methods", name).load()
        torch.manual_seed(SEED)
        encoders = {modality: MLP(shape, MLP.Config()) for modality, shape in task.shapes.items()}
        start = kind(task, encoders, kind.Config(), len(train))
        products = products_of(copy.deepcopy(start), train, step)
        times: list[list[float]] = []
        # Processor time, in turns, so that a busy machine matters little; the first turn only warms up.
        for _ in range(1 + REPEATS):
            first, second = copy.deepcopy(start), copy.deepcopy(start)
            clock = [time.process_time()]
            curves, _ = TrainingRun(first, train, train, training, SEED, fabric, observers).fit()
            clock.append(time.process_time())
            loss = plain_loop(second, everything, step)
            clock.append(time.process_time())
            products_alone(products, steps)
            clock.append(time.process_time())
            times.append([1e3 * (end - begin) / steps for begin, end in pairwise(clock)])
        ours, plain, bare = (statistics.median(column) for column in zip(*times[1:], strict=True))
        print(
            f"{name}: mlabench {ours:.2f} ms a step; plain torch {plain:.2f} ms, ratio {ours / plain:.2f}; "
            f"matrix products {bare:.2f} ms, ratio {ours / bare:.2f}; "
            f"final loss {curves[-1].logs['loss']:.5f} and {loss:.5f}"
        )


if __name__ == "__main__":
    main()

"""A step of MLA against one of concatenation with ResNet-18 encoders, on small pictures and spectrograms."""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from mlabench import registry
from mlabench.datasets import Split, Task
from mlabench.encoders.from_timm import TimmEncoder
from mlabench.method import Method
from mlabench.training.devices.fabric import make_fabric
from mlabench.training.loop import Observers, TrainingRun
from mlabench.training.tensors import SplitTensors
from mlabench.trial import SGD, Training

STEPS, REPEATS = 2, 5


def make(name: str, task: Task, samples: int) -> Method:
    kind = registry.get("methods", name).load()
    torch.manual_seed(0)
    options = TimmEncoder.Config(model="resnet18", pretrained=False, size=task.shapes["image"][-1])
    encoders = {modality: TimmEncoder(shape, options) for modality, shape in task.shapes.items()}
    method: Method = kind(task, encoders, kind.Config(), samples)
    return method


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="32")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=64, help="Side of pictures and spectrograms.")
    options = parser.parse_args()
    size, samples = options.size, STEPS * options.batch
    task = Task(("audio", "image"), tuple("abcdef"), {"audio": (size, size), "image": (3, size, size)})
    random, names = np.random.default_rng(0), tuple(map(str, range(samples)))
    inputs = {
        "audio": random.normal(size=(samples, size, size)).astype(np.float16),
        "image": random.integers(0, 256, (samples, 3, size, size), dtype=np.uint8),
    }
    fabric = make_fabric(options.device, options.precision)
    split = Split(names, random.integers(6, size=samples), inputs, names)
    train = SplitTensors(split, task.modalities, np.ones((samples, 2), bool), fabric.device)
    training = Training(epochs=1, batch_size=options.batch, optimizer=SGD(lr=1e-3), selection="last")
    observers = Observers(lambda: {"multimodal": 0.0}, dict, lambda *_: None)
    methods = {name: make(name, task, samples).to(fabric.device) for name in ("concat", "mla")}
    times: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(1 + REPEATS):  # in turns; the first one only warms up
        for name, method in methods.items():
            clock = time.process_time if fabric.device.type == "cpu" else time.perf_counter
            start = clock()
            TrainingRun(method, train, train, training, 0, fabric, observers).fit()
            times[name].append((clock() - start) / STEPS)
    concat, mla = (1e3 * statistics.median(values[1:]) for values in times.values())
    print(f"ResNet-18, batches of {options.batch}, side {size}, on {fabric.device}: ", end="")
    print(f"concat {concat:.1f} ms a step, mla {mla:.1f} ms, ratio {mla / concat:.2f}")


if __name__ == "__main__":
    main()

"""Ten minutes on one GPU: steps of ResNet-18, many small trainings, every method on the device, determinism.

python -m tests.speed.gpu                        the tables
python -m tests.speed.gpu --device cpu --tiny    whether the script works, in two minutes; its numbers say nothing
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from mlabench import registry
from mlabench.datasets import Split, Task
from mlabench.encoders.from_timm import TimmEncoder
from mlabench.method import Batch, Method
from mlabench.testing import build_method, fit, make_batch, make_task
from mlabench.testing.fitting import predict
from mlabench.training.devices.compilation import compile_encoders
from mlabench.training.devices.fabric import make_fabric
from mlabench.training.loop import Observers, TrainingRun
from mlabench.training.tensors import SplitTensors
from mlabench.trial import SGD, Training
from tests.test_method_contract import OPTIONS

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Size:
    """How large everything is. The large one has the shapes of CREMA-D in the paper's suite."""

    bank: tuple[int, int] = (1024, 128)
    side: int = 224
    batch: int = 64
    steps: int = 20
    repeats: int = 3
    product: int = 8192
    seeds: int = 16
    epochs: int = 20


TINY = Size(bank=(64, 32), side=32, batch=4, steps=1, repeats=1, product=256, seeds=2, epochs=1)

Row = tuple[str, ...]


# -- ResNet-18 on clips -----------------------------------------------------------------------------


def networks(device: str, size: Size) -> Iterator[Row]:
    """Samples per second of a training step of concatenation, and the share of what a matrix product reaches."""
    yield "ResNet-18 on clips", "samples/s", "TFLOP/s", "of a matrix product"
    for precision, last, compiled in (
        ("32", False, False),
        ("32", True, False),
        ("bf16-mixed", False, False),
        ("bf16-mixed", True, False),
        ("bf16-mixed", True, True),
    ):
        if compiled and size is TINY:
            continue  # compiling takes as long as on the large one
        name = precision + (", channels_last" if last else "") + (", compiled" if compiled else "")
        try:
            seconds, operations = _step(device, size, precision, last=last, compiled=compiled)
        except Exception as error:  # one that is not to be had here leaves the others
            yield name, f"{type(error).__name__}: {' '.join(str(error).split())[:60]}", "", ""
            continue
        reached, peak = operations / seconds, _product(device, size, precision)
        yield name, f"{size.batch / seconds:.0f}", f"{reached / 1e12:.2f}", f"{reached / peak:.0%}"


def _clips(size: Size, samples: int) -> tuple[Task, Split]:
    shapes = {"audio": size.bank, "video": (3, 3, size.side, size.side)}
    random, names = np.random.default_rng(0), tuple(map(str, range(samples)))
    inputs: dict[str, Any] = {
        "audio": random.normal(size=(samples, *shapes["audio"])).astype(np.float16),
        "video": random.integers(0, 256, (samples, *shapes["video"]), dtype=np.uint8),
    }
    task = Task(("audio", "video"), tuple("abcdef"), shapes)
    return task, Split(names, random.integers(6, size=samples), inputs, names)


def _on_clips(name: str, task: Task, size: Size, samples: int) -> Method:
    kind = registry.get("methods", name).load()
    torch.manual_seed(0)
    options = TimmEncoder.Config(model="resnet18", pretrained=False, size=size.side)
    encoders = {modality: TimmEncoder(shape, options) for modality, shape in task.shapes.items()}
    method: Method = kind(task, encoders, kind.Config(), samples)
    return method


def _training(method: Method, split: Split, size: Size, device: str, precision: str) -> Callable[[], None]:
    """One epoch of ``size.steps`` steps, from data that lie on the device."""
    fabric = make_fabric(device, precision)
    present = np.ones((len(split), len(method.task.modalities)), bool)
    train = SplitTensors(split, method.task.modalities, present, fabric.device)
    training = Training(epochs=1, batch_size=size.batch, optimizer=SGD(lr=1e-3), selection="last")
    observers = Observers(lambda: {"multimodal": 0.0}, dict, lambda *_: None)

    def train_once() -> None:
        TrainingRun(method, train, train, training, 0, fabric, observers).fit()

    return train_once


def _step(device: str, size: Size, precision: str, *, last: bool, compiled: bool) -> tuple[float, float]:
    """Seconds of a step, and its floating-point operations."""
    task, split = _clips(size, size.steps * size.batch)
    method = _on_clips("concat", task, size, len(split)).to(device)
    if last:
        method.to(memory_format=torch.channels_last)
    one = split.take(range(size.batch))
    with FlopCounterMode(display=False) as counter:
        _training(method, one, size, device, precision)()
    if compiled:
        compile_encoders(method)
    train = _training(method, split, size, device, precision)
    times = [_seconds(device, train) for _ in range(1 + size.repeats)]  # the first one only warms up
    return statistics.median(times[1:]) / size.steps, counter.get_total_flops()


def _product(device: str, size: Size, precision: str) -> float:
    """Operations per second of a large matrix product in the same arithmetic."""
    kind = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    square = torch.ones(size.product, size.product, dtype=kind, device=device)
    times = [_seconds(device, lambda: torch.mm(square, square)) for _ in range(5)]
    return 2 * size.product**3 / min(times[1:])


def _seconds(device: str, do: Callable[[], object]) -> float:
    _wait(device)
    start = time.perf_counter()
    do()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


# -- the rest ---------------------------------------------------------------------------------------


def small_trainings(device: str, size: Size) -> Iterator[Row]:
    """Trainings per minute of small networks on features, by how many share the device."""
    yield "small trainings that share the device", "per minute"
    for shared in (1, 4, 8) if size is not TINY else (1,):
        with tempfile.TemporaryDirectory() as results:
            options = f"--method concat --method mla --folds none --seeds 0-{size.seeds - 1} --rates 0 --jobs {shared}"
            command = [sys.executable, "-m", "mlabench", "run", "suites/stamps_missing.yaml", *options.split()]
            command += ["--device", device, "--results", results, "--set", f"training.epochs={size.epochs}"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                yield str(shared), done.stderr.strip()[-80:]
                continue
            (log,) = Path(results, "events").iterdir()
            events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        at = {
            kind: [datetime.fromisoformat(event["time"]) for event in events if event["event"] == kind]
            for kind in ("started", "finished")
        }
        minutes = (at["finished"][-1] - at["started"][0]).total_seconds() / 60
        yield str(shared), f"{len(at['finished']) / minutes:.1f}"


def methods(device: str, _: Size) -> Iterator[Row]:
    """Every method trains on the device, and predicts there what the same weights predict on the CPU."""
    yield f"every method on {device}", "largest difference of logits to the CPU"
    for name, entry in registry.entries("methods").items():
        count = 2 if "more than two modalities" in entry.about.limits else 3
        try:
            method, batch = build_method(name, make_task(count), **OPTIONS.get(name, {})), make_batch(make_task(count))
            there = _moved(batch, device)
            fit(method.to(device), [there], 4)
            on_device = predict(method, there).fused.cpu()
            on_cpu = predict(copy.deepcopy(method).cpu(), batch).fused
            yield name, f"{float((on_device - on_cpu).abs().max()):.1e}"
        except Exception as error:  # each is to be seen
            yield name, f"FAILS: {type(error).__name__}: {' '.join(str(error).split())[:80]}"


def _moved(batch: Batch, device: str) -> Batch:
    inputs = {modality: values.to(device) for modality, values in batch.inputs.items()}
    return Batch(inputs, batch.present.to(device), batch.label.to(device), batch.index.to(device))


def determinism(device: str, size: Size) -> Iterator[Row]:
    """Two trainings of one seed end with the same weights, to the bit."""
    yield "two trainings of one seed", "same weights"
    task, split = _clips(size, size.batch * min(size.steps, 3))
    for name in ("concat", "mla"):
        for precision in ("32", "bf16-mixed"):
            states = []
            for _ in range(2):
                method = _on_clips(name, task, size, len(split)).to(device)
                _training(method, split, size, device, precision)()
                states.append(method.state_dict())
            same = all(torch.equal(value, states[1][key]) for key, value in states[0].items())
            yield f"{name}, {precision}", "yes" if same else "NO"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="Small shapes, to try the script.")
    parser.add_argument("--minutes", type=float, default=10.0, help="After so many, no further table is begun.")
    options = parser.parse_args()
    size, start = TINY if options.tiny else Size(), time.monotonic()
    about = torch.cuda.get_device_name() if options.device == "cuda" else "the CPU"
    print(f"On {about}, torch {torch.__version__}")
    for part in (networks, methods, determinism, small_trainings):
        if time.monotonic() - start > 60 * options.minutes:
            print(f"\nNo time is left for {part.__name__}.")
            continue
        for number, row in enumerate(part(options.device, size)):
            if number == 0:
                print(f"\n{' | '.join(row)}\n{' | '.join('---' for _ in row)}", flush=True)
            else:
                print(" | ".join(row), flush=True)


if __name__ == "__main__":
    main()

"""Steps of ten trainings of one method: one after another, and stacked into one model by `torch.func.vmap`.

It says what a batched loop could gain, and which methods it could take: those whose step is one loss and one update,
and that `vmap` can transform. The encoders have no dropout here, since vmap draws for all trainings at once: none of
them would draw what it draws alone.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mlabench import registry
from mlabench.encoders.features import MLP
from mlabench.method import Batch, Method
from mlabench.training.loop import Updater
from tests.speed.training_loop import training_split

TRAININGS, REPEATS, LR = 10, 7, 1e-3


class LossOf(nn.Module):
    """A method's loss as a function of a batch's tensors, which `functional_call` needs."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, inputs: Mapping[str, Tensor], present: Tensor, label: Tensor, index: Tensor) -> Tensor:
        return self.method.loss(Batch.with_rows(inputs, present, label, index, (None,) * present.shape[-1]))


def stacked_step(methods: list[Method], batches: list[Batch]) -> Callable[[], None]:
    """One step of all methods at once, with one Adam over their stacked parameters."""
    losses = [LossOf(copy.deepcopy(method)) for method in methods]
    parameters, buffers = stack_module_state(losses)
    skeleton = copy.deepcopy(losses[0]).to("meta")
    optimizer = torch.optim.Adam([own for own in parameters.values() if own.requires_grad], LR, fused=True)
    inputs = {name: torch.stack([batch.inputs[name] for batch in batches]) for name in batches[0].inputs}
    rest = [torch.stack([getattr(batch, name) for batch in batches]) for name in ("present", "label", "index")]
    loss = vmap(lambda own, state, *arguments: functional_call(skeleton, (own, state), arguments))

    def step() -> None:
        total = loss(parameters, buffers, inputs, *rest).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step


def milliseconds(step: Callable[[], None], device: torch.device) -> float:
    """Median time: of the processor on a CPU, so that a busy machine matters little."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    times = []
    for _ in range(1 + REPEATS):
        start = clock()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - start)
    return 1e3 * statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    task, train = training_split(options.device)
    orders = [torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)) for seed in range(TRAININGS)]
    batches = [next(train.training_batches(order, options.batch)) for order in orders]
    for name, entry in registry.entries("methods").items():
        made = entry.load()
        if made.training_step is not Method.training_step:
            print(f"{name:18} has a step of its own")
            continue
        methods = []
        for seed in range(TRAININGS):
            torch.manual_seed(seed)
            encoders = {own: MLP(shape, MLP.Config(dropout=0.0)) for own, shape in task.shapes.items()}
            method = made(task, encoders, made.Config(), len(train)).to(options.device)
            method.on_stage_start(method.stages(1)[0])
            methods.append(method.train())
        updaters = [
            Updater(torch.optim.Adam([own for own in method.parameters() if own.requires_grad], LR, fused=True))
            for method in methods
        ]

        def in_turn(methods: list[Method] = methods, updaters: list[Updater] = updaters) -> None:
            for method, batch, updater in zip(methods, batches, updaters, strict=True):
                method.training_step(batch, updater)

        try:
            together = stacked_step(methods, batches)
            together()
        except RuntimeError as error:
            print(f"{name:18} cannot be transformed: {str(error).partition(chr(10))[0][:80]}")
            continue
        alone, both = milliseconds(in_turn, options.device), milliseconds(together, options.device)
        print(
            f"{name:18} one after another {alone:.1f} ms, stacked {both:.1f} ms, ratio {alone / both:.2f}", flush=True
        )


if __name__ == "__main__":
    main()

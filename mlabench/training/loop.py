"""The one training loop, for every method and device."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mlabench.encoders import Encoder
from mlabench.method import Method, Progress, Stage
from mlabench.record import Epoch
from mlabench.training.checkpoint import Checkpoints, Snapshot
from mlabench.training.devices.fabric import Fabric
from mlabench.training.tensors import SplitTensors
from mlabench.trial import SGD, Adam, Cosine, Step, Training


class TrainingDivergedError(Exception):
    """The loss is no longer a finite number."""


@dataclass
class Updater:
    """The :class:`mlabench.method.Optimization` that the loop hands to methods.

    ``backward`` back-propagates a loss; by default on the CPU in full precision. ``clip_norm`` is the largest norm that
    the gradients of one update may have, all parameters together; None for no limit.
    """

    optimizer: Optimizer
    progress: Progress = field(default=Progress(0, 1, 0, 1))
    backward: Callable[[Tensor], None] = torch.autograd.backward
    clip_norm: float | None = None

    def update(self, loss: Tensor, before_step: Callable[[], None] | None = None) -> None:
        """Clears gradients, back-propagates ``loss``, calls ``before_step``, clips, steps the optimiser."""
        self.optimizer.zero_grad()
        self.backward(loss)
        if before_step is not None:
            before_step()
        if self.clip_norm is not None:
            parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        self.optimizer.step()
        # Mixed precision remembers the cast weights; a second update in the same step must see the new ones.
        torch.clear_autocast_cache()

    def restart(self) -> None:
        """Forgets the optimiser's state."""
        self.optimizer.state.clear()


@dataclass(frozen=True)
class Observers:
    """What the loop calls after each epoch.

    ``validate`` gives accuracies on the validation split, of which ``multimodal`` decides ``best_val``. ``watch_test``
    gives fused test accuracies per pattern key; the loop passes them on. It asks after every ``watch_every`` epochs of
    the last stage and at its end, unless the selection is ``best_test``, which takes the first of them after all epochs
    of all stages. ``measure`` encloses all that is training, so that evaluations are left out. ``discard`` is called
    at the end of the training, while the method still has the weights of the last epoch, if those of another one are
    selected.
    """

    validate: Callable[[], dict[str, float]]
    watch_test: Callable[[], dict[str, float]]
    report: Callable[[Epoch], None]
    measure: Callable[[], AbstractContextManager[None]] = nullcontext
    discard: Callable[[], None] = lambda: None
    watch_every: int = 1


@dataclass
class TrainingRun:
    """Trains ``method`` in place.

    Each stage has its own optimiser and schedule, ends early where ``training.patience`` says so, and starts from the
    selected epoch of the one before. ``seed`` decides
    the order of the batches and all that the method draws. The method may look at ``validation`` between epochs; the
    epoch is selected by what ``observers`` say. If there is a checkpoint, the training resumes from it.
    """

    method: Method
    train: SplitTensors
    validation: SplitTensors
    training: Training
    seed: int
    fabric: Fabric
    observers: Observers
    checkpoints: Checkpoints | None = None
    curves: list[Epoch] = field(default_factory=list)

    def fit(self) -> tuple[list[Epoch], int]:
        """The learning curves, and the epoch of the last stage, counted from 1, whose weights the method ends with."""
        snapshot = self.checkpoints.load() if self.checkpoints else None
        selected = 0
        stages = self.method.stages(self.training.epochs)
        for place, stage in enumerate(stages):
            with self.observers.measure():
                self.method.on_stage_start(stage)
            if snapshot is not None and place < snapshot.stage:
                continue  # its beginning froze what it freezes; the state comes with the snapshot's own stage
            resume = snapshot if snapshot is not None and place == snapshot.stage else None
            selected = self._fit_stage(place, stage, resume, is_last=place == len(stages) - 1)
        return self.curves, selected

    def _fit_stage(self, place: int, stage: Stage, resume: Snapshot | None, *, is_last: bool) -> int:
        """Trains one stage and returns the selected epoch."""
        optimizer = make_optimizer(self.method, self.training)
        schedule = LambdaLR(optimizer, lambda epoch: learning_rate_factor(self.training, epoch, stage.epochs))
        wrapped = cast(Optimizer, self.fabric.setup_optimizers(optimizer))
        updater = Updater(wrapped, backward=self.fabric.backward, clip_norm=self.training.clip_norm)
        done, best, selected, best_state = 0, -math.inf, 0, dict[str, Tensor]()
        if resume is not None:
            self.curves = list(resume.curves)
            done, best, selected, best_state = resume.epoch, resume.best, resume.selected, dict(resume.best_state)
            self.method.load_state_dict(resume.method)
            optimizer.load_state_dict(resume.optimizer)
            schedule.last_epoch = done
        for epoch in range(done, stage.epochs):
            if self._has_waited(epoch - selected):
                break
            logs = self._train_epoch(stage, epoch, updater)
            schedule.step()
            self.method.on_epoch_end(logs)
            validation = self.observers.validate()
            test = self.observers.watch_test() if self._watches(epoch + 1, stage, is_last=is_last) else {}
            self.curves.append(Epoch(stage=stage.name, epoch=epoch + 1, logs=logs, validation=validation, test=test))
            score = _selection_score(self.curves[-1], self.training.selection if stage.selects else "last")
            if score > best:
                best, selected = score, epoch + 1
                best_state = {name: value.detach().clone() for name, value in self.method.state_dict().items()}
            ended = is_last and (epoch + 1 == stage.epochs or self._has_waited(epoch + 1 - selected))
            if self.checkpoints is not None and not ended and self.checkpoints.is_due(epoch + 1):
                state, steps = self.method.state_dict(), optimizer.state_dict()
                snapshot = Snapshot(place, epoch + 1, self.curves, best, selected, best_state, state, steps)
                self.checkpoints.save(snapshot)
            self.observers.report(self.curves[-1])
        if is_last and selected != self.curves[-1].epoch:
            self.observers.discard()
        self.method.load_state_dict(best_state)
        return selected

    def _watches(self, epochs: int, stage: Stage, *, is_last: bool) -> bool:
        """Whether to look at the test split after so many epochs of a stage."""
        is_due = epochs % self.observers.watch_every == 0 or epochs == stage.epochs
        return (is_last and is_due) or self.training.selection == "best_test"

    def _has_waited(self, epochs: int) -> bool:
        """Whether so many epochs since the best one are enough to stop the stage."""
        return self.training.patience is not None and epochs >= self.training.patience

    def _train_epoch(self, stage: Stage, epoch: int, updater: Updater) -> dict[str, float]:
        """One epoch with what the method does before it. Returns the mean logs."""
        steps = math.ceil(len(self.train) / self.training.batch_size)
        progress = Progress(epoch, stage.epochs, 0, steps)
        with self.observers.measure():
            torch.manual_seed(stable_seed(self.seed, stage.name, epoch, "start"))
            with self.fabric.autocast():
                self.method.on_epoch_start(progress, self.train, self.validation)
            logs = self._pass(stable_seed(self.seed, stage.name, epoch), updater, progress)
        if not all(math.isfinite(value) for value in logs.values()):
            raise TrainingDivergedError(f"the loss is {logs} in epoch {epoch + 1} of stage {stage.name!r}")
        return logs

    def _pass(self, seed: int, updater: Updater, progress: Progress) -> dict[str, float]:
        """One pass over the training split in an order that depends on ``seed`` alone. Returns the mean logs."""
        self.method.train()
        torch.manual_seed(seed)
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        for step, batch in enumerate(self.train.training_batches(order, self.training.batch_size)):
            updater.progress = replace(progress, step=step)
            with self.fabric.autocast():
                logs = self.method.training_step(batch, updater)
            for name, value in logs.items():
                sums[name] = sums[name] + value if name in sums else value
                counts[name] = counts.get(name, 0) + 1
        return {name: float(total) / counts[name] for name, total in sums.items()}


def _selection_score(epoch: Epoch, selection: str) -> float:
    if selection == "last":
        return epoch.epoch
    if selection == "best_test":
        return next(iter(epoch.test.values()))
    return epoch.validation["multimodal"]


def make_optimizer(method: nn.Module, training: Training) -> Optimizer:
    """The optimiser over the parameters that require gradients, with its fast kernels.

    What an encoder asks a smaller learning rate for is a group of its own, and so is what is spared weight decay.
    """
    settings = training.optimizer
    scales = {
        parameter: module.lr_scale(name)
        for module in method.modules()
        if isinstance(module, Encoder)
        for name, parameter in module.named_parameters()
    }
    spared = set(method.undecayed()) if isinstance(method, Method) else set()
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in method.parameters():
        if parameter.requires_grad:
            groups.setdefault((scales.get(parameter, 1.0), parameter in spared), []).append(parameter)
    parameters = [
        {"params": members, "lr": settings.lr * scale, "weight_decay": 0.0 if plain else settings.weight_decay}
        for (scale, plain), members in groups.items()
    ]
    options = settings.model_dump(exclude={"name"})
    if isinstance(settings, SGD):
        # Not fused: that kernel fails when only some parameters have had a gradient before, as in alternating updates.
        return torch.optim.SGD(parameters, **options, foreach=True)
    kind = torch.optim.Adam if isinstance(settings, Adam) else torch.optim.AdamW
    return kind(parameters, **options, fused=True)


def learning_rate_factor(training: Training, epoch: int, epochs: int) -> float:
    """Factor of the learning rate in ``epoch`` (from 0) of a stage of ``epochs``.

    Steps come at the same shares of every stage, ``schedule.epochs / training.epochs``, however short it is.
    """
    schedule = training.schedule
    if isinstance(schedule, Step):
        return schedule.factor ** (epoch * training.epochs // (epochs * schedule.epochs))
    if isinstance(schedule, Cosine):
        return 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))
    return 1.0


def stable_seed(*parts: object) -> int:
    """A seed below 2^63 that depends on ``parts`` alone, and differs wherever they do."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1

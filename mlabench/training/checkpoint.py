"""Snapshots of a training that is under way, so that a long trial that was killed goes on where it stopped.

    RESULTS/checkpoints/<trial id>

A file holds the SHA-256 of the rest and then tensors in the safetensors format, with all else as JSON in its header:
nothing in it is unpickled. One that is damaged, or of another version of the code, is ignored.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from mlabench.errors import cannot_write
from mlabench.record import Epoch
from mlabench.store import remove_file, write_atomically
from mlabench.training.stopping import SuspendedError

#: Without another wish, a snapshot is taken at the end of an epoch when the last one is so old.
SECONDS_BETWEEN = 60.0
_DIGEST = 64


@dataclass(frozen=True)
class Snapshot:
    """A training between two epochs. What methods draw at random is seeded per epoch, so no generator is kept.

    Attributes:
        stage: Place of the current stage.
        epoch: Epochs done in it.
        curves: The learning curves so far, of all stages.
        best: The best selection score of the stage.
        selected: Its epoch, from 1.
        best_state: The method's state after that epoch.
        method: The method's state.
        optimizer: The optimiser's state dictionary.
    """

    stage: int
    epoch: int
    curves: list[Epoch]
    best: float
    selected: int
    best_state: Mapping[str, Tensor]
    method: Mapping[str, Tensor]
    optimizer: dict[str, Any]


@dataclass
class Checkpoints:
    """Where a trial's snapshots go; only the last one is kept.

    Args:
        path: The file.
        identity: What must be the same for a snapshot to be used: the trial, the method's source, versions.
        every: Epochs between two snapshots; None: one about every minute.
        should_stop: Whether the training is to stop after the next snapshot, which is then due at once.
        writes: Whether this process saves snapshots: of several that train together, only the first does.

    Attributes:
        resumed: Epochs, in all stages, that a snapshot saved.
    """

    path: Path
    identity: Mapping[str, Any]
    every: int | None = None
    should_stop: Callable[[], bool] = lambda: False
    writes: bool = True
    resumed: int = field(default=0, init=False)
    _last: float = field(default_factory=time.monotonic, init=False)

    def is_due(self, epoch: int) -> bool:
        """Whether to take a snapshot after so many epochs of a stage."""
        if not self.writes:
            return False
        if self.should_stop():
            return True
        if self.every is not None:
            return epoch % self.every == 0
        return time.monotonic() - self._last >= SECONDS_BETWEEN

    def save(self, snapshot: Snapshot) -> None:
        """Writes a snapshot in place of the last one, as one atomic step.

        Raises:
            UserError: If it cannot be written.
            SuspendedError: If it is written, and the training is to stop.
        """
        content = _encode(snapshot, self.identity)
        try:
            write_atomically(self.path, hashlib.sha256(content).hexdigest().encode(), content)
        except OSError as error:
            raise cannot_write("a checkpoint", self.path, error) from error
        self._last = time.monotonic()
        if self.should_stop():
            raise SuspendedError

    def load(self) -> Snapshot | None:
        """The last snapshot; None if there is none that can be used."""
        try:
            data = self.path.read_bytes()
        except OSError:
            return None
        digest, content = data[:_DIGEST], data[_DIGEST:]
        if hashlib.sha256(content).hexdigest().encode() != digest:
            return None
        try:
            snapshot = _decode(content, self.identity)
        except Exception:  # its checksum is right, so somebody else has written it: then it may hold anything
            return None
        self.resumed = len(snapshot.curves) if snapshot else 0
        return snapshot

    def clear(self) -> None:
        """Removes the snapshot: the trial has its record, or is to be trained again."""
        remove_file(self.path)


def _encode(snapshot: Snapshot, identity: Mapping[str, Any]) -> bytes:
    tensors = {f"method/{name}": value for name, value in snapshot.method.items()}
    tensors |= {f"best/{name}": value for name, value in snapshot.best_state.items()}
    scalars: dict[str, dict[str, Any]] = {}
    for parameter, state in snapshot.optimizer["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{parameter}/{name}"] = value
            else:
                scalars.setdefault(str(parameter), {})[name] = value
    header = {
        "identity": identity,
        "stage": snapshot.stage,
        "epoch": snapshot.epoch,
        "curves": [epoch.model_dump(mode="json") for epoch in snapshot.curves],
        "best": snapshot.best,
        "selected": snapshot.selected,
        "scalars": scalars,
        "groups": snapshot.optimizer["param_groups"],
    }
    # Copies: the format refuses tensors that share memory.
    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    content: bytes = safetensors.torch.save(copies, {"header": json.dumps(header)})
    return content


def _decode(content: bytes, identity: Mapping[str, Any]) -> Snapshot | None:
    header = json.loads(_metadata(content)["header"])
    if header["identity"] != json.loads(json.dumps(identity)):
        return None
    tensors = safetensors.torch.load(content)

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    state: dict[int, dict[str, Any]] = {int(key): dict(values) for key, values in header["scalars"].items()}
    for name, value in part("optimizer/").items():
        parameter, _, key = name.partition("/")
        state.setdefault(int(parameter), {})[key] = value
    return Snapshot(
        stage=header["stage"],
        epoch=header["epoch"],
        curves=[Epoch.model_validate(epoch) for epoch in header["curves"]],
        best=header["best"],
        selected=header["selected"],
        best_state=part("best/"),
        method=part("method/"),
        optimizer={"state": state, "param_groups": [_with_tuples(group) for group in header["groups"]]},
    )


def _with_tuples(group: dict[str, Any]) -> dict[str, Any]:
    """A parameter group as torch made it: JSON has lists only."""
    return {
        name: tuple(value) if isinstance(value, list) and name != "params" else value for name, value in group.items()
    }


def _metadata(content: bytes) -> dict[str, str]:
    """The text that was saved with the tensors: eight bytes of length, then JSON (the safetensors format)."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return metadata

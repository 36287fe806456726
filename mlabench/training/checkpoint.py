"""Snapshots of a training that is under way, so that a long trial that was killed resumes where it stopped.

    RESULTS/checkpoints/<trial id>

A file holds the SHA-256 of the rest and then what :func:`torch.save` makes of plain data and tensors; reading it runs
no code. One that is damaged, or of another version of the code, is ignored.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlabench.errors import cannot_write
from mlabench.record import Epoch
from mlabench.store import remove_file, write_atomically
from mlabench.training.stopping import SuspendedError

#: Unless another interval was asked for, a snapshot is taken at the end of an epoch when the last one is so old.
SECONDS_BETWEEN = 60.0
_DIGEST = 64


@dataclass(frozen=True)
class Snapshot:
    """A training between two epochs. What methods draw at random is seeded per epoch, so no generator is kept.

    In the stage at the place ``stage`` so many epochs are done; ``curves`` are of all stages. ``best`` is the best
    selection score of the stage, that of the epoch ``selected`` (from 1), after which the method's state was
    ``best_state``; ``method`` and ``optimizer`` are the states now.
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

    Attributes:
        path: The file.
        identity: What must be the same for a snapshot to be used: the trial, the method's source, versions.
        every: Epochs between two snapshots; None: one about every minute.
        should_stop: Whether the training is to stop after the next snapshot, which is then due at once.
        writes: Whether this process saves snapshots: of several that train together, only the first does.
        resumed: Epochs, in all stages, that a snapshot saved.
    """

    path: Path
    identity: Mapping[str, Any]
    every: int | None = None
    should_stop: Callable[[], bool] = lambda: False
    writes: bool = True
    resumed: int = field(default=0, init=False)
    _last: float = field(default_factory=time.monotonic, init=False)

    def of(self, **conditions: Any) -> Checkpoints:
        """The same of trainings under further conditions, which a snapshot must share."""
        return replace(self, identity={**self.identity, **conditions})

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
        """Writes a snapshot in place of the last one; then raises SuspendedError if the training is to stop."""
        curves = [epoch.model_dump(mode="json") for epoch in snapshot.curves]
        buffer = io.BytesIO()
        torch.save({"identity": dict(self.identity), "snapshot": {**vars(snapshot), "curves": curves}}, buffer)
        content = buffer.getvalue()
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
            digest, content = data[:_DIGEST], data[_DIGEST:]
            if hashlib.sha256(content).hexdigest().encode() != digest:
                return None
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if saved["identity"] != self.identity:
                return None
            snapshot = Snapshot(**saved["snapshot"])
            curves = [Epoch.model_validate(epoch) for epoch in snapshot.curves]
        except Exception:  # there is none; or its checksum is right, but another program has written it
            return None
        self.resumed = len(curves)
        return replace(snapshot, curves=curves)

    def clear(self) -> None:
        """Removes the snapshot: the trial has its record, or is to be trained again."""
        remove_file(self.path)

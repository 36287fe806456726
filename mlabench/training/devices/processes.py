"""The processes of one trial that runs on several devices: this one and others beside it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import torch.distributed as dist
from lightning_fabric.plugins.environments.lightning import find_free_network_port

from mlabench.processes import environment
from mlabench.training.stopping import SIGNALS

#: Fabric takes processes that have this in their environment as they are, and starts none of its own.
_LOCAL_RANK = "LOCAL_RANK"


@contextmanager
def process_group(count: int, target: Callable[..., Any], arguments: tuple[Any, ...]) -> Iterator[None]:
    """Runs ``target(*arguments)`` in processes of ranks 1 to ``count - 1``; the enclosed block is rank 0.

    When the block ends in an error the others are killed: without this one they would wait for ever.
    """
    if count == 1:
        yield
        return
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port()), "NODE_RANK": "0"}
    processes = [
        get_context("spawn").Process(
            target=_join_group, args=({**shared, _LOCAL_RANK: str(rank)}, target, arguments), daemon=True
        )
        for rank in range(1, count)
    ]
    try:
        for process in processes:
            process.start()
        with environment({**shared, _LOCAL_RANK: "0"}):
            yield
        for process in processes:
            process.join()
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
        _leave_group()


def _join_group(settings: dict[str, str], target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # rank 0 decides when to stop
    os.environ.update(settings)
    try:
        target(*arguments)
    finally:
        _leave_group()


def _leave_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()

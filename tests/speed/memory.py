"""Memory of worker processes, and whether they share a decoded cache: one copy however many they are."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
import psutil

MIB = 2**20
SHAPE = (400, 3, 224, 224)


def worker(path: str, connection: multiprocessing.connection.Connection) -> None:
    """What a worker does on data that lie on disk: read batches of all rows, and say what that took."""
    import torch

    from mlabench.datasets import Split, StoredRows
    from mlabench.store.cache import open_array
    from mlabench.training.devices.fabric import make_fabric
    from mlabench.training.tensors import SplitTensors

    def memory() -> dict[str, float]:
        info = psutil.Process().memory_full_info()
        return {"rss": info.rss / MIB, "uss": info.uss / MIB, "pss": info.pss / MIB}

    fabric, before = make_fabric("cpu", "32"), memory()
    rows = StoredRows(open_array(Path(path)), np.arange(SHAPE[0]))
    names = tuple(map(str, range(SHAPE[0])))
    split = Split(names, np.zeros(SHAPE[0], np.int64), {"image": rows}, names)
    tensors = SplitTensors(split, ("image",), np.ones((SHAPE[0], 1), bool), fabric.device)
    for _ in tensors.training_batches(torch.arange(SHAPE[0]), 16):
        pass
    connection.send((before, None))
    connection.recv()  # all have read everything
    connection.send((before, memory()))
    connection.recv()  # all have looked


def main() -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.npy"
        np.save(path, np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8))
        size = path.stat().st_size / MIB
        for count in (1, 2, 4):
            pairs = [context.Pipe() for _ in range(count)]
            processes = [context.Process(target=worker, args=(str(path), theirs)) for _, theirs in pairs]
            for process in processes:
                process.start()
            for question in range(2):
                answers = [ours.recv() for ours, _ in pairs]
                for ours, _ in pairs:
                    ours.send(question)
            for process in processes:
                process.join()
            start = np.mean([before["rss"] for before, _ in answers])
            own = np.mean([after["uss"] - before["uss"] for before, after in answers if after])
            grown = sum(after["pss"] - before["pss"] for before, after in answers if after)
            print(
                f"{count} workers, an array of {size:.0f} MiB: {start:.0f} MiB each before, "
                f"{own:.0f} MiB more of their own; together {grown:.0f} MiB more, {grown / size:.2f} times the array"
            )


if __name__ == "__main__":
    main()

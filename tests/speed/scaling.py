"""How the time of a trial grows with samples, and that of a suite with methods and trials; growth should be linear."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from mlabench.store.records import Store
from mlabench.suite import load_suite
from mlabench.suite.expansion import expand
from mlabench.suite.plan import Plan
from mlabench.training.job import Job, RunOptions
from mlabench.training.one_trial import run_trial

EPOCHS = 3


def plan(folder: Path, samples: int, methods: str, seeds: int) -> Plan:
    suite = folder / "scaling.yaml"
    suite.write_text(
        f"dataset: {{name: synthetic, samples: [{samples}, 500, 500]}}\n"
        f"encoders: mlp\nmethods: [{methods}]\nseeds: {list(range(seeds))}\n"
        f"training: {{epochs: {EPOCHS}, batch_size: 64}}\n"
    )
    return expand(load_suite(suite))


def seconds(samples: int = 2000, methods: str = "mla", seeds: int = 1) -> float:
    """Processor seconds of all trials of a suite, in this process, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        cells = plan(Path(folder), samples, methods, seeds).cells
        start = time.process_time()
        for cell in cells:
            record = run_trial(Job(cell.trial, cell.tests), Store(Path(folder)), RunOptions(device="cpu"))
            assert record.status == "ok", record.failure
        return time.process_time() - start


def main() -> None:
    seconds()  # warms up
    sizes = {size: seconds(samples=size) for size in (2000, 8000, 32000)}
    for size, value in sizes.items():
        print(f"{size:6} samples {value:6.2f} s   {1e6 * value / size / EPOCHS:6.0f} us a sample and epoch")
    for count in (1, 4, 16):
        value = seconds(seeds=count)
        print(f"{count:6} trials  {value:6.2f} s   {value / count:6.2f} s each")
    names = ["concat", "late_fusion", "qmf", "mla"]
    for name in names:
        print(f"{name:14} {seconds(methods=name):6.2f} s")
    print(f"all four       {seconds(methods=', '.join(names)):6.2f} s")


if __name__ == "__main__":
    main()

"""Two processes that share a trial's encoders compute what one does, and the same everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlabench import registry
from mlabench.store.records import Store
from mlabench.testing import build_method, make_task
from mlabench.training.devices.data_parallel import share_out
from mlabench.training.devices.fabric import make_fabric
from mlabench.training.devices.processes import process_group
from mlabench.training.loop import Observers, TrainingRun
from mlabench.training.tensors import accuracies
from mlabench.trial import SGD, Training
from tests.command_line import mlabench
from tests.splits import random_split

pytestmark = pytest.mark.slow

TASK = make_task(3)
NAMES = sorted(registry.entries("methods"))
# With a larger learning rate MoMKE's experts, which normalise nothing, diverge.
TRAINING = Training(epochs=4, batch_size=13, optimizer=SGD(lr=0.02), selection="last")


def train_all(folder: Path, processes: int) -> None:
    """Trains every method; each process writes what it ends with."""
    fabric = make_fabric("cpu", "32", processes)
    torch.set_flush_denormal(False)
    # The last batch has one sample, fewer than there are processes.
    train, validation = (random_split(TASK, 40, missing=0.4, seed=seed) for seed in range(2))
    for name in NAMES:
        method = build_method(name, TASK, seed=0)
        if processes > 1:
            share_out(method)
        observers = Observers(lambda method=method: accuracies(method, validation, fabric), dict, lambda _: None)  # type: ignore[misc]
        TrainingRun(method, train, validation, TRAINING, 3, fabric, observers).fit()
        path = folder / f"{processes} processes" / name / f"{fabric.global_rank}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in method.state_dict().items()}, path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_all(folder, 1)
    with process_group(2, train_all, (folder, 2)):
        train_all(folder, 2)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_all_processes_end_with_the_same(name: str, trained: Path) -> None:
    """The shared head, the projector of its gradient, histories, teachers: to the bit."""
    first, second = (load_file(trained / "2 processes" / name / f"{rank}.safetensors") for rank in range(2))
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(second[key], value), key


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_compute_what_one_does(name: str, trained: Path) -> None:
    alone = load_file(trained / "1 processes" / name / "0.safetensors")
    shared = load_file(trained / "2 processes" / name / "0.safetensors")
    for key, value in alone.items():
        torch.testing.assert_close(shared[key], value, rtol=1e-3, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")  # type: ignore[misc]


def test_a_suite_on_two_devices(tmp_path: Path) -> None:
    suite = tmp_path / "small.yaml"
    suite.write_text(
        "dataset: stamps\nmethods: [mla]\nmissing: {rates: [0.5]}\nlimit: 150\ntraining: {epochs: 3, batch_size: 32}\n"
    )
    for devices in ("1", "2"):
        how = ("--device", "cpu", "--devices-per-trial", devices, "--jobs", "1")
        done = mlabench("run", suite, "--results", tmp_path / devices, *how)
        assert done.returncode == 0, done.stderr
    (alone,), (shared,) = (list(Store(tmp_path / devices).records()) for devices in ("1", "2"))
    assert shared.trial.id == alone.trial.id
    for one, two in zip(alone.curves, shared.curves, strict=True):
        assert two.logs == pytest.approx(one.logs, rel=1e-4)
    assert shared.environment["devices"] == 2

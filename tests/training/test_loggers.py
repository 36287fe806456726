"""Curves that go elsewhere: what is logged is what the record holds, and nothing of the test split."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlabench.errors import UserError
from mlabench.record import Epoch
from mlabench.training.loggers import LOGGERS, flat, metrics, require_loggers, sending_curves
from tests.command_line import ROOT
from tests.records import make_trial

TRIAL = make_trial()
EPOCHS = [
    Epoch(stage="train", epoch=n, logs={"loss": 1 / n}, validation={"multimodal": n / 10}, test={"complete": 0.77})
    for n in (1, 2)
]


def send(name: str, root: Path) -> None:
    with sending_curves([name], root, TRIAL) as log:
        for epoch in EPOCHS:
            log(epoch, epoch.epoch)


def test_metrics_leave_the_test_split_out() -> None:
    assert metrics(EPOCHS[1]) == {"train/train/loss": 0.5, "train/validation/multimodal": 0.2}


def test_flat() -> None:
    assert flat({"a": {"b": 1, "c": None}, "d": [1, 2]}) == {"a.b": 1, "a.c": "None", "d": "[1, 2]"}


def test_tensorboard(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    send("tensorboard", tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path / "curves" / "tensorboard" / TRIAL.id)).Reload()
    curve = [(point.step, pytest.approx(point.value)) for point in events.Scalars("train/validation/multimodal")]
    assert curve == [(1, 0.1), (2, 0.2)]
    assert not any("test" in tag for tag in events.Tags()["scalars"])


@pytest.mark.filterwarnings("ignore")
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytorch_lightning")
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    require_loggers(["mlflow"])
    send("mlflow", tmp_path)
    (curve,) = (tmp_path / "mlruns").rglob("metrics/train/train/loss")
    assert [line.split()[1:] for line in curve.read_text().splitlines()] == [["1.0", "1"], ["0.5", "2"]]


@pytest.mark.slow
def test_wandb(tmp_path: Path) -> None:
    """In a process of its own: the service that it starts outlives the run."""
    pytest.importorskip("pytorch_lightning")
    pytest.importorskip("wandb")
    program = (
        "import sys; from pathlib import Path; from tests.training.test_loggers import send;"
        "send('wandb', Path(sys.argv[1]))"
    )
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    command = [sys.executable, "-c", program, tmp_path]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, timeout=240)
    (run,) = (tmp_path / "curves" / "wandb").glob("offline-run-*/*.wandb")
    assert run.read_bytes().count(b"multimodal") >= len(EPOCHS)  # keys are stored in parts


def test_what_is_not_installed_is_said_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'tensorboard', which is not installed.*\[loggers\]"):
        require_loggers(["tensorboard"])
    require_loggers([])


def test_mlflow_is_told_where_to_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI"):
        require_loggers(LOGGERS)

"""Learning curves sent elsewhere as they grow: TensorBoard, Weights & Biases, MLflow.

A log is a copy for watching; records are what reports are made from. The test split is never logged.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlabench.errors import UserError, missing_extra
from mlabench.record import Epoch
from mlabench.trial import Trial

if TYPE_CHECKING:
    from lightning_fabric.loggers.logger import Logger

#: What each logger needs besides mlabench's own dependencies.
_NEEDS = {
    "tensorboard": ("tensorboard",),
    "wandb": ("pytorch_lightning", "wandb"),
    "mlflow": ("pytorch_lightning", "mlflow"),
}
LOGGERS = tuple(_NEEDS)


def require_loggers(names: Sequence[str]) -> None:
    """Checks that loggers can be used, without importing them."""
    for name in names:
        lacking = [package for package in _NEEDS[name] if importlib.util.find_spec(package) is None]
        if lacking:
            raise missing_extra(lacking[0], "loggers")
    if "mlflow" in names and not os.environ.get("MLFLOW_TRACKING_URI"):
        raise UserError(
            "the logger 'mlflow' needs a place to log to.",
            remedy="Set MLFLOW_TRACKING_URI, e.g. to http://localhost:5000.",
            field="--logger",
        )


@contextmanager
def sending_curves(names: Sequence[str], root: Path, trial: Trial) -> Iterator[Callable[[Epoch, int], None]]:
    """Opens the logs of one trial and closes them, so that the next trial of this process gets logs of its own.

    Logs that live on disk go to ``curves`` in the results folder ``root``. Yields a function that logs an epoch under a
    step, the number of epochs done in all stages.
    """
    loggers = [_make(name, root / "curves", trial) for name in names]
    for logger in loggers:
        logger.log_hyperparams(flat(trial.identity()))

    def log(epoch: Epoch, step: int) -> None:
        for logger in loggers:
            logger.log_metrics(metrics(epoch), step)

    status = "failed"
    try:
        yield log
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
            finish = getattr(getattr(logger, "experiment", None), "finish", None)
            if finish is not None:  # Weights & Biases has one run per process until it is told that this one is over
                finish()


def _make(name: str, folder: Path, trial: Trial) -> Logger:
    if name == "tensorboard":
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        return TensorBoardLogger(folder, name="tensorboard", version=trial.id)
    if name == "wandb":
        from pytorch_lightning.loggers import WandbLogger

        folder.mkdir(parents=True, exist_ok=True)
        return WandbLogger(project="mlabench", name=trial.id, save_dir=folder)
    from pytorch_lightning.loggers import MLFlowLogger

    return MLFlowLogger("mlabench", trial.id, tracking_uri=os.environ["MLFLOW_TRACKING_URI"])


def metrics(epoch: Epoch) -> dict[str, float]:
    """What is logged of an epoch: ``STAGE/train/NAME`` and ``STAGE/validation/NAME``."""
    parts = {"train": epoch.logs, "validation": epoch.validation}
    return {f"{epoch.stage}/{part}/{name}": value for part, values in parts.items() for name, value in values.items()}


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys, as hyper-parameter tables want them."""
    if not isinstance(value, dict):
        return {path: value if isinstance(value, int | float | str | bool) else str(value)}
    return {
        key: item
        for name, inner in value.items()
        for key, item in flat(inner, f"{path}.{name}" if path else str(name)).items()
    }

"""One trial in one process: data, method, training, evaluation under every test pattern, record.

Running hands a :class:`Job` to :func:`run_trial`, which writes the record to the store. ``one_trial`` is the whole
story, ``inputs`` what is read, ``loop`` the epochs, ``evaluation`` and ``metrics`` what is measured, ``devices`` where
it runs. Importing this package does not import torch; what needs it is loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlabench.training.devices.checks import require_compiler, require_device
from mlabench.training.environment import method_source
from mlabench.training.job import Job, Keep, RunOptions
from mlabench.training.loggers import LOGGERS, require_loggers
from mlabench.training.metrics import softmax
from mlabench.training.stopping import SIGNALS, TIME_IS_UP, StopRequest, SuspendedError

if TYPE_CHECKING:
    from mlabench.training.devices.fabric import make_fabric
    from mlabench.training.inputs import prepare
    from mlabench.training.loop import Updater
    from mlabench.training.one_trial import run_trial

__all__ = [
    "LOGGERS",
    "SIGNALS",
    "TIME_IS_UP",
    "Job",
    "Keep",
    "RunOptions",
    "StopRequest",
    "SuspendedError",
    "Updater",
    "make_fabric",
    "method_source",
    "prepare",
    "require_compiler",
    "require_device",
    "require_loggers",
    "run_trial",
    "softmax",
]

_WITH_TORCH = {"Updater": "loop", "make_fabric": "devices.fabric", "prepare": "inputs", "run_trial": "one_trial"}


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        return getattr(import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

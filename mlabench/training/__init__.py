"""One trial in one process: data, method, training, evaluation under every test pattern, record.

Running hands a :class:`Job` to :func:`run_trial`, which writes the record to the store. ``one_trial`` is the whole
story, ``loop`` the epochs, ``inputs`` what is read, ``metrics`` what is measured. Importing this package does not
import torch; what needs it is loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlabench.training.environment import require_compiler, require_device
from mlabench.training.job import Job, RunOptions
from mlabench.training.loggers import LOGGERS, require_loggers
from mlabench.training.metrics import softmax
from mlabench.training.stopping import SIGNALS, TIME_IS_UP, StopRequest, SuspendedError

if TYPE_CHECKING:
    from mlabench.training.inputs import prepare
    from mlabench.training.loop import Updater
    from mlabench.training.one_trial import make_fabric, run_trial

__all__ = [
    "LOGGERS",
    "SIGNALS",
    "TIME_IS_UP",
    "Job",
    "RunOptions",
    "StopRequest",
    "SuspendedError",
    "Updater",
    "make_fabric",
    "prepare",
    "require_compiler",
    "require_device",
    "require_loggers",
    "run_trial",
    "softmax",
]

_WITH_TORCH = {"Updater": "loop", "make_fabric": "one_trial", "prepare": "inputs", "run_trial": "one_trial"}


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        return getattr(import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

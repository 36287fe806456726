"""Many trials: which are left to do, the workers that do them, here or on a cluster, and what is shown meanwhile.

The command line opens a :class:`Session` and calls :func:`run_plan`; tuning calls :func:`run_jobs`. ```pool`` shares
out to ``worker`` processes, each of which takes a trial's lease and hands it to training; ``slurm`` has a cluster start
such pools elsewhere. Free of torch, but for the workers.
"""

from mlabench.running.devices import default_jobs, visible_gpus
from mlabench.running.job_file import Order, read_order
from mlabench.running.progress import Bars
from mlabench.running.session import (
    Overwrite,
    Session,
    estimate_seconds,
    jobs_to_run,
    prepare_inputs,
    run_jobs,
    run_plan,
    survey,
)
from mlabench.running.slurm import Wishes, cancel, read_wishes, require_slurm, submissions, submit
from mlabench.running.status import find_status

__all__ = [
    "Bars",
    "Order",
    "Overwrite",
    "Session",
    "Wishes",
    "cancel",
    "default_jobs",
    "estimate_seconds",
    "find_status",
    "jobs_to_run",
    "prepare_inputs",
    "read_order",
    "read_wishes",
    "require_slurm",
    "run_jobs",
    "run_plan",
    "submissions",
    "submit",
    "survey",
    "visible_gpus",
]

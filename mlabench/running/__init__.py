"""Many trials: which are left to do, the workers that do them, here or on a cluster, and what is shown meanwhile.

The command line opens a :class:`Session` and calls :func:`run_until`; tuning calls :func:`run_jobs`. Jobs run in a
``pool`` of ``worker`` processes or ``inline``; each takes a trial's lease and hands it to training. ``slurm`` has a
cluster start such pools. Free of torch, except where trials run.
"""

from mlabench.running.devices import default_jobs, visible_gpus
from mlabench.running.progress import Bars
from mlabench.running.session import Session, prepare_inputs, run_jobs
from mlabench.running.slurm import JobFile, SlurmResources, cancel, parse_resources, require_slurm, submissions, submit
from mlabench.running.standing import Overwrite, Standing, estimate_seconds, find_status, jobs_to_run, survey
from mlabench.running.until import as_run, expected_repeats, grown, run_until

__all__ = [
    "Bars",
    "JobFile",
    "Overwrite",
    "Session",
    "SlurmResources",
    "Standing",
    "as_run",
    "cancel",
    "default_jobs",
    "estimate_seconds",
    "expected_repeats",
    "find_status",
    "grown",
    "jobs_to_run",
    "parse_resources",
    "prepare_inputs",
    "require_slurm",
    "run_jobs",
    "run_until",
    "submissions",
    "submit",
    "survey",
    "visible_gpus",
]

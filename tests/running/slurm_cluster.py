"""A cluster of one node with the real Slurm, on loopback, with everything that it writes in one folder."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")

#: Jobs wait for the expiry of their credentials before they start again; five seconds is the least there is.
CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
KillWait=30
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why there can be no cluster here; empty if there can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    return f"not installed: {', '.join(missing)} (apt-get install slurm-wlm munge)" if missing else ""


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        environment: What makes Slurm's programs find it.
    """

    environment: dict[str, str]

    def ask(self, *command: str) -> str:
        """What one of Slurm's programs answers."""
        return subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def states(self) -> dict[str, str]:
        """State of each job that is not forgotten, by its id as in ``3_1``."""
        lines = self.ask("squeue", "--noheader", "--array", "--states=all", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)


@contextmanager
def running_cluster(folder: Path, cpus: int) -> Iterator[Cluster]:
    """A cluster that lives as long as the block.

    Args:
        folder: Where it keeps everything; its path must be short enough for a socket.
        cpus: Cores that the node says it has.
    """
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o755)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    controller_port, node_port = _free_ports()
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            folder=folder, controller_port=controller_port, node_port=node_port, user=getpass.getuser(), cpus=cpus
        )
    )
    # Nothing here uses control groups, but the daemon wants a plugin for them; before 23.02 there was no idle one.
    plugin = "disabled" if _version() >= (23, 2) else "cgroup/v1"
    (folder / "cgroup.conf").write_text(f"CgroupPlugin={plugin}\n")
    cluster = Cluster({"SLURM_CONF": str(configuration)})
    munge = [f"--{name}={folder}/munge/{name.partition('-')[0]}" for name in ("key-file", "pid-file", "seed-file")]
    with ExitStack() as stack:

        def start(*command: str) -> None:
            stack.enter_context(_daemon(list(command), cluster.environment, folder))

        start(
            "munged",
            "--foreground",
            "--force",
            f"--socket={folder}/munge/socket",
            f"--log-file={folder}/munge/log",
            *munge,
        )
        _wait_for((folder / "munge" / "socket").exists, folder)
        start("slurmctld", "-D", "-c")
        start("slurmd", "-D", "-c", "-N", "localhost")
        _wait_for(lambda: "idle" in _quietly(cluster, "sinfo", "--noheader", "--format=%T"), folder)
        try:
            yield cluster
        finally:
            _quietly(cluster, "scancel", "--signal=KILL", f"--user={getpass.getuser()}")
            _quietly(cluster, "scancel", f"--user={getpass.getuser()}")
            _wait_for(lambda: not _quietly(cluster, "squeue", "--noheader"), folder)


@contextmanager
def _daemon(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[None]:
    with (folder / f"{command[0]}.out").open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _version() -> tuple[int, ...]:
    said = subprocess.run(["slurmd", "-V"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", said)[:2])


def _quietly(cluster: Cluster, *command: str) -> str:
    try:
        return cluster.ask(*command)
    except subprocess.SubprocessError:
        return ""


def _wait_for(condition: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*.out"))
        assert time.monotonic() < deadline, f"Slurm does not get ready:\n{logs}"
        time.sleep(0.1)

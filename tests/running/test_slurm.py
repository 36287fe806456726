"""Suites on a cluster: what is asked of Slurm, and runs on a real one that the tests start."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mlabench.errors import UserError
from mlabench.running import slurm
from mlabench.running.slurm import JobFile, SlurmResources, parse_resources
from mlabench.store.leases import holders
from mlabench.store.records import Store
from mlabench.training.job import Job, RunOptions
from tests.command_line import SMALL, invoke, lasting
from tests.records import make_record, make_trial
from tests.running.slurm_cluster import Cluster, running_cluster, why_not

TRIALS = 8
#: A single trial, long enough to be interrupted, that soon leaves a checkpoint.
EPOCHS = 150
LONG = ("--method", "mla", "--seeds", "0", "--rates", "0.5", "--set", f"training.epochs={EPOCHS}")
LONG += ("--checkpoint-every", "5")


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("90:30", 91), ("4:00:00", 240), ("0:30:01", 31), ("1-12", 2160), ("1-0:30", 1470), ("2-0:0:1", 2881)],
)
def test_times_are_written_as_slurm_reads_them(text: str, minutes: int):
    assert parse_resources(f"time={text}").time == minutes


def test_resources():
    assert parse_resources("partition=long, gpus=2,time=60,workers=3,mem=16,notice=300") == SlurmResources(
        partition="long", gpus=2, time=60, workers=3, mem=16, notice=300
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "`time` is missing"),
        ("partition=long", "`time` is missing"),
        ("time=60,partitoin=long", "'partitoin' is unknown.*partition"),
        ("time=60,time=70", "'time' is given twice"),
        ("time=60,gpus", "'gpus' is not of the form KEY=VALUE"),
        ("time=60,gpus=", "'gpus=' is not of the form KEY=VALUE"),
        ("time=60,gpus=two", "--slurm gpus: 'two'"),
        ("time=60,workers=0", "--slurm workers: '0'"),
        ("time=soon", "'soon' is not a valid time"),
        ("time=3", "no time to work"),
        ("time=60,notice=3540", "no time to work"),
    ],
)
def test_impossible_resources_are_one_clear_error(text: str, problem: str):
    with pytest.raises(UserError, match=problem):
        parse_resources(text)


def test_a_job_file_knows_where_the_data_lie_and_what_was_done_before(tmp_path: Path):
    store = Store(tmp_path / "results")
    old, new, done = (make_trial(seed=seed) for seed in (0, 1, 2))
    new = new.model_copy(update={"dataset": new.dataset.model_copy(update={"location": {"root": "data"}})})
    store.write(make_record(old))
    known = store.seal(old.id)
    jobs = [
        Job(old, (old.missing,), retrain=True, known=known),
        Job(new, (new.missing,)),
        Job(done, (done.missing,)),
    ]
    options = RunOptions("cpu", plugins=(tmp_path / "mine.py",))
    JobFile(suites=("suite",), jobs=tuple(jobs), options=options, processes=2).write(tmp_path / "jobs.json")
    store.write(make_record(done))
    job_file = JobFile.read(tmp_path / "jobs.json")
    assert (job_file.suites, job_file.options, job_file.processes) == (("suite",), options, 2)
    assert [job.trial.id for job in job_file.remaining(store)] == [old.id, new.id]
    assert job_file.remaining(store)[0] == jobs[0]
    assert job_file.remaining(store)[1].trial.dataset.location == {"root": str(Path("data").resolve())}
    store.write(make_record(old, accuracy=0.6))
    assert [job.trial.id for job in job_file.remaining(store)] == [new.id], "another process has just trained it again"


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000, '{"suites": ["a"], "more": 1}', "\ud800"])
def test_a_damaged_job_file_is_one_clear_error(tmp_path: Path, content: str):
    path = tmp_path / "jobs.json"
    path.write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(UserError, match="this job file is damaged"):
        JobFile.read(path)
    with pytest.raises(UserError, match="this job file cannot be read"):
        JobFile.read(tmp_path / "nothing")


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--slurm", "time=60"), "--slurm: needs --launcher slurm"),
        (("--launcher", "slrum"), "--launcher: 'slrum' is not one of local, slurm"),
        (("--launcher", "slurm", "--slurm", "time=60", "--time-budget", "5"), "--time-budget: "),
        (("--launcher", "slurm", "--slurm", "time=60", "--jobs", "0"), "--jobs: "),
        (("--launcher", "slurm", "--slurm", "tim=60"), "--slurm: 'tim' is unknown"),
    ],
)
def test_options_that_do_not_go_together(suite: Path, tmp_path: Path, options: tuple[str, ...], problem: str):
    done = invoke("run", suite, "--results", tmp_path / "results", *options)
    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_where_there_is_no_slurm(suite: Path, tmp_path: Path):
    asked = ("--launcher", "slurm", "--slurm", "time=60", "--results", tmp_path / "results")
    done = invoke("run", suite, *asked, PATH=str(tmp_path))
    assert done.returncode == 2
    assert "'sbatch' of Slurm is not installed here" in done.stderr
    done = invoke("cancel", "--all", "--results", tmp_path / "results", PATH=str(tmp_path))
    assert done.returncode == 0
    assert "cancelled 0" in done.stdout
    assert invoke("cancel", "--results", tmp_path / "results").returncode == 2


def test_where_submitit_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    with pytest.raises(UserError, match=r"'submitit', which is not installed. Run `pip install 'mlabench\[slurm\]'`"):
        slurm.require_slurm()


# -- on a real cluster ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if reason := why_not():
        pytest.skip(reason)
    with (
        TemporaryDirectory(prefix="slurm") as folder,  # sockets have short paths only
        running_cluster(Path(folder), cpus=4) as cluster,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        yield cluster


@pytest.fixture(scope="module")
def unbroken_long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The long trial, run on this machine in one go."""
    folder = tmp_path_factory.mktemp("long")
    path = folder / "small.yaml"
    path.write_text(SMALL)
    done = invoke("run", path, "--results", folder / "results", "--jobs", "0", *LONG)
    assert done.returncode == 0, done.stderr
    return folder / "results"


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def submit(suite: Path, results: Path, *options: str) -> str:
    """Submits a suite; returns the array's id."""
    done = invoke("run", suite, "--results", results, "--launcher", "slurm", *options)
    assert done.returncode == 0, done.stderr
    assert "Submitted" in done.stdout
    return max((results / "slurm").glob("*/array")).read_text()


def logs(results: Path) -> str:
    return "\n".join(path.read_text() for path in (results / "slurm").rglob("*.out"))


def ended(cluster: Cluster, array: str, state: str = "COMPLETED") -> Callable[[], bool]:
    return lambda: (
        {now for job, now in cluster.states().items() if job.startswith(f"{array}_") or job == array} == {state}
    )


def under_way(results: Path) -> Callable[[], bool]:
    return lambda: bool(holders(results)) and any((results / "checkpoints").glob("stamps-*seed0-*"))


@pytest.mark.slow
def test_a_suite_is_shared_out_and_merged(cluster: Cluster, suite: Path, tmp_path: Path, small_results: Path):
    results = tmp_path / "results with a space"
    array = submit(suite, results, "--seeds", "0", "--slurm", "partition=main,time=10,workers=2")
    rows = json.loads(invoke("status", suite, "--results", results, "--json").stdout)
    assert rows[0]["done"] + rows[0]["running"] + rows[0]["missing"] == TRIALS
    assert f"Slurm array {array} (small.limit150): 2 " in invoke("status", suite, "--results", results).stdout
    wait_until(ended(cluster, array), "the jobs do not end")
    assert logs(results).count("another process") <= TRIALS // 2
    assert len(Store(results).ids()) == TRIALS // 2
    assert not list((results / "slurm").rglob("*result.pkl")), "nothing that would have to be unpickled"
    again = invoke("run", suite, "--results", results, "--seeds", "0", "--launcher", "slurm", "--slurm", "time=10")
    assert "nothing to run" in again.stdout
    slurm_alone = lasting(results)
    assert all(lasting(small_results)[trial] == content for trial, content in slurm_alone.items())
    done = invoke("merge", results, small_results, "--into", tmp_path / "all")
    assert done.returncode == 0, done.stderr
    assert f"{TRIALS} trials added" in done.stdout
    assert lasting(tmp_path / "all") == lasting(small_results)
    assert invoke("run", suite, "--results", tmp_path / "all").stdout.count("all 8 trials are done") == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["requeued by Slurm", "told that its time is up"])
def test_a_job_that_is_stopped_resumes_from_its_checkpoint(
    cluster: Cluster, suite: Path, tmp_path: Path, unbroken_long: Path, how: str
):
    results = tmp_path / "results"
    array = submit(suite, results, "--slurm", "time=10,workers=1", *LONG)
    wait_until(under_way(results), "no trial is under way")
    job = next(job for job, state in cluster.states().items() if job.split("_")[0] == array and state == "RUNNING")
    if how == "requeued by Slurm":
        cluster.ask("scontrol", "requeue", job)
    else:
        cluster.ask("scancel", "--signal=USR2", job)
    wait_until(lambda: "stopped stamps-mla" in logs(results), "the worker does not stop")
    assert Store(results).ids() == [], "nothing has failed"
    assert len(list((results / "checkpoints").iterdir())) == 1
    wait_until(ended(cluster, array), "the job is not started again")
    (record,) = Store(results).records()
    assert 1 <= record.cost["epochs_resumed"] < EPOCHS
    assert lasting(results) == lasting(unbroken_long)
    assert not list((results / "checkpoints").iterdir())


@pytest.mark.slow
def test_cancelled_jobs_stay_cancelled(cluster: Cluster, suite: Path, tmp_path: Path):
    results = tmp_path / "results"
    array = submit(suite, results, "--slurm", "time=10,workers=1", *LONG)
    wait_until(under_way(results), "no trial is under way")
    wrong = invoke("cancel", "smal", "--results", results)
    assert wrong.returncode == 2
    assert "There are jobs for small.limit150" in wrong.stderr
    done = invoke("cancel", suite, "--results", results)
    assert done.returncode == 0, done.stderr
    assert array in done.stdout
    wait_until(ended(cluster, array, "CANCELLED"), "the job is not cancelled")
    time.sleep(1.0)
    assert ended(cluster, array, "CANCELLED")()
    assert "stopped stamps-mla" in logs(results)
    assert Store(results).ids() == []
    assert len(list((results / "checkpoints").iterdir())) == 1, "a run could resume from it"
    assert "cancelled 0" in invoke("cancel", "--all", "--results", results).stdout
    assert "Slurm array" not in invoke("status", suite, "--results", results).stdout


@pytest.mark.slow
def test_what_slurm_refuses_is_one_clear_error(cluster: Cluster, suite: Path, tmp_path: Path):
    results = tmp_path / "results"
    done = invoke("run", suite, "--results", results, "--launcher", "slurm", "--slurm", "time=10,partition=nowhere")
    assert done.returncode == 2
    assert "Slurm refuses the jobs" in done.stderr
    assert "partition" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((results / "slurm").iterdir())

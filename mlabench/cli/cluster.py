"""Commands for clusters and several machines: workers that Slurm starts, cancelling them, merging results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlabench.cli.options import Results, choice
from mlabench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from mlabench.running import Overwrite, SlurmResources
    from mlabench.store import Store
    from mlabench.suite import Plan
    from mlabench.training import Job, RunOptions


def slurm_resources(
    launcher: str, text: str | None, time_budget: float | None, jobs: int | None
) -> SlurmResources | None:
    """What the options of ``run`` ask of Slurm; None if trials run here."""
    from mlabench.running import parse_resources, require_slurm

    if choice("--launcher", launcher, ("local", "slurm")) == "local":
        if text is not None:
            raise UserError("needs --launcher slurm.", field="--slurm")
        return None
    if time_budget is not None:
        raise UserError("jobs of Slurm have the time of --slurm time=….", field="--time-budget")
    if jobs == 0:
        raise UserError("jobs of Slurm run trials in worker processes, at least one.", field="--jobs")
    resources = parse_resources(text or "")
    require_slurm()
    return resources


def submit_plans(
    plans: Sequence[Plan],
    store: Store,
    console: Console,
    overwrite: Overwrite,
    options: RunOptions,
    resources: SlurmResources,
    processes: int,
) -> None:
    """Submits what is left of these plans to Slurm, and says how to watch and to cancel it."""
    from mlabench.running import JobFile, jobs_to_run, submit, survey
    from mlabench.words import counted

    jobs: dict[str, Job] = {}
    names = [plan.name for plan in plans]
    for plan in plans:
        store.write_plan(plan)
        jobs.update({job.trial.id: job for job in jobs_to_run(survey(plan, store), overwrite, plans)})
    if not jobs:
        console.print(f"{', '.join(names)}: nothing to run.", markup=False)
        return
    options = replace(options, wait_for_others=False)
    job_file = JobFile(suites=tuple(names), jobs=tuple(jobs.values()), options=options, processes=processes)
    submission = submit(job_file, resources, store.root)
    count = counted(submission.states["submitted"], "job")
    console.print(f"Submitted {count} for {counted(len(jobs), 'trial')} as the Slurm array {submission.array}.")
    console.print(f"Watch:  mlabench status SUITE --results {store.root}", markup=False, soft_wrap=True)
    console.print(f"Cancel: mlabench cancel {' '.join(names)} --results {store.root}", markup=False, soft_wrap=True)


def print_submissions(results: Path, console: Console) -> None:
    """One line for each array of Slurm jobs that works for a results folder, or will."""
    from mlabench.running import submissions

    try:
        active = submissions(results)
    except UserError as error:
        typer.echo(f"warning: {error}", err=True)
        return
    for submission in active:
        states = ", ".join(f"{count} {state}" for state, count in submission.states.items())
        console.print(f"Slurm array {submission.array} ({', '.join(submission.suites)}): {states}", markup=False)


def worker(
    job_file: Annotated[Path, typer.Argument(metavar="FILE", help="A job file, RESULTS/slurm/*/jobs.json.")],
    results: Results = Path("results"),
) -> None:
    """Run the jobs of a file until none is left or the time is up. Slurm jobs run this."""
    from mlabench.cli.console import make_console
    from mlabench.registry import register
    from mlabench.running import JobFile, Session, run_jobs
    from mlabench.store import Store
    from mlabench.training import StopRequest, SuspendedError

    with StopRequest() as should_stop:
        content, store = JobFile.read(job_file), Store(results)
        register(content.options.plugins)
        jobs = content.remaining(store)
        session = Session.open(store, make_console(), content.processes, content.options, should_stop=should_stop)
        try:
            failed = run_jobs(", ".join(content.suites), jobs, len(content.jobs) - len(jobs), session) if jobs else 0
        except SuspendedError:
            raise typer.Exit(should_stop.exit_code) from None
    if failed:
        raise typer.Exit(1)


def cancel(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE...]", help="Suites, by name or by file.")
    ] = None,
    results: Results = Path("results"),
    everything: Annotated[bool, typer.Option("--all", help="All jobs that work for the results folder.")] = False,
) -> None:
    """Cancel the Slurm jobs of suites; what they have done stays, and `run` resumes from there."""
    from mlabench.running import cancel as cancel_arrays
    from mlabench.running import submissions
    from mlabench.suite import load_plans
    from mlabench.words import counted

    if bool(suites) == everything:
        raise UserError("say which suites, or --all.", field="cancel")
    files = [Path(suite) for suite in suites or () if Path(suite).suffix in (".yaml", ".yml")]
    wanted = {suite for suite in suites or () if Path(suite) not in files}
    wanted |= {plan.name for plan in load_plans(files).values()}
    active = submissions(results)
    known = {name for submission in active for name in submission.suites}
    if unknown := sorted(wanted - known):
        raise UserError(
            f"no Slurm job works for {', '.join(unknown)} in {results}.",
            remedy=f"There are jobs for {', '.join(sorted(known))}." if known else "There is none at all.",
        )
    arrays = [submission.array for submission in active if everything or wanted & set(submission.suites)]
    if arrays:
        cancel_arrays(arrays)
    typer.echo(f"cancelled {counted(len(arrays), 'Slurm array')}{': ' if arrays else ''}{', '.join(arrays)}")


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Results folders to join; they stay as is.")],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Where the results go; may hold some already.")],
) -> None:
    """Join results folders of several machines; refuses two that contradict each other."""
    from mlabench.store import merge_folders
    from mlabench.words import counted

    outcome = merge_folders(folders, into)
    for warning in outcome.warnings:
        typer.echo(f"warning: {warning}", err=True)
    added, rest = counted(outcome.added, "trial"), f"{outcome.completed} completed, {outcome.unchanged} unchanged"
    typer.echo(f"{into}: {added} added, {rest}.")
    if outcome.warnings:
        raise typer.Exit(1)

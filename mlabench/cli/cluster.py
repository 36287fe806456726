"""Commands for clusters and several machines: workers that Slurm starts, cancelling them, merging results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlabench.cli.options import Results, choice
from mlabench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from mlabench.running import Overwrite, Wishes
    from mlabench.store import Store
    from mlabench.suite import Plan
    from mlabench.training import Job, RunOptions


def slurm_wishes(launcher: str, wishes: str | None, time_budget: float | None) -> Wishes | None:
    """What the options of ``run`` ask of Slurm; None if trials run here.

    Raises:
        UserError: If Slurm is not there, or the options do not go together.
    """
    from mlabench.running import read_wishes, require_slurm

    if choice("--launcher", launcher, ("local", "slurm")) == "local":
        if wishes is not None:
            raise UserError("is of use with --launcher slurm only.", field="--slurm")
        return None
    if time_budget is not None:
        raise UserError("jobs of Slurm have the time of --slurm time=….", field="--time-budget")
    found = read_wishes(wishes or "")
    require_slurm()
    return found


def submit_plans(
    plans: Iterable[Plan],
    store: Store,
    console: Console,
    overwrite: Overwrite,
    options: RunOptions,
    wishes: Wishes,
    processes: int,
) -> None:
    """Submits what is left of these plans to Slurm, and says how to watch and to cancel it.

    Raises:
        UserError: If Slurm does not take it.
    """
    from mlabench.running import Order, jobs_to_run, submit, survey
    from mlabench.words import counted

    jobs: dict[str, Job] = {}
    names = []
    for plan in plans:
        store.write_plan(plan)
        names.append(plan.name)
        for job in jobs_to_run(survey(plan, store), overwrite):
            asked = jobs[job.trial.id].tests if job.trial.id in jobs else ()
            jobs[job.trial.id] = replace(job, tests=tuple({test.key: test for test in (*asked, *job.tests)}.values()))
    if not jobs:
        console.print(f"{', '.join(names)}: nothing to run.", markup=False)
        return
    order = Order.of(names, list(jobs.values()), replace(options, wait_for_others=False), processes)
    submission = submit(order, wishes, store.root)
    count = counted(submission.states["submitted"], "job")
    console.print(f"Submitted {count} for {counted(len(jobs), 'trial')} as the Slurm array {submission.job}.")
    console.print(f"Watch:  mlabench status SUITE --results {store.root}", markup=False, soft_wrap=True)
    console.print(f"Cancel: mlabench cancel {' '.join(names)} --results {store.root}", markup=False, soft_wrap=True)


def print_submissions(results: Path, console: Console) -> None:
    """One line for each array of Slurm jobs that works for a results folder, or will."""
    if not (results / "slurm").is_dir():
        return
    from mlabench.running import submissions

    try:
        found = submissions(results)
    except UserError as error:
        typer.echo(f"warning: {error}", err=True)
        return
    for submission in found:
        if submission.states:
            states = ", ".join(f"{count} {state}" for state, count in submission.states.items())
            console.print(f"Slurm array {submission.job} ({', '.join(submission.suites)}): {states}", markup=False)


def worker(
    order: Annotated[Path, typer.Argument(metavar="ORDER", help="An order, RESULTS/slurm/*/order.json.")],
    results: Results = Path("results"),
) -> None:
    """Work off an order until nothing is left or the time is up. Slurm jobs run this."""
    from mlabench.cli.console import make_console
    from mlabench.registry import register
    from mlabench.running import Session, read_order, run_jobs, visible_gpus
    from mlabench.store import Store
    from mlabench.training import StopRequest, SuspendedError

    with StopRequest() as stop:
        found, store = read_order(order), Store(results)
        register(found.options.plugins)
        jobs = found.left(store)
        options = replace(found.options, gpus=visible_gpus(found.options.device, found.options.devices_per_trial))
        try:
            done = len(found.jobs) - len(jobs)
            about = ", ".join(found.suites)
            session = Session(store, make_console(), found.processes, options, stop)
            failed = run_jobs(about, jobs, done, session) if jobs else 0
        except SuspendedError:
            raise typer.Exit(stop.exit_code) from None
    if failed:
        raise typer.Exit(1)


def cancel(
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="[SUITE...]", help="Suites, by name or by file.")
    ] = None,
    results: Results = Path("results"),
    everything: Annotated[bool, typer.Option("--all", help="All jobs that work for the results folder.")] = False,
) -> None:
    """Cancel the Slurm jobs of suites; what they have done stays, and `run` goes on from there."""
    from mlabench.running import cancel as cancel_jobs
    from mlabench.running import submissions
    from mlabench.suite import load_plans
    from mlabench.words import counted

    if bool(suites) == everything:
        raise UserError("say which suites, or --all.", field="cancel")
    files = [Path(suite) for suite in suites or () if Path(suite).suffix in (".yaml", ".yml")]
    wanted = {suite for suite in suites or () if Path(suite) not in files}
    wanted |= {plan.name for plan in load_plans(files).values()}
    active = [submission for submission in submissions(results) if submission.states]
    known = {name for submission in active for name in submission.suites}
    if unknown := sorted(wanted - known):
        raise UserError(
            f"no Slurm job works for {', '.join(unknown)} in {results}.",
            remedy=f"There are jobs for {', '.join(sorted(known))}." if known else "There is none at all.",
        )
    jobs = [submission.job for submission in active if everything or wanted & set(submission.suites)]
    if jobs:
        cancel_jobs(jobs)
    typer.echo(f"cancelled {counted(len(jobs), 'Slurm array')}{': ' if jobs else ''}{', '.join(jobs)}")


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

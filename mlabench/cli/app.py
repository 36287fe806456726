"""The commands that run suites and read results, and the app that gathers all commands."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mlabench.cli.cluster import cancel, merge, print_submissions, slurm_resources, submit_plans, worker
from mlabench.cli.contribute import contribute, verify
from mlabench.cli.data import data_app, masks_app
from mlabench.cli.editions import results_command
from mlabench.cli.leaderboard import leaderboard
from mlabench.cli.listings import list_methods, list_registered, schema, version
from mlabench.cli.options import (
    DEVICES,
    AsJson,
    DeviceOption,
    FullOption,
    JobsOption,
    MaxRepeatsOption,
    PluginOption,
    Results,
    SetOption,
    SuiteFile,
    SuiteFiles,
    UntilOption,
    choice,
    takes_overrides,
    use_plugins,
)
from mlabench.cli.start import doctor, init, new_app
from mlabench.cli.tune import tune
from mlabench.errors import UserError

if TYPE_CHECKING:
    from mlabench.running import Standing
    from mlabench.store import Store
    from mlabench.suite import Overrides, Plan
    from mlabench.training import Keep

app = typer.Typer(
    name="mlabench",
    help="Benchmark multimodal learning with complete and with missing modalities: MLA against its baselines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app)
app.add_typer(masks_app)
app.add_typer(new_app)
app.command("ls")(list_registered)
app.command("methods")(list_methods)
app.command()(tune)
app.command()(leaderboard)
app.command()(cancel)
app.command()(merge)
app.command()(contribute)
app.command()(verify)
app.command("results")(results_command)
app.command(hidden=True)(worker)
app.command()(schema)
app.command()(init)
app.command()(doctor)
app.command()(version)

#: Ids that an error message lists at most.
_LISTED = 10

# -- running -------------------------------------------------------------------------------------


@app.command()
@takes_overrides
def run(
    suites: SuiteFiles,
    changes: Overrides,
    results: Results = Path("results"),
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    overwrite: Annotated[
        str, typer.Option(help="Which finished trials run again: never, only-missing (evaluations), failed, always.")
    ] = "only-missing",
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first trial that fails.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed trials again; short for --overwrite failed.")
    ] = False,
    trial_timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.01, help="A trial that takes longer has failed."),
    ] = None,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(metavar="EPOCHS", min=1, help="Checkpoint every so many epochs; default: about every minute."),
    ] = None,
    trials_per_device: Annotated[int, typer.Option(min=1, help="Trials that share a GPU; --jobs overrides it.")] = 1,
    devices_per_trial: Annotated[
        int, typer.Option(min=1, help="Devices that share the encoders' work of one trial.")
    ] = 1,
    compile_encoders: Annotated[
        bool, typer.Option("--compile", help="Have torch compile the encoders; pays on GPUs, in long trainings.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="CPU threads per trial that trains on pictures, sounds or texts; default: cores that workers spare.",
        ),
    ] = None,
    keep: Annotated[
        str,
        typer.Option(
            metavar="outcomes|predictions|models",
            help="Keep beside records what reports need, predictions too, or weights too; default: small weights.",
        ),
    ] = "auto",
    until_width: UntilOption = None,
    max_repeats: MaxRepeatsOption = None,
    time_budget: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="Then save running trials and stop; run again to resume."),
    ] = None,
    launcher: Annotated[str, typer.Option(help="local, or slurm: submit jobs to a cluster, and return.")] = "local",
    slurm: Annotated[
        str | None, typer.Option(metavar="KEY=VALUE,...", help="Resources: partition=long,gpus=1,time=4:00:00.")
    ] = None,
    logger: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Send curves to tensorboard, wandb or mlflow, too. Repeatable."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show failures only, on standard error.")] = False,
    full: FullOption = False,
    plugin: PluginOption = None,
) -> None:
    """Run suites: skip what is done, run the rest, show the verdicts. Interrupt and run again to resume."""
    from mlabench.cli.console import make_console
    from mlabench.reporting import contrasts, print_summary
    from mlabench.running import Overwrite, Session, grown, run_until
    from mlabench.store import Store
    from mlabench.suite import load_plans
    from mlabench.training import (
        LOGGERS,
        RunOptions,
        StopRequest,
        SuspendedError,
        require_compiler,
        require_device,
        require_loggers,
    )

    choice("--device", device, DEVICES)
    resources = slurm_resources(launcher, slurm, time_budget, jobs)
    if resources is None:
        require_device(device)
        require_compiler(needed=compile_encoders)
    loggers = tuple(choice("--logger", name, LOGGERS) for name in dict.fromkeys(logger or ()))
    require_loggers(loggers)
    plugins = use_plugins(plugin)
    choice("--overwrite", overwrite, tuple(map(str, Overwrite)))
    strategy = Overwrite.FAILED if retry_failed else Overwrite(overwrite)
    plans = load_plans(suites, replace(changes, until_width=until_width, max_repeats=max_repeats))
    console, store = make_console(quiet=quiet), Store(results)
    command = shlex.join(["mlabench", *sys.argv[1:]]).encode(errors="backslashreplace").decode()
    commanded = [plan.model_copy(update={"command": command}) for plan in plans.values()]
    options = RunOptions(
        device=device,
        keep=cast("Keep", keep),  # which it checks
        fail_fast=fail_fast,
        trial_timeout=trial_timeout,
        checkpoint_every=checkpoint_every,
        loggers=loggers,
        devices_per_trial=devices_per_trial,
        compile=compile_encoders,
        threads=threads,
        plugins=plugins,
    )
    if resources is not None:
        processes = jobs or resources.processes(trials_per_device, devices_per_trial)
        commanded = [grown(plan, store, console, contrasts) for plan in commanded]
        submit_plans(commanded, store, console, strategy, options, resources, processes)
        return
    failed, stop = 0, StopRequest(time_budget)
    session = Session.open(
        store, console, jobs, options, trials_per_device=trials_per_device, should_stop=stop, plans=commanded
    )
    for plan in commanded:
        try:
            with stop:
                ended, lost = run_until(plan, strategy, session, contrasts)
        except KeyboardInterrupt:
            typer.echo("interrupted; run the same command again to resume", err=True)
            raise typer.Exit(130) from None
        except SuspendedError:
            typer.echo("stopped by signal or time budget; run the same command to resume", err=True)
            raise typer.Exit(stop.exit_code) from None
        failed += lost
        print_summary(ended, store, console, full=full)
        if fail_fast and failed:
            break
    _report_set_aside(store)
    if failed:
        raise typer.Exit(1)


@app.command()
@takes_overrides
def plan(
    suite: SuiteFile,
    changes: Overrides,
    results: Results = Path("results"),
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="For the estimate of time.")] = None,
    until_width: UntilOption = None,
    max_repeats: MaxRepeatsOption = None,
    plugin: PluginOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a suite's trials, which of them are done, and how long the rest will take. Runs nothing."""
    from mlabench.cli.console import make_console, print_listing
    from mlabench.running import as_run, default_jobs, survey, visible_gpus
    from mlabench.store import Store
    from mlabench.suite import load_plans, shown
    from mlabench.words import counted

    use_plugins(plugin)
    store, console, workers = Store(results), make_console(), jobs or default_jobs("auto", visible_gpus("auto"))
    changes = replace(changes, until_width=until_width, max_repeats=max_repeats)
    for path, wanted in load_plans([suite], changes).items():
        planned = as_run(wanted, store)
        standings = survey(planned, store)
        own = as_json or {*planned.settings.values()} != {"suite"}
        names = {cell.trial.id: (cell.label, *([cell.settings] if own else [])) for cell in planned.cells}
        trials = ((entry.trial, len(entry.tests), entry.state) for entry in standings)
        folds = planned.folds
        split = ("Seed", "Fold") if as_json else ("Repeat", "Fold") if folds else ("Seed",)
        selected = ("Selected on",) if any(entry.trial.validation for entry in standings) else ()
        rows = [
            (
                *(one.id, *names[one.id], one.missing.key),
                *(", ".join(missing.key for missing in one.validated_under) for _ in selected),
                *(one.seed, one.fold_name)[: len(split)],
                *(tests, state),
            )
            for one, tests, state in trials
        ]
        settings = ("Settings",) if own else ()
        columns = ("Trial", "Method", *settings, "Trained on", *selected, *split, "Evaluations", "State")
        print_listing(console, f"Plan of {shown(path)}", columns, rows, as_json=as_json)
        if not as_json:
            shape = f"{counted(len(folds), 'fold')} x {counted(len(planned.seeds), 'repeat')}: " if folds else ""
            console.print(shape + _left(standings, store, workers))
            for objection in planned.objections().values():
                console.print(f"Note: {objection}", markup=False, soft_wrap=True)
            if planned.until_width is not None:
                console.print(_left_until(planned, store, workers), markup=False, soft_wrap=True)
    _report_set_aside(store)


def _left(standings: Sequence[Standing], store: Store, workers: int) -> str:
    """How much there is to run, and how long that takes."""
    from mlabench.running import Overwrite, estimate_seconds, jobs_to_run
    from mlabench.words import counted, duration

    left = jobs_to_run(standings, Overwrite.ONLY_MISSING)
    seconds = estimate_seconds(left, standings, store, workers)
    time = "unknown: nothing like it has run yet" if seconds is None else f"about {duration(seconds)}"
    total, by = counted(len(standings), "trial"), counted(workers, "worker")
    return f"{total}, {len(left)} to run on {by}; time: {time}."


def _left_until(plan: Plan, store: Store, workers: int) -> str:
    """How many repeats it takes until the intervals are narrow enough, as far as that can be foreseen."""
    from mlabench.reporting import contrasts
    from mlabench.running import expected_repeats, survey
    from mlabench.words import counted

    width, most = plan.until_width or 0.0, counted(plan.max_repeats, plan.repeat)
    goal, known = f"Until all intervals are within ±{width:g} points", contrasts(plan, store)
    if not any(one.seed_spread_known for one in known.values()):
        return f"{goal}: at most {most}; a better estimate takes two or more {plan.repeat}s that have run."
    repeats = expected_repeats(plan, known)
    if repeats is None:
        return f"{goal}: it may well take more than the {most} that are allowed."
    after = max(plan.seeds) + 1
    seeds = [*plan.seeds, *range(after, after + repeats - len(plan.seeds))]
    whole = _left(survey(plan.with_seeds(seeds), store), store, workers)
    return f"{goal}: about {counted(len(seeds), plan.repeat)}: {whole}"


@app.command()
def status(
    suite: SuiteFile, results: Results = Path("results"), plugin: PluginOption = None, as_json: AsJson = False
) -> None:
    """Show how far a suite is: trials done, running (where, how far), failed, stale, missing; time left."""
    from mlabench.cli.console import make_console, print_listing
    from mlabench.running import as_run, find_status
    from mlabench.store import Store
    from mlabench.suite import load_plans, shown
    from mlabench.words import duration

    use_plugins(plugin)
    store, console = Store(results), make_console()
    found = {path: find_status(as_run(wanted, store), store) for path, wanted in load_plans([suite]).items()}
    if as_json:
        print(json.dumps([{"suite": shown(path), **status.as_json()} for path, status in found.items()], indent=1))  # noqa: T201
    else:
        for path, status in found.items():
            print_listing(
                console, f"Status of {shown(path)}", ("State", "Trials"), status.counts().items(), as_json=False
            )
            for trial_id, holder in status.running.items():
                epochs = f"{holder.stage} {holder.done}/{holder.total}" if holder.total else "starting"
                console.print(f"running {trial_id}: {epochs}, on {holder.machine} ({holder.pid})", markup=False)
            for trial_id, problem in status.failures().items():
                console.print(f"failed {trial_id}: {problem}", markup=False)
            if status.seconds_left:
                console.print(f"about {duration(status.seconds_left)} left")
        print_submissions(results, console)
    _report_set_aside(store)


@app.command()
def show(
    what: Annotated[str, typer.Argument(metavar="SUITE|TRIAL", help="A suite, or a trial's id (or its start).")],
    results: Results = Path("results"),
    settings: SetOption = None,
    plugin: PluginOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a suite with the origin of each value, or one record in full."""
    from mlabench.cli.console import make_console, print_listing
    from mlabench.store import Store
    from mlabench.suite import Overrides, describe, is_suite, load_suite, members, shown

    use_plugins(plugin)
    if is_suite(what):
        for path in members(what):
            rows = describe(load_suite(path, Overrides(settings=tuple(settings or ()))))
            print_listing(make_console(), shown(path), ("Field", "Value", "Origin"), rows, as_json=as_json)
        return
    store = Store(results)
    matches = [trial_id for trial_id in store.ids() if trial_id.startswith(what)]
    if len(matches) != 1:
        listed = f": {', '.join(matches)}" if 0 < len(matches) <= _LISTED else ""
        raise UserError(
            f"{len(matches)} trials in {results} have an id that starts with {what!r}{listed}.",
            remedy="Give a suite's name or file, or enough of one trial's id; `mlabench plan SUITE` lists them.",
        )
    record = store.read(matches[0])
    _report_set_aside(store)
    if record is None:
        raise UserError("this record cannot be read.", remedy="Run its suite again.", file=matches[0])
    print(json.dumps(record.model_dump(mode="json"), indent=1))  # noqa: T201


@app.command()
def validate(suites: SuiteFiles, plugin: PluginOption = None) -> None:
    """Check suites without running them."""
    from mlabench.suite import load_plans, shown
    from mlabench.words import counted

    use_plugins(plugin)
    for path, plan in load_plans(suites).items():
        typer.echo(f"{shown(path)}: valid, {counted(len(list(plan.trials())), 'trial')}")
        for objection in plan.objections().values():
            typer.echo(f"  note: {objection}")


# -- reading results -----------------------------------------------------------------------------


@app.command()
def report(
    what: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[SUITE|RESULTS...]", help="A suite, or results folders; several are read as one."),
    ] = None,
    results: Results = Path("results"),
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; default: RESULTS/report.")] = None,
    include_limited: Annotated[
        bool, typer.Option("--include-limited", help="Also use results that were made with --limit.")
    ] = False,
    published: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Published numbers of your own, as CSV, to set beside ours."),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Set two results folders side by side instead; edition:2026.12 is one, too."),
    ] = None,
    full: FullOption = False,
    as_json: AsJson = False,
    plugin: PluginOption = None,
) -> None:
    """Answer Q1 to Q4: one HTML page, tables (CSV, Markdown, LaTeX, Parquet) and figures (PNG, PDF)."""
    from mlabench.cli.console import make_console
    from mlabench.reporting import VERDICTS, build_report, compare_folders
    from mlabench.running import as_run
    from mlabench.store import Store, Together, results_folder
    from mlabench.suite import is_suite, load_plans

    use_plugins(plugin)
    console = make_console(quiet=as_json)
    if compare is not None:
        a, b = map(results_folder, compare)
        raise typer.Exit(compare_folders(a, b, out, console))
    suites = what if what and len(what) == 1 and not what[0].is_dir() and is_suite(what[0]) else []
    folders = [results] if suites or not what else what
    if len(folders) > 1 and out is None:
        raise UserError("say where the report of several folders goes.", field="--out")
    store, results = Together(folders) if len(folders) > 1 else Store(folders[0]), folders[0]
    plans = [as_run(plan, store) for plan in load_plans(suites).values()] if suites else store.plans()
    for unread in store.unread:
        typer.echo(f"warning: {unread}", err=True)
    if not plans:
        raise UserError(
            f"no results in {', '.join(map(str, folders))}.", remedy="Run a suite first: `mlabench run stamps_missing`."
        )
    out = out or results / "report"
    made = build_report(
        store, plans, out, include_limited=include_limited, published=published, console=console, full=full
    )
    if as_json:
        print((made.out / VERDICTS).read_text(encoding="utf-8"))  # noqa: T201


def _report_set_aside(store: Store) -> None:
    for trial_id, reason in store.set_aside:
        typer.echo(f"warning: {trial_id}: {reason}; it will run again", err=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: runs one command (by default that of this process) and exits with its code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        app(args=arguments)
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)

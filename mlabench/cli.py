"""The command line: parse, call, print. Heavy imports happen inside the commands.

Exit codes: 0 all good; 1 some trial failed; 2 bad input; 130 interrupted (run again to resume).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlabench import __version__
from mlabench.cli_data import data_app, masks_app
from mlabench.errors import UserError, cannot_write

if TYPE_CHECKING:
    from mlabench.plan import Plan
    from mlabench.store import Store
    from mlabench.suite import Suite

app = typer.Typer(
    name="mlabench",
    help="Benchmark multimodal learning with complete and with missing modalities: MLA against its baselines.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app)
app.add_typer(masks_app)

#: Ids that an error message lists at most.
_LISTED = 10

# -- options shared by commands ------------------------------------------------------------------

SuiteFile = Annotated[Path, typer.Argument(metavar="SUITE", help="A suite file, e.g. suites/stamps_missing.yaml.")]
SuiteFiles = Annotated[list[Path], typer.Argument(metavar="SUITE...", help="One or more suite files.")]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="Where records are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Override a field, e.g. training.epochs=5. Repeatable."),
]
MethodOption = Annotated[
    list[str] | None, typer.Option("--method", metavar="NAME", help="Only this method or label. Repeatable.")
]
SeedsOption = Annotated[str | None, typer.Option("--seeds", metavar="LIST", help="Seeds, e.g. 0-4 or 0,2,5.")]
RatesOption = Annotated[str | None, typer.Option("--rates", metavar="LIST", help="Missing rates, e.g. 0,0.5.")]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Samples per split, for a smoke test; kept out of reports.")
]
DatasetOption = Annotated[str | None, typer.Option("--dataset", metavar="NAME", help="Another dataset.")]
PrecisionOption = Annotated[str | None, typer.Option("--precision", metavar="32|bf16-mixed", help="Arithmetic.")]


def _suite(
    path: Path,
    settings: list[str] | None = None,
    methods: list[str] | None = None,
    seeds: str | None = None,
    rates: str | None = None,
    limit: int | None = None,
    dataset: str | None = None,
    precision: str | None = None,
) -> Suite:
    from mlabench.suite import Overrides, load_suite

    overrides = Overrides(
        settings=tuple(settings or ()),
        methods=tuple(methods or ()),
        seeds=seeds,
        rates=rates,
        limit=limit,
        dataset=dataset,
        precision=precision,
    )
    return load_suite(path, overrides)


def _plan(suite: Suite) -> Plan:
    from mlabench.planning import expand

    return expand(suite)


# -- running -------------------------------------------------------------------------------------


@app.command()
def run(
    suites: SuiteFiles,
    results: Results = Path("results"),
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Worker processes; default: one per core, or one on a GPU."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: PrecisionOption = None,
    overwrite: Annotated[
        str, typer.Option(help="Which finished trials run again: never, only-missing (evaluations), failed, always.")
    ] = "only-missing",
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first trial that fails.")] = False,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep the weights whatever their size.")] = False,
    settings: SetOption = None,
    method: MethodOption = None,
    seeds: SeedsOption = None,
    rates: RatesOption = None,
    limit: LimitOption = None,
    dataset: DatasetOption = None,
) -> None:
    """Run suites: skip what is done, run the rest, show the table. Interrupt and run again to resume."""
    from mlabench.display import make_console
    from mlabench.environment import require_device
    from mlabench.execution import Overwrite, run_plan
    from mlabench.launchers import RunOptions
    from mlabench.report.build import print_tables
    from mlabench.store import Store

    require_device(_choice("--device", device, ("auto", "cpu", "cuda", "mps")))
    strategy = Overwrite(_choice("--overwrite", overwrite, tuple(map(str, Overwrite))))
    # All suites are read and checked before the first trial starts.
    plans = [_plan(_suite(path, settings, method, seeds, rates, limit, dataset, precision)) for path in suites]
    _refuse_namesakes(suites, plans)
    console, store, options = make_console(), Store(results), RunOptions(device, keep_models)
    failed = 0
    for plan in plans:
        try:
            failed += run_plan(plan, store, console, strategy, jobs, options, fail_fast=fail_fast)
        except KeyboardInterrupt:
            typer.echo("interrupted; run the same command again to resume", err=True)
            raise typer.Exit(130) from None
        print_tables(plan, store, console)
        if fail_fast and failed:
            break
    _report_set_aside(store)
    if failed:
        raise typer.Exit(1)


@app.command()
def plan(
    suite: SuiteFile,
    results: Results = Path("results"),
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="For the estimate of time.")] = None,
    settings: SetOption = None,
    method: MethodOption = None,
    seeds: SeedsOption = None,
    rates: RatesOption = None,
    limit: LimitOption = None,
    dataset: DatasetOption = None,
    precision: PrecisionOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a suite's trials, which of them are done, and how long the rest will take. Runs nothing."""
    from mlabench.display import counted, duration, make_console, print_listing
    from mlabench.execution import Overwrite, default_jobs, estimate_seconds, jobs_to_run, survey
    from mlabench.store import Store

    store, console = Store(results), make_console()
    planned = _plan(_suite(suite, settings, method, seeds, rates, limit, dataset, precision))
    standings = survey(planned, store)
    labels = {cell.trial.id: cell.label for cell in planned.cells}
    rows = [
        (
            entry.trial.id,
            labels[entry.trial.id],
            entry.trial.missing.key,
            entry.trial.seed,
            len(entry.tests),
            entry.state,
        )
        for entry in standings
    ]
    columns = ("Trial", "Method", "Trained on", "Seed", "Evaluations", "State")
    print_listing(console, f"Plan of {suite}", columns, rows, as_json=as_json)
    _report_set_aside(store)
    if not as_json:
        left = jobs_to_run(standings, Overwrite.ONLY_MISSING)
        workers = jobs or default_jobs("auto")
        seconds = estimate_seconds(left, store, workers)
        time = "unknown: nothing like it has run yet" if seconds is None else f"about {duration(seconds)}"
        trials, by = counted(len(standings), "trial"), counted(workers, "worker")
        console.print(f"{trials}, {len(left)} to run on {by}; time: {time}.")


@app.command()
def status(suite: SuiteFile, results: Results = Path("results"), as_json: AsJson = False) -> None:
    """Count a suite's trials that are done, running, failed, stale or missing. Reads the results only."""
    from collections import Counter

    from mlabench.display import make_console, print_listing
    from mlabench.execution import State, survey
    from mlabench.store import Store

    store, console = Store(results), make_console()
    standings = survey(_plan(_suite(suite)), store)
    counts = Counter(entry.state for entry in standings)
    rows = [(str(state), counts[state]) for state in State]
    rows.append(("stale", sum(entry.stale for entry in standings)))
    print_listing(console, f"Status of {suite}", ("State", "Trials"), rows, as_json=as_json)
    _report_set_aside(store)
    if not as_json:
        for entry in standings:
            if entry.record is not None and entry.record.failure is not None:
                failure = entry.record.failure
                console.print(f"failed {entry.trial.id}: {failure.kind}: {failure.message}", markup=False)


@app.command()
def show(
    what: Annotated[str, typer.Argument(metavar="SUITE|TRIAL", help="A suite file, or a trial's id (or its start).")],
    results: Results = Path("results"),
    settings: SetOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a suite with the origin of each value, or one record in full."""
    from mlabench.display import make_console, print_listing
    from mlabench.store import Store
    from mlabench.suite import describe

    if Path(what).suffix in (".yaml", ".yml"):
        rows = describe(_suite(Path(what), settings))
        print_listing(make_console(), what, ("Field", "Value", "Origin"), rows, as_json=as_json)
        return
    store = Store(results)
    matches = [trial_id for trial_id in store.ids() if trial_id.startswith(what)]
    if len(matches) != 1:
        listed = f": {', '.join(matches)}" if 0 < len(matches) <= _LISTED else ""
        raise UserError(
            f"{len(matches)} trials in {results} have an id that starts with {what!r}{listed}.",
            remedy="Give the path of a suite (*.yaml), or enough of one trial's id; `mlabench plan SUITE` lists them.",
        )
    record = store.read(matches[0])
    _report_set_aside(store)
    if record is None:
        raise UserError("this record cannot be read.", remedy="Run its suite again.", file=matches[0])
    print(json.dumps(record.model_dump(mode="json"), indent=1))  # noqa: T201


@app.command()
def validate(suites: SuiteFiles) -> None:
    """Check suites without running them."""
    from mlabench.display import counted

    for path in suites:
        trials = len(list(_plan(_suite(path)).trials()))
        typer.echo(f"{path}: valid, {counted(trials, 'trial')}")


# -- reading results -----------------------------------------------------------------------------


@app.command()
def report(
    what: Annotated[
        Path | None, typer.Argument(metavar="[SUITE|RESULTS]", help="A suite file, or a results folder.")
    ] = None,
    results: Results = Path("results"),
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write; default: RESULTS/report.")
    ] = None,
    include_limited: Annotated[
        bool, typer.Option("--include-limited", help="Also use results that were made with --limit.")
    ] = False,
) -> None:
    """Write tables (CSV, Markdown, LaTeX) and figures (PNG, PDF) of one suite, or of all that ran."""
    from mlabench.display import make_console
    from mlabench.report.build import build_report
    from mlabench.store import Store

    is_suite = what is not None and what.suffix in (".yaml", ".yml")
    if what is not None and not is_suite:
        results = what
    store = Store(results)
    plans = [_plan(_suite(what))] if what is not None and is_suite else store.plans()
    if not plans:
        raise UserError(
            f"no results in {results}.", remedy="Run a suite first: `mlabench run suites/stamps_missing.yaml`."
        )
    build_report(store, plans, out or results / "report", include_limited=include_limited, console=make_console())


# -- what there is -------------------------------------------------------------------------------


@app.command("ls")
def list_registered(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="methods, datasets, encoders or suites.")],
    pattern: Annotated[str, typer.Argument(metavar="[GLOB]", help="Only names that match, e.g. 'la*'.")] = "*",
    as_json: AsJson = False,
) -> None:
    """List methods, datasets, encoders (with their options) or suites."""
    from mlabench.listings import list_kind, list_suites

    _choice("KIND", kind, ("methods", "datasets", "encoders", "suites"))
    if kind == "suites":
        list_suites(pattern, as_json=as_json)
    else:
        list_kind(kind, pattern, as_json=as_json)  # type: ignore[arg-type]


@app.command("methods")
def list_methods(
    pattern: Annotated[str, typer.Argument(metavar="[GLOB]", help="Only names that match.")] = "*",
    as_json: AsJson = False,
) -> None:
    """Short for `mlabench ls methods`."""
    from mlabench.listings import list_kind

    list_kind("methods", pattern, as_json=as_json)


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there instead of printing it.")
    ] = None,
) -> None:
    """Print the JSON schema of suite files, for editors that complete and check YAML."""
    from mlabench.suite import json_schema

    text = json.dumps(json_schema(), indent=1) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise cannot_write("the schema", out, error) from error


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _choice(flag: str, value: str, allowed: tuple[str, ...]) -> str:
    """``value`` if it is allowed.

    Raises:
        UserError: Otherwise, with the nearest spelling.
    """
    from mlabench.registry import suggest

    if value not in allowed:
        raise UserError(
            f"{value!r} is not one of {', '.join(allowed)}.", remedy=suggest(value, list(allowed)), field=flag
        )
    return value


def _refuse_namesakes(suites: list[Path], plans: list[Plan]) -> None:
    """Of two suites with one name, the results folder would remember the last one only.

    Raises:
        UserError: If there are two different ones.
    """
    known: dict[str, tuple[Path, Plan]] = {}
    for path, plan in zip(suites, plans, strict=True):
        other, before = known.setdefault(plan.name, (path, plan))
        if before != plan:
            raise UserError(
                f"{other} is named {plan.name!r}, too.",
                remedy="Give each suite its own name.",
                file=str(path),
                field="name",
            )


def _report_set_aside(store: Store) -> None:
    for trial_id, reason in store.set_aside:
        typer.echo(f"warning: {trial_id}: {reason}; it will run again", err=True)


def main() -> None:
    """The entry point."""
    try:
        app()
    except UserError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)

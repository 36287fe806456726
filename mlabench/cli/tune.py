"""The command that tunes all methods of a suite alike."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlabench.cli.options import (
    DEVICES,
    AsJson,
    DeviceOption,
    JobsOption,
    PluginOption,
    SuiteFile,
    choice,
    takes_overrides,
    use_plugins,
)
from mlabench.errors import UserError

if TYPE_CHECKING:
    from mlabench.suite import Overrides, Suite

#: What a tuned suite says for itself, whatever the suite that it extends says.
_SAID = ("name", "methods", "tuning")


@takes_overrides
def tune(
    suite: SuiteFile,
    changes: Overrides,
    tries: Annotated[
        int | None, typer.Option(min=1, help="Configurations per method, the default among them; or 20.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where tries are kept; or results/tuning/SUITE.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The tuned suite; or SUITE_tuned.yaml beside it.")
    ] = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run tries again that failed earlier.")] = False,
    plugin: PluginOption = None,
    as_json: AsJson = False,
) -> None:
    """Tune all methods alike, on the validation split alone; write a suite with what was best.

    Every method gets the same number of tries. They are trained with the suite's first seed and missing rate, or with
    those of --seeds and --rates; with folds on the validation part of each. Interrupt and run again to resume.
    """
    from mlabench.cli.console import make_console, print_listing
    from mlabench.running import Session
    from mlabench.store import Store
    from mlabench.suite import find_suite, load_suite, own_folder, shown
    from mlabench.training import RunOptions, require_device
    from mlabench.tuning import COLUMNS, rows, search, tuned_suite, write_suite

    require_device(choice("--device", device, DEVICES))
    plugins = use_plugins(plugin)
    if tries is not None:
        changes = replace(changes, settings=(*changes.settings, f"tuning.tries={tries}"))
    suite = find_suite(suite)
    own = suite.parent == own_folder()  # and not in a folder ``suites`` here
    out = out or (Path(suite.name) if own else suite).with_name(f"{suite.stem}_tuned.yaml")
    if out.resolve() == suite.resolve():
        raise UserError("the tuned suite would replace the suite.", remedy="Choose another file.", field="--out")
    whole = load_suite(suite, replace(changes, seeds=None, rates=None))
    searched = _first(load_suite(suite, changes), changes)
    store = Store(results or Path("results", "tuning", whole.name))
    session = Session.open(store, make_console(stderr=as_json), jobs, RunOptions(device, plugins=plugins))
    try:
        outcomes = search(searched, session, retry_failed=retry_failed)
    except UserError as error:
        raise error.within(shown(suite)) from None
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command again to resume", err=True)
        raise typer.Exit(130) from None
    title = f"{whole.name}: accuracy on the validation split (%)"
    print_listing(make_console(), title, COLUMNS, rows(outcomes, as_json=as_json), as_json=as_json)
    if lost := [one.label for one in outcomes if one.best is None]:
        typer.echo(
            f"no try of {', '.join(lost)} succeeded, so no suite was written; {store.root} has the reasons", err=True
        )
        raise typer.Exit(1)
    base = load_suite(suite)
    same = all(value == base.resolved()[key] for key, value in whole.resolved().items() if key not in _SAID)
    extends = (Path(suite.stem) if own else Path(os.path.relpath(suite, out.parent))) if same else None
    write_suite(tuned_suite(whole, searched, outcomes, extends), out)
    typer.echo(f"Tuned suite: {out}", err=as_json)


def _first(suite: Suite, changes: Overrides) -> Suite:
    """The suite with its first seed and its first missing rate only, where the command line does not name them."""
    missing = suite.missing.model_copy(update={} if changes.rates else {"rates": suite.missing.rates[:1]})
    return suite.model_copy(update={"missing": missing, "seeds": suite.seeds if changes.seeds else suite.seeds[:1]})

"""Results from others: packing one's own, and checking those of somebody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlabench.cli.options import AsJson, use_plugins
from mlabench.errors import UserError

if TYPE_CHECKING:
    from mlabench.contributing import Verification


def contribute(
    results: Annotated[Path, typer.Argument(metavar="[RESULTS]", help="The folder that your suites ran into.")] = Path(
        "results"
    ),
    plugin: Annotated[Path | None, typer.Option(metavar="FILE", help="The file with your method, as it ran.")] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option("--method", metavar="NAME", help="A method to pack; default: those of the plugin. Repeatable."),
    ] = None,
    card: Annotated[
        Path, typer.Option(metavar="FILE", help="Who, how, on which data; if there is none, a template is written.")
    ] = Path("card.yaml"),
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the folder goes that is named in the card.")] = Path(
        "results/contributed"
    ),
) -> None:
    """Pack results of your method for a pull request, after checking them as `verify` does."""
    from mlabench.contributing import pack, write_template
    from mlabench.registry import read
    from mlabench.words import counted

    files = use_plugins([plugin] if plugin else [])
    own = [entry.name for file in files for entry in read(file) if entry.kind == "methods"]
    wanted = methods or own
    if not wanted:
        raise UserError("say which methods: --plugin FILE, or --method NAME.", field="contribute")
    if not card.exists():
        write_template(card, wanted[0])
        typer.echo(f"There is no card yet. Wrote {card}: fill it in, then run the same command again.")
        raise typer.Exit(1)
    packed = pack(results, wanted, files[0] if files else None, card, out)
    found = packed.verification
    if found.findings:
        _print(found)
        typer.echo(f"Nothing was written to {packed.folder}.", err=True)
        raise typer.Exit(1)
    trials, suites = counted(len(found.records), "trial"), counted(len(found.plans), "suite")
    typer.echo(f"Wrote {packed.folder}: {trials} of {suites}, {packed.size / 2**20:.1f} MiB, checked.")
    typer.echo("To propose it, open a pull request that adds this folder to results/contributed, and nothing else.")


def verify(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that `contribute` wrote.")],
    again: Annotated[
        str | None,
        typer.Option("--rerun", metavar="N|TRIAL", help="Also run so many trials again, or one. Needs --trust."),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="You have read plugin.py, and let it run on this machine.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check contributed results: seals, folds, patterns, scores, verdicts. Runs no foreign code without --rerun."""
    from mlabench.contributing import verify as check

    if again is not None and not trust:
        raise UserError(
            "this executes the code in plugin.py on this machine, with your rights.",
            remedy="Read it first, then add --trust.",
            field="--rerun",
        )
    found = [check(folder) for folder in folders]
    for one in found:
        if again is not None and not one.findings:
            _rerun(one, again, quiet=as_json)
    if as_json:
        print(json.dumps([one.as_json() for one in found], indent=1))  # noqa: T201
    else:
        for one in found:
            _print(one)
    if any(one.findings for one in found):
        raise typer.Exit(1)


def _rerun(found: Verification, wanted: str, *, quiet: bool) -> None:
    """Runs trials again, and adds to what was found."""
    from mlabench.contributing import Finding, chosen, rerun

    for trial_id in chosen(found.records, wanted):
        if not quiet:
            typer.echo(f"running {trial_id} again")
        for one in rerun(found.folder, found.records, trial_id):
            (found.findings if isinstance(one, Finding) else found.notes).append(one)  # type: ignore[arg-type]


def _print(found: Verification) -> None:
    from mlabench.words import counted

    for finding in found.findings:
        typer.echo(str(found.folder / finding.file).removesuffix(finding.file) + str(finding))
    for note in found.notes:
        typer.echo(f"note: {note}")
    trials, suites = counted(len(found.records), "trial"), counted(len(found.plans), "suite")
    outcome = f"{counted(len(found.findings), 'disagreement')}" if found.findings else "all agree"
    typer.echo(f"{found.folder}: {trials} of {suites}: {outcome}.")

"""The commands that one starts with: a suite, a method, and whether everything is in place."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mlabench.cli.options import DEVICES, AsJson, PluginOption, Results, choice, use_plugins

new_app = typer.Typer(name="new", help="Write the files of something new, ready to run.", no_args_is_help=True)


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("suite.yaml"),
) -> None:
    """Write a commented suite that runs as it is, to start from."""
    from mlabench.cli.scaffold import write_suite

    write_suite(file)
    typer.echo(f"Wrote {file}. Next:\n  {shlex.join(['mlabench', 'run', str(file)])}")


@new_app.command("method")
def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What suites will call it, e.g. my_method.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the two files.")] = Path(),
) -> None:
    """Write a method that works, and its test, to start from."""
    from mlabench.cli.scaffold import write_method

    method, test = write_method(name, out)
    suite = next((path for path in (Path("suites/stamps.yaml"), Path("suite.yaml")) if path.is_file()), None)
    run = ["mlabench", "run", str(suite or "suite.yaml"), "--plugin", str(method)]
    run += ["--method", "concat", "--method", name, "--limit", "200"]
    before = "" if suite else "mlabench init && "
    typer.echo(f"Wrote {method} and {test}. Next:\n  {shlex.join(['pytest', str(test)])}\n  {before}{shlex.join(run)}")


def doctor(
    results: Results = Path("results"),
    device: Annotated[
        str | None, typer.Option("--device", help="Also try a device with torch: auto, cpu, cuda or mps.")
    ] = None,
    plugin: PluginOption = None,
    as_json: AsJson = False,
) -> None:
    """Show versions, machine, disk space, and which packages and data are there."""
    from mlabench.cli.console import make_console, print_listing
    from mlabench.cli.doctor import examine

    use_plugins(plugin)
    if device is not None:
        choice("--device", device, DEVICES)
    columns = ("Part", "What", "State")
    print_listing(make_console(), "What there is", columns, examine(results, device), as_json=as_json)

"""The commands that list what there is: methods, datasets, encoders, suites, the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mlabench import __version__
from mlabench.cli.options import AsJson, PluginOption, choice, use_plugins
from mlabench.errors import cannot_write


def list_registered(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="methods, datasets, encoders or suites.")],
    pattern: Annotated[str, typer.Argument(metavar="[GLOB]", help="Only names that match, e.g. 'la*'.")] = "*",
    plugin: PluginOption = None,
    as_json: AsJson = False,
) -> None:
    """List methods, datasets, encoders (with their options) or suites."""
    from mlabench.cli.listings import list_kind, list_suites

    use_plugins(plugin)
    choice("KIND", kind, ("methods", "datasets", "encoders", "suites"))
    if kind == "suites":
        list_suites(pattern, as_json=as_json)
    else:
        list_kind(kind, pattern, as_json=as_json)  # type: ignore[arg-type]


def list_methods(
    pattern: Annotated[str, typer.Argument(metavar="[GLOB]", help="Only names that match.")] = "*",
    plugin: PluginOption = None,
    as_json: AsJson = False,
) -> None:
    """Short for `mlabench ls methods`."""
    from mlabench.cli.listings import list_kind

    use_plugins(plugin)
    list_kind("methods", pattern, as_json=as_json)


def schema(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there instead of printing it.")
    ] = None,
    plugin: PluginOption = None,
) -> None:
    """Print the JSON schema of suite files, for editors that complete and check YAML."""
    from mlabench.suite import json_schema

    use_plugins(plugin)
    text = json.dumps(json_schema(), indent=1) + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as error:
            raise cannot_write("the schema", out, error) from error


def version() -> None:
    """Print the version."""
    typer.echo(__version__)

"""The commands that list what there is: methods, datasets, encoders, suites, the schema."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlabench import __version__
from mlabench.cli.options import AsJson, PluginOption, choice, use_plugins
from mlabench.errors import UserError, cannot_write

if TYPE_CHECKING:
    from mlabench.datasets import Dataset
    from mlabench.registry import Entry

Pattern = Annotated[str, typer.Argument(metavar="[GLOB]", help="Only names that match, e.g. 'la*'.")]


def list_registered(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="methods, datasets, encoders or suites.")],
    pattern: Pattern = "*",
    plugin: PluginOption = None,
    as_json: AsJson = False,
) -> None:
    """List methods, datasets, encoders (with their options) or suites."""
    from mlabench.cli.console import make_console, print_listing

    use_plugins(plugin)
    kind = choice("KIND", kind, ("methods", "datasets", "encoders", "suites"))
    rows = list(_suites(pattern, as_json=as_json) if kind == "suites" else _registered(kind, pattern, as_json=as_json))
    columns = ["Name", "Title", "Summary", "Package", "Paper", "Options"]
    columns += ["Limits", "Training of authors"] if kind == "methods" else ()
    if kind == "suites":
        columns = ["Name", "Questions", "Dataset", "Folds", "Title", *(["File"] if as_json else [])]
    print_listing(make_console(), f"{len(rows)} {kind}", columns, rows, as_json=as_json)


def list_methods(pattern: Pattern = "*", plugin: PluginOption = None, as_json: AsJson = False) -> None:
    """Short for `mlabench ls methods`."""
    list_registered("methods", pattern, plugin, as_json)


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
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise cannot_write("the schema", out, error) from error


def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _registered(kind: Any, pattern: str, *, as_json: bool) -> list[list[Any]]:
    """What is registered under one kind, with its options and, of methods, what they cannot do."""
    from mlabench import registry

    rows = []
    for entry in registry.entries(kind).values():
        if fnmatch(entry.name, pattern):
            about = entry.about
            limits = [f"{limit}: {sentence}" for limit, sentence in about.limits.items()]
            if not about.predicts_per_sample:
                limits.append("a prediction depends on what shares the sample's batch")
            if not about.encodes_per_sample:
                limits.append("each test pattern is encoded anew")
            if about.unfit_optimizers:
                limits.append(f"not under {' or '.join(about.unfit_optimizers.names)}: {about.unfit_optimizers.reason}")
            options = _options(entry, as_json=as_json)
            row = [entry.name, about.title, about.summary, entry.package, about.paper, options]
            if kind == "methods":
                row += [limits if as_json else "\n".join(limits), _authors_training(entry, as_json=as_json)]
            rows.append(row)
    return rows


def _authors_training(entry: Entry, *, as_json: bool) -> Any:
    """The training of a method's authors: the values, and in JSON where each is found."""
    from mlabench.words import as_written

    said = entry.about.authors_training
    values = said.model_dump(mode="json", exclude_none=True) if said else {}
    if as_json:
        return {field: {"value": value, "source": source} for field, (value, source) in values.items()}
    return "\n".join(f"{field}={as_written(value)}" for field, (value, _) in values.items())


def _options(entry: Entry, *, as_json: bool) -> Any:
    from mlabench.words import as_written

    options, defaults = entry.about.options, entry.about.defaults
    if not as_json:
        return "\n".join(f"{name}={as_written(defaults[name])}" if name in defaults else name for name in options)
    tune = entry.search_space
    return {
        name: {
            "default": defaults.get(name),
            "required": name not in defaults,
            "description": option.get("description"),
            "tune": tune[name].model_dump(mode="json", exclude_defaults=True) if name in tune else None,
        }
        for name, option in options.items()
    }


def _suites(pattern: str, *, as_json: bool) -> list[list[str]]:
    """The suites that are known by name."""
    from mlabench.suite import load_suite, members, suites_by_name
    from mlabench.words import counted

    rows = []
    for name, path in suites_by_name().items():
        if fnmatch(name, pattern):
            suites = [load_suite(member) for member in members(path)]
            questions = sorted({question for suite in suites for question in suite.question})
            datasets = list(dict.fromkeys(suite.dataset.name for suite in suites))
            folds = {f"{one.by} {one.count or ''}".strip() for one in (suite.folds for suite in suites) if one}
            title = suites[0].title if len(suites) == 1 else counted(len(suites), "suite")
            row = [name, ", ".join(questions), ", ".join(datasets), ", ".join(sorted(folds)), title]
            rows.append([*row, str(path)] if as_json else row)
    return rows


def data_state(kind: type[Dataset]) -> str:
    """Whether a dataset can be used without being told where it lies."""
    fields = kind.Config.model_fields
    needed = [name for name, field in fields.items() if field.is_required()]
    if needed:
        return f"needs the options {', '.join(needed)}"
    if "root" in fields:
        return "needs its files: dataset.root=DIR"
    try:
        return f"ready ({kind(kind.Config()).fingerprint()})"
    except UserError as error:
        return str(error)
